"""One record for several destinations, without a connection."""

from __future__ import annotations

import asyncio

import pytest

from worker.errors import BufferFull, InvalidRecord, UnknownDestination
from worker.producer.encoder import EnqueueBatch, RecordEncoder
from worker.producer.fanout import AsyncFanout, Fanout
from worker.settings.settings import Settings

BOTH = ("clevertap", "bloomreach")


class AcceptedBatches:
    """Accepts batches into a list, up to a number of them."""

    def __init__(self, room: int = 10) -> None:
        self.batches: list[EnqueueBatch] = []
        self._room = room

    def __call__(self, batch: EnqueueBatch) -> None:
        """Accept a batch, or raise BufferFull."""
        if len(self.batches) == self._room:
            raise BufferFull(batch.destination.name)
        self.batches.append(batch)

    async def accept_async(self, batch: EnqueueBatch) -> None:
        """Accept a batch from an AsyncFanout."""
        self(batch)


@pytest.fixture
def encoder() -> RecordEncoder:
    """An encoder for the destinations as shipped."""
    return RecordEncoder(Settings.from_env({}))


def test_event_invalid_at_two_destinations_raises_the_errors_of_both(
    encoder: RecordEncoder,
) -> None:
    """Each field has its destination's name in front, and nothing is accepted."""
    accept = AcceptedBatches()
    with pytest.raises(InvalidRecord) as raised:
        Fanout(encoder, BOTH, accept).event("App Launched", {"a": [1]}, identity="42", fbid="7")
    assert {path.partition(": ")[0] for path in raised.value.errors} == set(BOTH)
    assert raised.value.code == 513
    assert accept.batches == []


def test_profile_invalid_at_one_destination_is_accepted_by_none(encoder: RecordEncoder) -> None:
    """The check of all destinations comes before the first one accepts."""
    accept = AcceptedBatches()
    with pytest.raises(InvalidRecord) as raised:
        Fanout(encoder, BOTH, accept).profile({"Visits": {"$incr": 1}}, identity="42")
    assert set(raised.value.errors) == {"bloomreach: properties.Visits"}
    assert accept.batches == []


def test_full_second_destination_reports_the_id_at_the_first(encoder: RecordEncoder) -> None:
    """The error carries the ids of the records that were accepted before it."""
    accept = AcceptedBatches(room=1)
    with pytest.raises(BufferFull, match="bloomreach") as raised:
        Fanout(encoder, BOTH, accept).event("Viewed", identity="42")
    assert raised.value.accepted == accept.batches[0].ids


def test_names_with_a_repetition_count_it_once(encoder: RecordEncoder) -> None:
    """An unknown name raises."""
    assert encoder.names("bloomreach", "clevertap", "bloomreach") == ["bloomreach", "clevertap"]
    with pytest.raises(UnknownDestination, match="nowhere"):
        encoder.names("clevertap", "nowhere")


def test_async_fanout_with_an_invalid_record_raises_when_awaited(encoder: RecordEncoder) -> None:
    """A call returns a coroutine, as every method of an AsyncProducer does."""
    accept = AcceptedBatches()

    async def send() -> dict[str, str]:
        fanout = AsyncFanout(encoder, BOTH, accept.accept_async)
        invalid = fanout.send({})
        with pytest.raises(InvalidRecord):
            await invalid
        return await fanout.event("Viewed", {"Price": 5}, identity="42")

    ids = asyncio.run(send())
    assert ids == {each.destination.name: each.ids[0] for each in accept.batches}
    assert tuple(ids) == BOTH
