"""Sending lines to a buffer that is full or away, and checking them with a vendor's opinion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson
import pytest

from support.commands import event, profile
from worker.cli.commands.send_records import RecordChecker, RecordSender, vendor_errors
from worker.cli.console.json_lines import Chunk, InputLine
from worker.cli.exit_codes import Failure
from worker.errors import BufferError, BufferFull, BufferUnavailable
from worker.producer.encoder import RecordEncoder, SendResult
from worker.producer.producer import Producer
from worker.settings.settings import Settings
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

Records = Sequence[Mapping[str, Any]]
REFUSED = Verdict(Outcome.DEAD, "refused", 513, "No.")
MIXED = [profile(0), event(1), profile(2), event(3)]


class ScriptedProducer:
    """Answers each call of `send_many` with the next of ``answers``, or accepts all records."""

    def __init__(self, *answers: BufferError) -> None:
        self.answers = list(answers)
        self.calls: list[int] = []

    def send_many(self, records: Records, *, destination: str) -> SendResult:
        """Note the size of the call, and accept the records or fail."""
        assert destination == "clevertap"
        self.calls.append(len(records))
        if self.answers:
            raise self.answers.pop(0)
        return SendResult(ids=["id"] * len(records))


def failing(error: BufferError, accepted: int = 0) -> BufferError:
    """The error, after so many records were accepted."""
    error.accepted = ["id"] * accepted
    return error


def sender(
    producer: ScriptedProducer, *, patient: bool = False, sleep: Callable[[float], object] = print
) -> RecordSender:
    """A sender to CleverTap."""
    settings = Settings.from_env({})
    return RecordSender(
        cast("Producer", producer),
        RecordEncoder(settings),
        settings.destination("clevertap"),
        patient=patient,
        sleep=sleep,
    )


def chunk(records: Records) -> Chunk:
    """The records as lines 1, 2, ..."""
    return Chunk([InputLine(at, each) for at, each in enumerate(records, 1)], [], len(records))


def test_take_with_no_room_for_all_sends_smaller_parts() -> None:
    """A full buffer gets half the lines, then a quarter; after a success the parts grow again."""
    producer = ScriptedProducer(BufferFull("full"), BufferFull("full"))
    work = sender(producer)
    work.take(chunk([event(at) for at in range(8)]))
    assert producer.calls == [8, 4, 2, 4, 2]
    assert (work.tally.accepted, work.tally.rejected) == (8, 0)


def test_take_with_no_room_for_one_names_the_lines_that_are_left() -> None:
    """What one kind had already put in is counted; the rest is named exactly."""
    accepted = failing(BufferFull("it is full"), 2)  # both profiles: their kind comes first
    work = sender(ScriptedProducer(accepted, BufferFull("it is full"), BufferFull("it is full")))
    with pytest.raises(Failure, match=r"^it is full\. Not sent yet; .* --lines: 2,4-$"):
        work.take(chunk(MIXED))
    assert work.tally.accepted == 2


def test_take_with_a_lost_answer_names_the_uncertain_lines() -> None:
    """Only the call without an answer is uncertain; the kinds after it were not sent."""
    lost = BufferUnavailable("no answer", sent=True)
    with pytest.raises(Failure) as failure:
        sender(ScriptedProducer(lost)).take(chunk(MIXED))
    assert "Lines 1,3 may or may not have been accepted" in str(failure.value.message)
    assert "--lines 2,4- without them" in failure.value.message
    assert "--lines 1- with them" in failure.value.message


def test_take_with_redis_away_names_all_lines() -> None:
    """If no byte reached Redis, nothing is uncertain."""
    with pytest.raises(Failure, match=r"use --lines: 1-$"):
        sender(ScriptedProducer(BufferUnavailable("away"))).take(chunk(MIXED))


def test_take_with_patience_waits_longer_and_longer(capsys: pytest.CaptureFixture[str]) -> None:
    """It announces the wait once, and continues as soon as there is room."""
    waits: list[float] = []
    away = [BufferUnavailable("Redis is away") for _ in range(7)]
    work = sender(ScriptedProducer(*away), patient=True, sleep=waits.append)
    work.take(chunk(MIXED))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert work.tally.accepted == 4
    assert capsys.readouterr().err == "Redis is away; waiting\n"


def test_take_with_an_invalid_line_in_a_failed_call_rejects_it() -> None:
    """A line that breaks a rule is counted as rejected, and is not among those left."""
    work = sender(ScriptedProducer(BufferUnavailable("away")))
    with pytest.raises(Failure, match=r"--lines: 2-$"):
        work.take(chunk([{"type": "event"}, event(1)]))
    assert (work.tally.accepted, work.tally.rejected) == (0, 1)


def test_take_with_a_vendor_asks_in_batches_of_one_kind() -> None:
    """Only valid lines are sent to the vendor; those it refuses are rejected by their numbers."""
    settings = Settings.from_env({})
    asked: list[tuple[str, int]] = []

    def check_batch(kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        asked.append((kind, len(bodies)))
        return [REFUSED if orjson.loads(each)["identity"] == "u2" else DELIVERED for each in bodies]

    lines = [event(1), profile(3), {"type": "event"}, event(2), event(4)]
    work = RecordChecker(RecordEncoder(settings), settings.destination("clevertap"), check_batch)
    work.take(Chunk([InputLine(at, each) for at, each in enumerate(lines, 1)]))
    assert sorted(asked) == [("event", 3), ("profile", 1)]
    assert (work.tally.accepted, work.tally.rejected) == (3, 2)


def test_vendor_errors_with_and_without_a_code_read_as_rules() -> None:
    """The vendor's code comes first, where it gave one."""
    assert vendor_errors(REFUSED) == {"vendor": ["code 513: No."]}
    without = Verdict(Outcome.DEAD, "refused", None, "No.")
    assert vendor_errors(without) == {"vendor": ["No."]}
