"""Compare what we delivered with what the vendor counts, by event and day.

Every difference is reported, with its possible causes. While deliveries continue, our number is a
range: from before the vendor was asked to after.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import redis

from ..buffer import keys
from ..buffer.buffer import Buffer
from ..errors import VendorError
from ..settings.destination import Destination
from ..vendors.clevertap.property_rules import plain_name
from ..vendors.protocol import Kind
from ..vendors.reasons import DeadLetterReason
from .client import Reader
from .counts import count_all
from .queries import CountQuery

#: Without a day, compare the days with deliveries in the last week, so that a failed night or a
#: late count is caught up.
RECENT_DAYS: Final = 7
#: Results are kept as long as the delivered counts.
KEPT_S: Final = 35 * 86400
#: Reasons of dead letters that the vendor may have accepted. Those that `expired` after no answer
#: are among the ambiguous ones already.
_UNSURE: Final = (DeadLetterReason.AMBIGUOUS, DeadLetterReason.UNCONFIRMED)
#: The day of records without one: a time beyond the year 9999.
NO_DAY: Final = "00000000"
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class EventDeliveries:
    """Deliveries of one event under all its spellings, the most frequent first."""

    names: tuple[str, ...]
    number: int


class DeliveredCounts:
    """The delivered counts of one destination."""

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self._client = client
        self._destination = destination

    def days(self, *, changed_within_days: int) -> list[str]:
        """Return the days with recent deliveries, oldest first, including backfilled old days.

        The remaining TTL of a count shows when it last grew: each delivery renews it.
        """
        oldest_s = (self._destination.tally_days - changed_within_days) * _DAY_S
        client: Any = self._client
        found = client.scan_iter(keys.tally(self._destination.name, "*"), count=1000)
        recent = [key.decode()[-len(NO_DAY) :] for key in found if client.ttl(key) >= oldest_s]
        return sorted(day for day in recent if day != NO_DAY)

    def of(self, day: str) -> dict[str, EventDeliveries]:
        """Return a day's deliveries by normalized event name."""
        raw: Any = self._client.hgetall(keys.tally(self._destination.name, day))
        numbers = {orjson.loads(b'"' + name + b'"'): int(n) for name, n in raw.items()}
        return merge_spellings(numbers)


def merge_spellings(numbers: Mapping[str, int]) -> dict[str, EventDeliveries]:
    """Merge the counts of names that the vendor treats as one, such as `Sign Up` and `signup`."""
    spellings: dict[str, dict[str, int]] = {}
    for name, number in numbers.items():
        spellings.setdefault(plain_name(name), {})[name] = number
    found = {}
    for plain, of in spellings.items():
        names = tuple(sorted(of, key=lambda name: (-of[name], name)))
        found[plain] = EventDeliveries(names, sum(of.values()))
    return found


@dataclass(frozen=True, slots=True)
class EventComparison:
    """One event on one day (yyyymmdd, of the account): numbers of events.

    ``counted`` is None if the vendor gave no count, and ``note`` says why; otherwise ``note`` holds
    the possible causes of a difference. ``difference`` is positive if the vendor has more.
    """

    day: str
    event: str
    delivered: int
    counted: int | None
    difference: int = 0
    note: str = ""
    spellings: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the vendor counts what we delivered."""
        return self.counted is not None and self.difference == 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One destination's comparison; ``checked_at`` in epoch seconds."""

    destination: str
    checked_at: int
    lines: Sequence[EventComparison]

    @property
    def agrees(self) -> bool:
        """Whether every line agrees; true without deliveries."""
        return all(line.agrees for line in self.lines)

    @property
    def differences(self) -> list[EventComparison]:
        """The lines that do not agree."""
        return [line for line in self.lines if not line.agrees]


@dataclass(frozen=True, slots=True)
class PossibleMismatch:
    """Possible causes of a difference: recent days, and the destination's own numbers."""

    recent_days: frozenset[str]
    ambiguous: int = 0
    unsure: int = 0
    in_flight: int = 0


class Reconciler:
    """Compares for one destination. ``now`` gives epoch seconds."""

    def __init__(
        self, reader: Reader, client: redis.Redis, *, now: Callable[[], float] = time.time
    ) -> None:
        self._reader, self._client, self._now = reader, client, now
        self._destination = reader.destination
        self._delivered = DeliveredCounts(client, reader.destination)

    def run(self, day: str | None = None, recent_days: int = RECENT_DAYS) -> Reconciliation:
        """Compare one day, or all days with recent deliveries, and store the result.

        VendorError if the vendor gives no count at all; one failed count among others is a line
        that does not agree.
        """
        days = [day] if day else self._delivered.days(changed_within_days=recent_days)
        before = [(on, each) for on in days for each in self._delivered.of(on).values()]
        queries = [CountQuery(each.names[0], int(on), int(on)) for on, each in before]
        counted = count_all(self._reader, queries)
        failed = [each for each in counted if isinstance(each, VendorError)]
        if failed and len(failed) == len(counted):
            raise failed[0]
        after = {on: self._delivered.of(on) for on in days}
        mismatch = self._possible_mismatch()
        lines = [
            _compare(on, each, after[on], number, mismatch)
            for (on, each), number in zip(before, counted, strict=True)
        ]
        found = Reconciliation(self._destination.name, int(self._now()), _explain_shifts(lines))
        self._store(found)
        if day is None:
            settled = [line for line in lines if line.day not in mismatch.recent_days]
            missing = sum(max(0, -line.difference) for line in settled)
            Buffer(self._client, self._destination).record_reconciliation(
                found.checked_at * 1000, missing
            )
        return found

    def _possible_mismatch(self) -> PossibleMismatch:
        today = datetime.fromtimestamp(self._now(), self._destination.timezone)
        recent = frozenset((today - timedelta(days=ago)).strftime("%Y%m%d") for ago in (0, 1))
        status = Buffer(self._client, self._destination).status()
        counts = status.kinds.get(Kind.EVENT)
        if counts is None:
            return PossibleMismatch(recent)
        unsure = sum(status.codes[Kind.EVENT].get(reason, 0) for reason in _UNSURE)
        in_flight = counts.in_flight + counts.retrying
        return PossibleMismatch(recent, counts.totals["ambiguous"], unsure, in_flight)

    def _store(self, found: Reconciliation) -> None:
        for day in sorted({line.day for line in found.lines}):
            lines = [asdict(line) for line in found.lines if line.day == day]
            value = orjson.dumps({"checked_at": found.checked_at, "lines": lines})
            self._client.set(keys.reconciled(found.destination, day), value, ex=KEPT_S)


def last_reconciliation(client: redis.Redis, destination: str, day: str) -> Reconciliation | None:
    """Return the last comparison of a day (yyyymmdd); None if it does not exist (any more)."""
    raw: Any = client.get(keys.reconciled(destination, day))
    if raw is None:
        return None
    found = orjson.loads(raw)
    stored = [each | {"spellings": tuple(each["spellings"])} for each in found["lines"]]
    lines = [EventComparison(**each) for each in stored]
    return Reconciliation(destination, found["checked_at"], lines)


def _compare(
    day: str,
    before: EventDeliveries,
    after: dict[str, EventDeliveries],
    counted: int | VendorError,
    mismatch: PossibleMismatch,
) -> EventComparison:
    line = EventComparison(day, before.names[0], before.number, None, spellings=before.names)
    if isinstance(counted, VendorError):
        return replace(line, note=str(counted))
    # The vendor counted between our two readings: any number between them agrees.
    grown = [each.number for each in after.values() if set(each.names) & set(before.names)]
    delivered = min(max(counted, before.number), max([before.number, *grown]))
    line = replace(line, delivered=delivered, counted=counted, difference=counted - delivered)
    return line if line.agrees else replace(line, note=_note(line, mismatch))


def _note(line: EventComparison, mismatch: PossibleMismatch) -> str:
    if line.difference < 0:
        if line.day in mismatch.recent_days:
            return "a recent day: the vendor may not have counted all of it yet"
        return "the vendor counts fewer than it confirmed to us"
    causes = []
    if mismatch.ambiguous:
        causes.append(f"up to {mismatch.ambiguous} were sent again after no answer: duplicates")
    if mismatch.unsure:
        causes.append(
            f"up to {mismatch.unsure} failed as {' or '.join(_UNSURE)}, but may have arrived, "
            "twice if they were replayed"
        )
    if mismatch.in_flight:
        causes.append(f"{mismatch.in_flight} are in flight, and may have arrived")
    causes.append("another source (an SDK, an import) may send this event too")
    return "; ".join(causes)


def _explain_shifts(lines: Sequence[EventComparison]) -> list[EventComparison]:
    """Mark differences that cancel out across days: the days then begin at different hours."""
    net = Counter[str]()
    for line in lines:
        net[plain_name(line.event)] += line.difference
    hint = "the days' differences cancel out: is `timezone` the account's?"
    return [
        replace(line, note=hint) if line.difference and not net[plain_name(line.event)] else line
        for line in lines
    ]
