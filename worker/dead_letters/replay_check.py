"""What the vendor would say of dead letters today, asked by a dry run before they are replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..settings.destination import Destination
from ..vendors.protocol import Outcome, Verdict
from .groups import masked_text
from .letters import Selection

CheckBatch = Callable[[str, Sequence[bytes]], Sequence[Verdict]]


class Asked(Protocol):
    """What the vendor can be asked about: a record's kind, and its JSON."""

    @property
    def kind(self) -> str:
        """As the destination's settings name it."""

    @property
    def body(self) -> bytes:
        """What would be sent."""


AskedT = TypeVar("AskedT", bound=Asked)


@dataclass(frozen=True, slots=True)
class ReplayCheck:
    """How many would pass; of the others their ids, and how many for each code and text."""

    passed: int = 0
    ids: AbstractSet[str] = frozenset()
    refusals: Counter[tuple[int | None, str]] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        """How many would not pass."""
        return len(self.ids)

    def plus(self, other: ReplayCheck) -> ReplayCheck:
        """Both together."""
        return ReplayCheck(
            self.passed + other.passed,
            self.ids | other.ids,
            self.refusals + other.refusals,
        )

    def to_json(self) -> dict[str, Any]:
        """What `dlq replay --check` prints when it goes no further."""
        return {
            "would_pass": self.passed,
            "would_be_refused": self.refused,
            "refused": [
                {"code": code, "error": text, "count": number}
                for (code, text), number in self.refusals.most_common()
            ],
        }


def check_replay(selection: Selection, ask: CheckBatch) -> ReplayCheck:
    """The vendor's opinion of the selected; ``ask`` is given batches of one kind.

    VendorError when the vendor does not answer.
    """
    passed, ids, refusals = 0, set[str](), Counter[tuple[int | None, str]]()
    for letter, verdict in vendor_verdicts(selection, selection.letters.destination, ask):
        if verdict.outcome is Outcome.DELIVERED:
            passed += 1
        else:
            ids.add(letter.id)
            refusals[verdict.code, masked_text(verdict.error)] += 1
    return ReplayCheck(passed, ids, refusals)


def vendor_verdicts(
    records: Iterable[AskedT], destination: Destination, ask: CheckBatch
) -> Iterator[tuple[AskedT, Verdict]]:
    """What the vendor says of each, in order; VendorError when it does not answer."""
    for batch in _batches(records, destination):
        answers = ask(batch[0].kind, [each.body for each in batch])
        yield from zip(batch, answers, strict=True)


def _batches(records: Iterable[AskedT], destination: Destination) -> Iterator[list[AskedT]]:
    """Requests as the worker would make them: so many records, and so many bytes."""
    batch: list[AskedT] = []
    size = 0
    for letter in records:
        kind = destination.kinds[letter.kind]
        full = len(batch) >= kind.batch_records
        if batch and (
            full
            or batch[0].kind != letter.kind
            or size + len(letter.body) > destination.batch_max_bytes
        ):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += len(letter.body)
    if batch:
        yield batch
