"""`ingest count`: the vendor's count of an event."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

import click

from worker.settings.settings import Settings

from .. import options
from ..console.stdout import emit, refuse_closed_output


@click.command
@click.argument("event")
@options.vendor_query
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME:OPERATOR:VALUE",
    help="A condition on a property, for example City:contains:Pra. May be repeated; all must "
    "hold.",
)
@options.as_json("Print one JSON object instead of the number.")
def count(
    *,
    event: str,
    first: str,
    last: str,
    conditions: Sequence[str],
    as_json: bool,
    destination: str | None,
) -> None:
    """Ask the vendor how often EVENT occurred.

    This may take minutes: the vendor wants 30 s between polls.

    The vendor's documentation names the operator contains; its dashboard also has equals,
    not_equals, greater_than and less_than. Write a list as JSON: City:in:["Praha","Brno"].
    """
    from worker.readback.client import reading
    from worker.readback.counts import count_one
    from worker.readback.queries import CountCondition, CountQuery, day_number

    refuse_closed_output()
    filters = tuple(map(CountCondition.parse, conditions))
    query = CountQuery(event, day_number(first), day_number(last), filters)
    account = Settings.from_env().destination(destination)
    with reading(account) as reader:
        reader.say = partial(click.echo, err=True)
        number = count_one(reader, query)
    asked = {"destination": account.name, "event": event, "from": query.first, "to": query.last}
    emit(json.dumps({**asked, "count": number}) if as_json else str(number))
