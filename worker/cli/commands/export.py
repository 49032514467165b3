"""`ingest export`: a vendor's events, to a file or to standard output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..console.stdout import output
from ..exit_codes import Failure
from .query_options import from_and_to, say, told_like_an_option, which_account

if TYPE_CHECKING:
    from worker.readback.client import Reader
    from worker.readback.export_file import ExportProgress, ExportTarget
    from worker.readback.queries import ExportQuery


@click.command
@click.argument("event")
@from_and_to
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
@which_account
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
    from worker.readback.client import reading
    from worker.readback.export_file import ExportTarget
    from worker.readback.formats import format_of
    from worker.readback.queries import ExportQuery, day_number
    from worker.settings.settings import Settings

    path = None if out in (None, "-") else Path(str(out))
    with told_like_an_option():
        query = ExportQuery(event, day_number(first), day_number(last), **flags)
        target = ExportTarget(path or Path("-"), format_of(path, form, columns), columns)
        with reading(Settings.from_env().destination(destination)) as reader:
            if path is None:
                _to_standard_output(reader, query, target)
            else:
                _to_file(reader, query, target, restart=restart)


def _to_standard_output(reader: Reader, query: ExportQuery, target: ExportTarget) -> None:
    from worker.readback.export import pages_from_start
    from worker.readback.formats import encoder_of

    encoder = encoder_of(target.format, target.paths)
    reader.say = say
    with output() as stream:
        stream.write(encoder.header)
        for page in pages_from_start(reader, query):
            stream.write(encoder.encode(page.records))
            stream.flush()


def _to_file(reader: Reader, query: ExportQuery, target: ExportTarget, *, restart: bool) -> None:
    from worker.readback.export_file import export_to_file

    from ..console.export_progress import export_bar

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
    say(_written(target, done))


def _written(target: ExportTarget, done: ExportProgress) -> str:
    return f"{target.path}: {done.records} events, {done.size} bytes"
