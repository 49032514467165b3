"""`ingest trace`: where one record is now, and what is known of its way there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..exit_codes import FAILED
from .dlq_options import parsed_id

if TYPE_CHECKING:
    from worker.monitoring.locate import Location

_UNKNOWN = (
    "no place holds this record: it was never accepted here, or it was purged, or it was delivered "
    "longer ago than the journal of the last settlements goes back"
)


@click.command
@click.argument("record_id", metavar="ID")
@options.destination("Look at this destination alone.")
@options.as_json("One JSON object.")
@click.pass_context
def trace(ctx: click.Context, record_id: str, destination: str | None, as_json: bool) -> None:
    """Tell where the record with this ID (as the producer returned it) is now.

    Exit code 0 when it was found, 1 when no trace of it is left.
    """
    canonical = parsed_id(record_id)
    found = _found(canonical, destination)
    if as_json:
        click.echo(json.dumps(_told(canonical, found)))
    else:
        for line in _words(canonical, found):
            click.echo(line)
    if found is None:
        ctx.exit(FAILED)


def _found(record_id: str, destination: str | None) -> Location | None:
    from worker.monitoring.locate import RecordLocator

    from ..clients import overview

    for each in overview(destination).buffers.values():
        if found := RecordLocator(each.client, each.destination).find(record_id):
            return found
    return None


def _told(record_id: str, found: Location | None) -> dict[str, Any]:
    """The record's id and times, its place, and what that place knows; times are ISO 8601, UTC."""
    from uuid import UUID

    told: dict[str, Any] = {"id": str(UUID(record_id)), "accepted_at": _accepted_at(record_id)}
    if found is None:
        return {**told, "destination": None, "kind": None, "place": "unknown", "why": _UNKNOWN}
    place, details = _place(found)
    return {
        **told,
        "destination": found.destination,
        "kind": found.kind,
        "place": place,
        **details,
    }


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


def _words(record_id: str, found: Location | None) -> Iterator[str]:
    """The same for people: the place first, then a line for each thing that is known."""
    told = _told(record_id, found)
    if found is None:
        yield "unknown"
    else:
        yield f"{told['place'].replace('_', ' ')} ({found.destination}, {found.kind})"
    for key, value in told.items():
        if key not in ("place", "destination", "kind") and value not in (None, ""):
            shown = "".join(each if each.isprintable() else " " for each in str(value))
            yield f"  {key.replace('_', ' ')}: {shown}"


def _accepted_at(record_id: str) -> str | None:
    """When the producer took it, as the id says; None when it is not one of ours."""
    from worker.buffer.records import accepted_at_ms
    from worker.dead_letters.letters import iso

    if record_id[12] != "7":
        return None
    try:
        return iso(accepted_at_ms(record_id))
    except OverflowError:
        return None
