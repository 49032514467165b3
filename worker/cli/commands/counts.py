"""`ingest count` and `ingest reconcile`: the vendor's counts, alone and against our deliveries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from rich.table import Column, Table

from worker.errors import InvalidQuery
from worker.settings.destination import Destination
from worker.settings.settings import Settings

from .. import options
from ..clients import operator_client
from ..console.terminal import emit, plain_table, refuse_closed_output, terminal
from ..exit_codes import DIFFERENT, OK

if TYPE_CHECKING:
    from worker.readback.reconcile import EventComparison, Reconciliation

_NUMBERS = ("delivered", "counted", "difference")
_FIELDS = ("day", "event", "spellings", *_NUMBERS, "agrees", "note")


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


@click.command
@click.option(
    "--date", "day", metavar=options.DAY, help="Compare only this day, in the account's time zone."
)
@click.option(
    "--days",
    default=7,
    show_default=True,
    type=click.IntRange(1, 35),
    metavar="N",
    help="Without --date: compare every day that received deliveries in the last N days.",
)
@options.as_json("Print one JSON object instead of a table.")
@options.destination("Compare only this destination.")
@click.pass_context
def reconcile(
    ctx: click.Context, *, day: str | None, days: int, as_json: bool, destination: str | None
) -> None:
    """Compare the delivered events with the vendor's counts, per event and day.

    Exit code 0 if all agree, 3 if not; each difference names the event and the day.
    """
    from worker.readback.client import reading
    from worker.readback.queries import day_number
    from worker.readback.reconcile import Reconciler

    refuse_closed_output()
    wanted = None if day is None else str(day_number(day))
    settings = Settings.from_env()
    found = []
    for each in _readable(settings, destination):
        with reading(each) as reader:
            found.append(Reconciler(reader, operator_client(settings)).run(wanted, days))
    emit(json.dumps(_as_json(found)) if as_json else _as_text(found))
    ctx.exit(OK if all(each.agrees for each in found) else DIFFERENT)


def _readable(settings: Settings, only: str | None) -> list[Destination]:
    """Return the accounts to compare; name those that cannot be read."""
    from worker.readback.client import readable

    if only is not None:
        return [settings.destination(only)]
    accounts = []
    for each in settings.enabled():
        try:
            accounts.append(readable(each))
        except InvalidQuery as error:
            click.echo(f"not compared: {error}", err=True)
    if not accounts:
        raise InvalidQuery("no enabled destination can be read back: set CleverTap's credentials")
    return accounts


def _as_json(found: Sequence[Reconciliation]) -> Mapping[str, Any]:
    return {
        "agrees": all(each.agrees for each in found),
        "destinations": {
            each.destination: {
                "agrees": each.agrees,
                "checked_at": each.checked_at,
                "events": [
                    {
                        **{name: getattr(line, name) for name in _FIELDS},
                        "difference": None if line.counted is None else line.difference,
                    }
                    for line in each.lines
                ],
            }
            for each in found
        },
    }


def _as_text(found: Sequence[Reconciliation]) -> str:
    lines = list(map(_summary, found))
    table = _table(found)
    if table.row_count:
        console = terminal()
        with console.capture() as drawn:
            console.print(table)
        lines.insert(0, drawn.get().rstrip("\n"))
    return "\n".join(lines)


def _table(found: Sequence[Reconciliation]) -> Table:
    table = plain_table(
        *(Column(name, overflow="fold") for name in ("destination", "day", "event")),
        *(Column(name, justify="right", no_wrap=True) for name in _NUMBERS),
        Column("note", overflow="fold"),
    )
    for each in found:
        for line in each.lines:
            counted = "unknown" if line.counted is None else str(line.counted)
            difference = f"{line.difference:+d}" if line.difference else ""
            row = (str(line.delivered), counted, difference)
            table.add_row(each.destination, line.day, line.event, *row, line.note)
    return table


def _summary(found: Reconciliation) -> str:
    if not found.lines:
        return f"{found.destination}: nothing delivered to compare"
    if found.agrees:
        return f"{found.destination}: all {len(found.lines)} agree"
    parts = [f"{line.event} on {line.day}: {_difference(line)}" for line in found.differences]
    return f"{found.destination}: {len(parts)} of {len(found.lines)} differ: {'; '.join(parts)}"


def _difference(line: EventComparison) -> str:
    if line.counted is None:
        return "not counted by the vendor"
    return f"{abs(line.difference)} too {'many' if line.difference > 0 else 'few'}"
