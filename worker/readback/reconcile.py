"""What we delivered against what the vendor counts, event by event and day by day.

A difference is never explained away: it is told, with what may be behind it. While deliveries go
on, our number is a range, from before the vendor was asked to after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import redis

from ..buffer import keys
from ..buffer.buffer import Buffer
from ..errors import VendorError
from ..vendors.clevertap.property_rules import plain_name
from ..vendors.protocol import Kind
from ..vendors.reasons import DeadLetterReason
from .client import Reader
from .counts import count_all
from .delivered_counts import Delivered, Tallies
from .queries import CountQuery

#: Without a day given, the days that were delivered to so lately are compared: a week, so that a
#: night that failed, and a vendor that counted late, are made good.
RECENT_DAYS: Final = 7
#: Results are kept as long as the tallies they were made of.
KEPT_S: Final = 35 * 86400
#: Reasons of dead letters that the vendor may have taken. Those that `expired` after no answer are
#: among the ambiguous ones already.
_UNSURE: Final = (DeadLetterReason.AMBIGUOUS, DeadLetterReason.UNCONFIRMED)


@dataclass(frozen=True, slots=True)
class Line:
    """One event on one day (yyyymmdd, of the account): numbers of events.

    ``counted`` is None when the vendor gave no count; ``note`` then says why, and else what may be
    behind a difference. ``difference`` is what the vendor has too many (+) or too few (-).
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
    lines: Sequence[Line]

    @property
    def agrees(self) -> bool:
        """Whether every line does; true when nothing was delivered."""
        return all(line.agrees for line in self.lines)

    @property
    def differences(self) -> list[Line]:
        """The lines that do not agree."""
        return [line for line in self.lines if not line.agrees]


@dataclass(frozen=True, slots=True)
class PossibleMismatch:
    """What may explain a difference: days that are young, and the destination's own numbers."""

    young: frozenset[str]
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
        self._tallies = Tallies(client, reader.destination)

    def run(self, day: str | None = None, recent_days: int = RECENT_DAYS) -> Reconciliation:
        """Compare one day, or all that were delivered to lately, and keep the result.

        VendorError when the vendor gives no count at all; a count that fails among others is a line
        that does not agree.
        """
        days = [day] if day else self._tallies.days(changed_within_days=recent_days)
        asked = [(on, each) for on in days for each in self._tallies.of(on).values()]
        queries = [CountQuery(each.names[0], int(on), int(on)) for on, each in asked]
        counted = count_all(self._reader, queries)
        _refuse_silence(counted)
        after = {on: self._tallies.of(on) for on in days}
        doubt = self._doubt()
        lines = [
            _line(on, each, after[on], number, doubt)
            for (on, each), number in zip(asked, counted, strict=True)
        ]
        found = Reconciliation(self._destination.name, int(self._now()), _shifted(lines))
        self._keep(found)
        if day is None:
            missing = sum(max(0, -each.difference) for each in lines if each.day not in doubt.young)
            Buffer(self._client, self._destination).record_reconciliation(
                found.checked_at * 1000, missing
            )
        return found

    def _doubt(self) -> PossibleMismatch:
        today = datetime.fromtimestamp(self._now(), self._destination.timezone)
        young = frozenset((today - timedelta(days=ago)).strftime("%Y%m%d") for ago in (0, 1))
        status = Buffer(self._client, self._destination).status()
        places = status.kinds.get(Kind.EVENT)
        if places is None:
            return PossibleMismatch(young)
        unsure = sum(status.codes[Kind.EVENT].get(reason, 0) for reason in _UNSURE)
        on_their_way = places.in_flight + places.retrying
        return PossibleMismatch(young, places.totals["ambiguous"], unsure, on_their_way)

    def _keep(self, found: Reconciliation) -> None:
        for day in sorted({line.day for line in found.lines}):
            lines = [asdict(line) for line in found.lines if line.day == day]
            value = orjson.dumps({"checked_at": found.checked_at, "lines": lines})
            self._client.set(keys.reconciled(found.destination, day), value, ex=KEPT_S)


def kept(client: redis.Redis, destination: str, day: str) -> Reconciliation | None:
    """Return the last comparison of that day (yyyymmdd); None if there is none any more."""
    raw: Any = client.get(keys.reconciled(destination, day))
    if raw is None:
        return None
    found = orjson.loads(raw)
    lines = [Line(**{**each, "spellings": tuple(each["spellings"])}) for each in found["lines"]]
    return Reconciliation(destination, found["checked_at"], lines)


def _refuse_silence(counted: Sequence[int | VendorError]) -> None:
    """Raise VendorError if no query got an answer: nothing was compared."""
    failed = [each for each in counted if isinstance(each, VendorError)]
    if failed and len(failed) == len(counted):
        raise failed[0]


def _line(
    day: str,
    before: Delivered,
    after: dict[str, Delivered],
    counted: int | VendorError,
    doubt: PossibleMismatch,
) -> Line:
    event, spellings = before.names[0], before.names
    if isinstance(counted, VendorError):
        return Line(day, event, before.number, None, note=str(counted), spellings=spellings)
    # Between the two readings of the tally the vendor was asked: what it counts may be any between.
    grown = [each.number for each in after.values() if set(each.names) & set(spellings)]
    delivered = min(max(counted, before.number), max([before.number, *grown]))
    line = Line(day, event, delivered, counted, counted - delivered, spellings=spellings)
    return line if line.agrees else replace(line, note=_note(line, doubt))


def _note(line: Line, doubt: PossibleMismatch) -> str:
    if line.difference < 0:
        if line.day in doubt.young:
            return "a young day: the vendor may not have counted all of it yet"
        return "the vendor counts fewer than it confirmed to us"
    causes = []
    if doubt.ambiguous:
        causes.append(f"up to {doubt.ambiguous} were sent again after no answer: duplicates")
    if doubt.unsure:
        causes.append(
            f"up to {doubt.unsure} died as {' or '.join(_UNSURE)}, and may be there all the same, "
            "twice if they were replayed"
        )
    if doubt.in_flight:
        causes.append(f"{doubt.in_flight} are on their way, and may be there already")
    causes.append("something else (an SDK, an import) may send this event too")
    return "; ".join(causes)


def _shifted(lines: Sequence[Line]) -> list[Line]:
    """Mark differences that cancel out from day to day: the days then begin at different hours."""
    net: dict[str, int] = {}
    for line in lines:
        net[plain_name(line.event)] = net.get(plain_name(line.event), 0) + line.difference
    hint = "the days' differences cancel out: is `timezone` the account's?"
    return [
        replace(line, note=hint) if line.difference and not net[plain_name(line.event)] else line
        for line in lines
    ]
