"""Compare what we delivered with what the vendor counts, by event and day.

Every difference is reported, with its possible causes. While deliveries continue, our number is a
range: from before the vendor was asked to after.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
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
#: The day of records without one: a time beyond the year 9999.
NO_DAY: Final = "00000000"
#: Reasons of dead letters that the vendor may have accepted. Those that `expired` after no answer
#: are among the ambiguous ones already.
_UNSURE: Final = (DeadLetterReason.AMBIGUOUS, DeadLetterReason.UNCONFIRMED)


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
        return not self.differences

    @property
    def differences(self) -> list[EventComparison]:
        """The lines that do not agree."""
        return [line for line in self.lines if not line.agrees]


@dataclass(frozen=True, slots=True)
class EventDeliveries:
    """Our deliveries of one event under all its spellings, the most frequent first."""

    names: tuple[str, ...]
    number: int


def delivered_days(client: redis.Redis, destination: Destination, within_days: int) -> list[str]:
    """Return the days with counts that grew lately, oldest first, including backfilled old days.

    The remaining TTL of a count shows when it last grew: each delivery renews it.
    """
    oldest_s = (destination.tally_days - within_days) * 86400
    pattern = keys.tally(destination.name, "*")
    found = [key.decode() for key in client.scan_iter(pattern, count=1000)]
    ttl_s: Callable[[str], Any] = client.ttl
    days = {key[-len(NO_DAY) :] for key in found if ttl_s(key) >= oldest_s}
    return sorted(days - {NO_DAY})


def merge_spellings(numbers: Mapping[str, int]) -> dict[str, EventDeliveries]:
    """Merge the counts of names that the vendor treats as one, such as `Sign Up` and `signup`."""
    spellings: dict[str, list[str]] = {}
    for name in sorted(numbers, key=lambda name: (-numbers[name], name)):
        spellings.setdefault(plain_name(name), []).append(name)
    return {
        plain: EventDeliveries(tuple(names), sum(numbers[name] for name in names))
        for plain, names in spellings.items()
    }


class Reconciler:
    """Compares for one destination. ``now`` gives epoch seconds."""

    def __init__(
        self, reader: Reader, client: redis.Redis, *, now: Callable[[], float] = time.time
    ) -> None:
        self._reader, self._client, self._now = reader, client, now
        self._destination = reader.destination
        self._buffer = Buffer(client, reader.destination)

    def run(self, day: str | None = None, recent_days: int = RECENT_DAYS) -> Reconciliation:
        """Compare one day, or all days with recent deliveries, and store the result.

        VendorError if the vendor gives no count at all; one failed count among others is a line
        that does not agree.
        """
        days = [day] if day else delivered_days(self._client, self._destination, recent_days)
        before = [(on, each) for on in days for each in self._delivered(on).values()]
        queries = [CountQuery(each.names[0], int(on), int(on)) for on, each in before]
        counted = count_all(self._reader, queries)
        failed = [each for each in counted if isinstance(each, VendorError)]
        if failed and len(failed) == len(counted):
            raise failed[0]
        after = {on: self._delivered(on) for on in days}
        today = datetime.fromtimestamp(self._now(), self._destination.timezone)
        recent = [(today - timedelta(days=ago)).strftime("%Y%m%d") for ago in (0, 1)]
        lines = [
            _compare(on, each, after[on], number)
            for (on, each), number in zip(before, counted, strict=True)
        ]
        surplus = self._causes_of_surplus()
        lines = [_explained(line, recent, surplus) for line in lines]
        found = Reconciliation(self._destination.name, int(self._now()), _explain_shifts(lines))
        self._store(found)
        if day is None:
            missing = sum(max(0, -line.difference) for line in lines if line.day not in recent)
            self._buffer.record_reconciliation(found.checked_at * 1000, missing)
        return found

    def _delivered(self, day: str) -> dict[str, EventDeliveries]:
        """Return a day's deliveries by normalized event name."""
        raw: Any = self._client.hgetall(keys.tally(self._destination.name, day))
        counts = {orjson.loads(b'"' + name + b'"'): int(number) for name, number in raw.items()}
        return merge_spellings(counts)

    def _causes_of_surplus(self) -> str:
        """Return why the vendor may count more than was delivered."""
        causes = []
        status = self._buffer.status()
        if counts := status.kinds.get(Kind.EVENT):
            if ambiguous := counts.totals["ambiguous"]:
                causes.append(f"up to {ambiguous} were sent again after no answer: duplicates")
            if unsure := sum(status.codes[Kind.EVENT].get(reason, 0) for reason in _UNSURE):
                causes.append(
                    f"up to {unsure} failed as {' or '.join(_UNSURE)}, but may have arrived, "
                    "twice if they were replayed"
                )
            if in_flight := counts.in_flight + counts.retrying:
                causes.append(f"{in_flight} are in flight, and may have arrived")
        return "; ".join([*causes, "another source (an SDK, an import) may send this event too"])

    def _store(self, found: Reconciliation) -> None:
        for day in sorted({line.day for line in found.lines}):
            lines = [asdict(line) for line in found.lines if line.day == day]
            value = orjson.dumps({"checked_at": found.checked_at, "lines": lines})
            self._client.set(keys.reconciled(found.destination, day), value, ex=KEPT_S)


def _compare(
    day: str,
    before: EventDeliveries,
    after: Mapping[str, EventDeliveries],
    counted: int | VendorError,
) -> EventComparison:
    line = EventComparison(day, before.names[0], before.number, None, spellings=before.names)
    if isinstance(counted, VendorError):
        return replace(line, note=str(counted))
    # The vendor counted between our two readings: any number between them agrees.
    grown = [each.number for each in after.values() if set(each.names) & set(before.names)]
    delivered = min(max(counted, before.number), max([before.number, *grown]))
    return replace(line, delivered=delivered, counted=counted, difference=counted - delivered)


def _explained(line: EventComparison, recent: Collection[str], surplus: str) -> EventComparison:
    """Return the line with the possible causes of its difference."""
    if not line.difference:
        return line
    if line.day in recent:
        missing = "a recent day: the vendor may not have counted all of it yet"
    else:
        missing = "the vendor counts fewer than it confirmed to us"
    return replace(line, note=surplus if line.difference > 0 else missing)


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
