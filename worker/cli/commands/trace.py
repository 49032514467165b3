"""`ingest trace`: where one record is now, and what is known of its way there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..exit_codes import FAILED
from .dlq_options import RecordId

if TYPE_CHECKING:
    from worker.monitoring.locate import Location

_UNKNOWN = (
    "this record was not found: it was never accepted here, or it was purged, or it was delivered "
    "so long ago that the journal of recent settlements no longer has it"
)


@click.command
@click.argument("record_id", metavar="ID", type=RecordId())
@options.destination("Search only this destination.")
@options.as_json("Print one JSON object.")
@click.pass_context
def trace(ctx: click.Context, record_id: str, destination: str | None, as_json: bool) -> None:
    """Show where the record with this ID (as the producer returned it) is now.

    Exit code 0 if it was found, 1 if not.
    """
    found = _locate(record_id, destination)
    shown = _location_as_json(record_id, found)
    if as_json:
        click.echo(json.dumps(shown))
    else:
        for line in _location_lines(shown):
            click.echo(line)
    if found is None:
        ctx.exit(FAILED)


def _locate(record_id: str, destination: str | None) -> Location | None:
    from worker.monitoring.locate import RecordLocator

    from ..clients import overview

    for each in overview(destination).buffers.values():
        if found := RecordLocator(each.client, each.destination).find(record_id):
            return found
    return None


def _location_as_json(record_id: str, found: Location | None) -> dict[str, Any]:
    """Return the record's id, its place, and what that place knows; times are ISO 8601, UTC."""
    from uuid import UUID

    shown = {"id": str(UUID(record_id)), "accepted_at": _accepted_at(record_id)}
    if found is None:
        return {**shown, "destination": None, "kind": None, "place": "unknown", "why": _UNKNOWN}
    place, details = _place(found)
    where = {"destination": found.destination, "kind": found.kind, "place": place}
    return {**shown, **where, **details}


def _place(found: Location) -> tuple[str, dict[str, Any]]:
    from worker.dead_letters.letters import DeadLetter, iso
    from worker.monitoring.locate import Buffered, InFlight

    if isinstance(found, Buffered):
        return "buffered", {"partition": found.partition, "position": found.position}
    if isinstance(found, InFlight):
        due = "lease_ends_at" if found.in_flight else "due_at"
        return ("in_flight" if found.in_flight else "retrying"), {
            "batch": found.batch,
            "attempts": found.attempts,
            "worker_deaths": found.deaths,
            "last_answer": found.error or None,
            due: iso(found.due_ms),
        }
    if isinstance(found, DeadLetter):
        return "dead", {
            "reason": found.reason,
            "code": found.code,
            "error": found.error,
            "attempts": found.attempts,
            "failed_at": iso(found.failed_at_ms),
        }
    details = {"batch": found.batch, "delivered_at": iso(found.at_ms), "answer": found.answer}
    return "delivered", details


def _location_lines(shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the same for people: the place first, then a line for each known detail."""
    where = f" ({shown['destination']}, {shown['kind']})" if shown["destination"] else ""
    yield f"{shown['place'].replace('_', ' ')}{where}"
    for key, value in shown.items():
        if key not in ("place", "destination", "kind") and value not in (None, ""):
            text = "".join(each if each.isprintable() else " " for each in str(value))
            yield f"  {key.replace('_', ' ')}: {text}"


def _accepted_at(record_id: str) -> str | None:
    """Return when the producer accepted it, as the id says; None for a foreign id."""
    from worker.buffer.records import accepted_at_ms
    from worker.dead_letters.letters import iso

    if record_id[12] != "7":
        return None
    try:
        return iso(accepted_at_ms(record_id))
    except OverflowError:
        return None
