"""Checking lines with a vendor's opinion, given by a table."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from support.commands import event, profile
from worker.cli.commands.check_records import RecordChecker, vendor_errors
from worker.cli.console.json_lines import Chunk, InputLine
from worker.producer.encoder import RecordEncoder
from worker.settings.settings import Settings
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

REFUSED = Verdict(Outcome.DEAD, "refused", 513, "No.")


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
