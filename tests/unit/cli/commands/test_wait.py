"""What `ingest wait` names as still on its way."""

from __future__ import annotations

from worker.buffer.status import TOTALS, DestinationStatus, KindCounts
from worker.cli.commands.wait import open_records


def status(counts: KindCounts, state: str = "running") -> DestinationStatus:
    """A destination with events."""
    return DestinationStatus(
        state=state,
        reason="testing" if state == "paused" else None,
        since_ms=None,
        concurrency=3,
        in_use=0,
        kinds={"event": counts},
        codes={},
        answers={},
        last_tick_ms=None,
    )


def counts(buffered: int = 0, in_flight: int = 0, retrying: int = 0, dead: int = 0) -> KindCounts:
    """Where the records of a kind are."""
    return KindCounts(buffered, in_flight, retrying, dead, 0.0, dict.fromkeys(TOTALS, 0))


def test_open_records_with_dead_letters_alone_is_empty() -> None:
    """Dead letters are not on their way."""
    assert open_records({"a": status(counts(dead=3))}) == ""


def test_open_records_names_places_and_what_stops_them() -> None:
    """Each place with records is named, with the reason if the destination does not run."""
    statuses = {
        "a": status(counts(buffered=20, retrying=1), "paused"),
        "b": status(counts()),
        "c": status(counts(in_flight=2)),
    }
    assert open_records(statuses) == (
        "a (paused: testing): 20 event buffered, 1 event retrying; c: 2 event in flight"
    )
