"""`ingest count`: the vendor's count of an event."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from .. import options
from ..console.stdout import emit, refuse_closed_output
from .query_options import from_and_to, say, told_like_an_option, which_account


@click.command
@click.argument("event")
@from_and_to
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME:OPERATOR:VALUE",
    help="A condition on a property, as in City:contains:Pra; repeatable, all have to hold.",
)
@options.as_json("One JSON object instead of the number.")
@which_account
def count(
    *,
    event: str,
    first: str,
    last: str,
    conditions: Sequence[str],
    as_json: bool,
    destination: str | None,
) -> None:
    """Ask the vendor for its count of EVENT; it wants 30 s between polls, so it may take minutes.

    Operators are the vendor's: its page shows contains; equals, not_equals, greater_than and
    less_than are its dashboard's. A list is written as JSON: City:in:["Praha","Brno"].
    """
    from worker.readback.client import reading
    from worker.readback.counts import count_one
    from worker.readback.queries import CountCondition, CountQuery, day_number
    from worker.settings.settings import Settings

    refuse_closed_output()
    with told_like_an_option():
        filters = tuple(map(CountCondition.parse, conditions))
        query = CountQuery(event, day_number(first), day_number(last), filters)
        account = Settings.from_env().destination(destination)
        with reading(account) as reader:
            reader.say = say
            number = count_one(reader, query)
    told = {"destination": account.name, "event": event, "from": query.first, "to": query.last}
    emit(json.dumps({**told, "count": number}) if as_json else str(number))
