"""Records are validated, grouped and encoded without a connection."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest

from worker.buffer.records import canonical_id, unpack
from worker.errors import BufferUnavailable, InvalidRecord, UnknownDestination
from worker.producer.encoder import (
    EnqueueBatch,
    RecordEncoder,
    Rejected,
    accepted_ids,
    group_records,
    named_ids,
)
from worker.settings.destination import Destination, KindSettings
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Prepared

NOW_S = 1_700_000_000
KINDS = {"event": KindSettings(1000), "profile": KindSettings(100)}
MAIN = Destination("main", CleverTapAccount(), KINDS)


@pytest.fixture
def encoder() -> RecordEncoder:
    """An encoder for the destinations as shipped, at a fixed time."""
    return RecordEncoder(Settings.from_env({}), now=lambda: NOW_S)


def prepare(number: int) -> Prepared | None:
    """Return a profile for every third number, else an event; reject 5, and skip 7."""
    if number == 5:
        raise InvalidRecord({"record": ["is five"]})
    kind = "event" if number % 3 else "profile"
    return None if number == 7 else Prepared(kind, b"%d" % number, b"", NOW_S)


def bodies(batch: EnqueueBatch) -> list[bytes]:
    """Return the bodies of a batch, in order."""
    return [unpack(each).body for each in batch.stored]


@pytest.mark.parametrize(
    ("max_records", "expected"),
    [
        (None, [("profile", b"0369"), ("event", b"1248")]),
        (3, [("event", b"124"), ("profile", b"036"), ("event", b"8"), ("profile", b"9")]),
        (4, [("event", b"1248"), ("profile", b"0369")]),
    ],
)
def test_group_records_with_a_limit_yields_full_batches_first(
    max_records: int | None, expected: list[tuple[str, bytes]]
) -> None:
    """A batch holds records of one kind in order, up to the limit; rejections have positions."""
    rejections: list[Rejected] = []
    yielded = list(group_records(MAIN, range(10), prepare, rejections, max_records))
    batches = [each for each in yielded if each is not None]
    assert sorted((each.kind, b"".join(bodies(each))) for each in batches) == sorted(expected)
    assert [each.position for each in rejections] == [5]
    assert yielded.count(None) == 10


def test_event_without_a_ts_is_encoded_with_the_time_and_its_id(encoder: RecordEncoder) -> None:
    """The batch names its destination and identity, and its id is the stored one."""
    batch = encoder.event(None, "Viewed", {"n": 1}, {"identity": "42"}, None)
    (stored,) = map(unpack, batch.stored)
    assert (batch.destination.name, batch.kind, batch.identities) == (
        "clevertap",
        "event",
        [b"identity:42"],
    )
    assert stored.id == canonical_id(batch.ids[0])
    assert orjson.loads(stored.body)["ts"] == NOW_S


@pytest.mark.parametrize("ts", [NOW_S - 5, datetime.fromtimestamp(NOW_S - 5, UTC)])
def test_profile_with_a_ts_keeps_it(encoder: RecordEncoder, ts: int | datetime) -> None:
    """A time is given as epoch seconds or as a datetime."""
    batch = encoder.profile("clevertap", {"Name": "A"}, {"identity": "42"}, ts)
    assert orjson.loads(bodies(batch)[0])["ts"] == NOW_S - 5


def test_record_for_an_unknown_destination_raises(encoder: RecordEncoder) -> None:
    """The error names the destination."""
    with pytest.raises(UnknownDestination, match="nowhere"):
        encoder.record("nowhere", {})


def test_prepare_of_a_kind_that_is_not_configured_raises(encoder: RecordEncoder) -> None:
    """A destination accepts only the kinds in its settings."""
    profile = {"type": "profile", "identity": "42", "profileData": {"Name": "A"}}
    events_only = Destination("main", CleverTapAccount(), {"event": KindSettings(1000)})
    with pytest.raises(InvalidRecord, match="main takes event"):
        encoder.prepare(events_only, profile)


def test_named_ids_returns_only_those_that_were_given() -> None:
    """An empty id is kept, so that the schema rejects it; None is not."""
    assert named_ids("42", None, "", None) == {"identity": "42", "gpid": ""}


def test_accepted_ids_on_a_buffer_error_are_in_the_error() -> None:
    """The caller learns which records were enqueued before the error."""
    error = BufferUnavailable("gone")
    with suppress(BufferUnavailable), accepted_ids() as ids:
        ids.append("first")
        raise error
    assert error.accepted == ["first"]
