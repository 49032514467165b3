"""`ingest trace`: where one record is now, and what is known of its way there."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import click

from .. import options
from ..clients import overview
from ..console.terminal import printable
from ..exit_codes import FAILED

_UNKNOWN = (
    "this record was not found: it was never accepted here, or it was purged, or it was delivered "
    "so long ago that the journal of recent settlements no longer has it"
)


@click.command
@click.argument("record_id", metavar="ID", type=options.record_id)
@options.destination("Search only this destination.")
@options.as_json("Print one JSON object.")
@click.pass_context
def trace(ctx: click.Context, record_id: str, destination: str | None, as_json: bool) -> None:
    """Show where the record with this ID (as the producer returned it) is now.

    Exit code 0 if it was found, 1 if not.
    """
    from worker.monitoring.locate import RecordLocator

    for each in overview(destination).buffers.values():
        if found := RecordLocator(each.client, each.destination).find(record_id):
            break
    else:
        found = None
    shown = {
        "id": str(UUID(record_id)),
        "accepted_at": _accepted_at(record_id),
        "destination": found and found.destination,
        "kind": found and found.kind,
        "place": found.place if found else "unknown",
        **(found.details if found else {"why": _UNKNOWN}),
    }
    if as_json:
        click.echo(json.dumps(shown))
    else:
        _print(**shown)
    if found is None:
        ctx.exit(FAILED)


def _print(place: str, destination: str | None, kind: str | None, **details: Any) -> None:
    """Print the same for people: the place first, then a line for each known detail."""
    where = f" ({destination}, {kind})" if destination else ""
    click.echo(f"{place.replace('_', ' ')}{where}")
    for key, value in details.items():
        if value not in (None, ""):
            click.echo(f"  {key.replace('_', ' ')}: {printable(str(value))}")


def _accepted_at(record_id: str) -> str | None:
    """Return when the producer accepted it, as the id says; None for a foreign id."""
    from worker.buffer.records import accepted_at_ms
    from worker.dead_letters.letters import iso

    try:
        return iso(accepted_at_ms(record_id)) if record_id[12] == "7" else None
    except OverflowError:
        return None
