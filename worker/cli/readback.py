"""`ingest export`, `ingest count` and `ingest reconcile`: what the vendor has of what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from worker.errors import InvalidQuery

from .exits import DIFFERENT, OK, Failure, Misuse
from .outgoing import emit, output, refuse_closed_output

if TYPE_CHECKING:
    from worker.readback.export_file import Progress, Target
    from worker.readback.queries import ExportQuery
    from worker.readback.reader import Reader
    from worker.readback.reconcile import Reconciliation
    from worker.settings import Destination, Settings

_DAY = "YYYYMMDD"


@contextmanager
def _told() -> Iterator[None]:
    """A question that cannot be asked is told like a wrong option."""
    try:
        yield
    except InvalidQuery as error:
        raise Misuse(str(error)) from error


def _from_and_to(command: Callable[..., None]) -> Callable[..., None]:
    """The two options of every question."""
    command = click.option(
        "--to",
        "last",
        required=True,
        metavar=_DAY,
        help="Last day, included, in the account's zone.",
    )(command)
    return click.option(
        "--from", "first", required=True, metavar=_DAY, help="First day, in the account's zone."
    )(command)


@click.command
@click.argument("event")
@_from_and_to
@click.option(
    "--out", metavar="FILE", help="Write to FILE, and go on after an interruption. Default: '-'."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Default: by the ending of FILE, else jsonl.",
)
@click.option(
    "--column", "columns", multiple=True, metavar="PATH", help="A CSV column; repeatable."
)
@click.option("--batch-size", default=5000, show_default=True, help="Events a page, at most 5000.")
@click.option("--app/--no-app", default=None, help="With or without the app's fields.")
@click.option("--profile/--no-profile", default=None, help="With or without custom profile fields.")
@click.option("--events/--no-events", default=None, help="With or without the event's properties.")
@click.option("--restart", is_flag=True, help="Forget FILE's checkpoint, and begin again.")
@click.option("--destination", help="The account to ask; default: the default destination.")
def export(
    *,
    event: str,
    first: str,
    last: str,
    out: str | None,
    form: str | None,
    columns: Sequence[str],
    restart: bool,
    destination: str | None,
    **flags: Any,
) -> None:
    """Download EVENT's events of some days from the vendor.

    With --out, an export that was interrupted goes on when the same command is given again; a
    finished FILE is written anew.
    """
    from worker.readback.export_file import Target
    from worker.readback.formats import format_of
    from worker.readback.queries import ExportQuery, day_number
    from worker.readback.reader import reading
    from worker.settings import Settings

    path = None if out in (None, "-") else Path(str(out))
    with _told():
        query = ExportQuery(event, day_number(first), day_number(last), **flags)
        target = Target(path or Path("-"), format_of(path, form, columns), columns)
        with reading(Settings.from_env().destination(destination)) as reader:
            if path is None:
                _to_standard_output(reader, query, target)
            else:
                _to_file(reader, query, target, restart=restart)


def _to_standard_output(reader: Reader, query: ExportQuery, target: Target) -> None:
    from worker.readback.export import pages_from_start
    from worker.readback.formats import encoder_of

    encoder = encoder_of(target.format, target.paths)
    reader.say = _say
    with output() as stream:
        stream.write(encoder.header)
        for page in pages_from_start(reader, query):
            stream.write(encoder.encode(page.records))
            stream.flush()


def _to_file(reader: Reader, query: ExportQuery, target: Target, *, restart: bool) -> None:
    from worker.readback.export_file import export_to_file

    from .export_bar import export_bar

    with export_bar(reader, query) as bar:
        try:
            done = export_to_file(
                reader, query, target, restart=restart, say=bar.say, on_page=bar.on_page
            )
        except OSError as error:
            raise Failure(
                f"cannot write {target.path}: {error.strerror}; the same command goes on"
            ) from error
        except KeyboardInterrupt:
            bar.say("interrupted; the same command goes on")
            raise
    _say(_written(target, done))


def _written(target: Target, done: Progress) -> str:
    return f"{target.path}: {done.records} events, {done.size} bytes"


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.command
@click.argument("event")
@_from_and_to
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="NAME:OPERATOR:VALUE",
    help="A condition on a property, as in City:contains:Pra; repeatable, all have to hold.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the number.")
@click.option("--destination", help="The account to ask; default: the default destination.")
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
    from worker.readback.counts import count_one
    from worker.readback.queries import CountQuery, Filter, day_number
    from worker.readback.reader import reading
    from worker.settings import Settings

    refuse_closed_output()
    with _told():
        filters = tuple(map(Filter.parse, conditions))
        query = CountQuery(event, day_number(first), day_number(last), filters)
        account = Settings.from_env().destination(destination)
        with reading(account) as reader:
            reader.say = _say
            number = count_one(reader, query)
    told = {"destination": account.name, "event": event, "from": query.first, "to": query.last}
    emit(json.dumps({**told, "count": number}) if as_json else str(number))


@click.command
@click.option("--date", "day", metavar=_DAY, help="Only this day of the account.")
@click.option(
    "--days",
    default=7,
    show_default=True,
    type=click.IntRange(1, 35),
    help="Without --date: every day that was delivered to within so many days.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.option("--destination", help="Only this one.")
def reconcile(*, day: str | None, days: int, as_json: bool, destination: str | None) -> None:
    """Compare what we delivered with what the vendor counts, per event and day.

    Exits with 0 when all agree and with 3 when not; a difference names the event and the day.
    """
    from worker.readback.queries import day_number
    from worker.settings import Settings

    refuse_closed_output()
    with _told():
        wanted = None if day is None else str(day_number(day))
        settings = Settings.from_env()
        accounts = _readable(settings, destination)
        found = [_reconciled(settings, each, wanted, days) for each in accounts]
    if as_json:
        emit(json.dumps(_as_json(found)))
    else:
        _print(found)
    click.get_current_context().exit(OK if all(each.agrees for each in found) else DIFFERENT)


def _readable(settings: Settings, only: str | None) -> list[Destination]:
    """The accounts to compare; those that cannot be read are named, or refused if asked for."""
    from worker.readback.reader import refuse_unreadable

    if only is not None:
        refuse_unreadable(settings.destination(only))
        return [settings.destination(only)]
    accounts = []
    for each in settings.enabled():
        try:
            refuse_unreadable(each)
        except InvalidQuery as error:
            _say(f"not compared: {error}")
        else:
            accounts.append(each)
    if not accounts:
        raise InvalidQuery("no enabled destination can be read back: set CleverTap's credentials")
    return accounts


def _reconciled(
    settings: Settings, destination: Destination, day: str | None, days: int
) -> Reconciliation:
    from worker.readback.reader import reading
    from worker.readback.reconcile import Reconciler

    from .redis_door import operator

    with reading(destination) as reader:
        return Reconciler(reader, operator(settings)).run(day, days)


def _as_json(found: Sequence[Reconciliation]) -> Mapping[str, Any]:
    return {
        "agrees": all(each.agrees for each in found),
        "destinations": {
            each.destination: {
                "agrees": each.agrees,
                "checked_at": each.checked_at,
                "events": [
                    {
                        "day": line.day,
                        "event": line.event,
                        "spellings": line.spellings,
                        "delivered": line.delivered,
                        "counted": line.counted,
                        "difference": line.difference if line.counted is not None else None,
                        "agrees": line.agrees,
                        "note": line.note,
                    }
                    for line in each.lines
                ],
            }
            for each in found
        },
    }


def _print(found: Sequence[Reconciliation]) -> None:
    from rich.table import Table

    from .terminal import standard_output

    table = Table(box=None, pad_edge=False)
    for heading in ("destination", "day", "event"):
        table.add_column(heading, overflow="fold")
    for heading in ("delivered", "counted", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("note", overflow="fold")
    for each in found:
        for line in each.lines:
            counted = "unknown" if line.counted is None else str(line.counted)
            difference = f"{line.difference:+d}" if line.difference else ""
            numbers = (str(line.delivered), counted, difference)
            table.add_row(each.destination, line.day, line.event, *numbers, line.note)
    lines = [_summary(each) for each in found]
    if table.row_count:
        console = standard_output()
        with console.capture() as drawn:
            console.print(table)
        lines.insert(0, drawn.get().rstrip("\n"))
    emit("\n".join(lines))


def _summary(found: Reconciliation) -> str:
    if not found.lines:
        return f"{found.destination}: nothing delivered to compare"
    if found.agrees:
        return f"{found.destination}: all {len(found.lines)} agree"
    told = []
    for line in found.differences:
        how = (
            "not counted by the vendor"
            if line.counted is None
            else f"{abs(line.difference)} too {'many' if line.difference > 0 else 'few'}"
        )
        told.append(f"{line.event} on {line.day}: {how}")
    return f"{found.destination}: {len(told)} of {len(found.lines)} differ: {'; '.join(told)}"
