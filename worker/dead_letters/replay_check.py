"""Checks dead letters with the vendor, by a dry run before they are replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..settings.destination import Destination
from ..vendors.protocol import Outcome, Verdict
from .groups import masked_text
from .letters import Selection

CheckBatch = Callable[[str, Sequence[bytes]], Sequence[Verdict]]


RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class ReplayCheck:
    """How many would pass; the ids of the others, and their number by code and text."""

    passed: int = 0
    ids: AbstractSet[str] = frozenset()
    refusals: Counter[tuple[int | None, str]] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return len(self.ids)

    def plus(self, other: ReplayCheck) -> ReplayCheck:
        refusals = self.refusals + other.refusals
        return ReplayCheck(self.passed + other.passed, self.ids | other.ids, refusals)

    def to_json(self) -> dict[str, Any]:
        """Return what `dlq replay --check` prints when it replays nothing."""
        return {
            "would_pass": self.passed,
            "would_be_refused": self.refused,
            "refused": [
                {"code": code, "error": text, "count": number}
                for (code, text), number in self.refusals.most_common()
            ],
        }


def check_replay(selection: Selection, check_batch: CheckBatch) -> ReplayCheck:
    """Check a selection; ``check_batch`` gets batches of one kind. May raise VendorError."""
    passed, ids, refusals = 0, set[str](), Counter[tuple[int | None, str]]()
    records = ((letter, letter.kind, letter.body) for letter in selection)
    for letter, verdict in vendor_verdicts(records, selection.letters.destination, check_batch):
        if verdict.outcome is Outcome.DELIVERED:
            passed += 1
        else:
            ids.add(letter.id)
            refusals[verdict.code, masked_text(verdict.error)] += 1
    return ReplayCheck(passed, ids, refusals)


def vendor_verdicts(
    records: Iterable[tuple[RecordT, str, bytes]], destination: Destination, check_batch: CheckBatch
) -> Iterator[tuple[RecordT, Verdict]]:
    """Yield the vendor's verdict on each record, given with its kind and body, in order.

    VendorError when the vendor does not answer.
    """
    for batch in _batches(records, destination):
        answers = check_batch(batch[0][1], [body for _, _, body in batch])
        yield from zip((record for record, _, _ in batch), answers, strict=True)


def _batches(
    records: Iterable[tuple[RecordT, str, bytes]], destination: Destination
) -> Iterator[list[tuple[RecordT, str, bytes]]]:
    """Yield requests as the worker would make them, limited in records and bytes."""
    batch: list[tuple[RecordT, str, bytes]] = []
    size = 0
    for record, kind, body in records:
        if batch and (
            batch[0][1] != kind
            or len(batch) >= destination.kinds[kind].batch_records
            or size + len(body) > destination.batch_max_bytes
        ):
            yield batch
            batch, size = [], 0
        batch.append((record, kind, body))
        size += len(body)
    if batch:
        yield batch
