"""Our delivered counts by day and event name, merged as the vendor merges names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis

from ..buffer import keys
from ..settings.destination import Destination
from ..vendors.clevertap.property_rules import plain_name

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
        found = [key.decode() for key in self._client.scan_iter(self._key("*"), count=1000)]
        recent = [key for key in found if self._ttl_s(key) >= oldest_s]
        return sorted(day for key in recent if (day := key[-len(NO_DAY) :]) != NO_DAY)

    def of(self, day: str) -> dict[str, EventDeliveries]:
        """Return a day's deliveries by normalized event name."""
        raw: Any = self._client.hgetall(self._key(day))
        return merge_spellings(
            {orjson.loads(b'"' + name + b'"'): int(n) for name, n in raw.items()}
        )

    def _key(self, day: str) -> str:
        return keys.tally(self._destination.name, day)

    def _ttl_s(self, key: str) -> int:
        left: Any = self._client.ttl(key)
        return int(left)


def merge_spellings(numbers: Mapping[str, int]) -> dict[str, EventDeliveries]:
    """Merge the counts of names that the vendor treats as one, such as `Sign Up` and `signup`."""
    spellings: dict[str, dict[str, int]] = {}
    for name, number in numbers.items():
        spellings.setdefault(plain_name(name), {})[name] = number
    return {plain: _merged(each) for plain, each in spellings.items()}


def _merged(numbers: Mapping[str, int]) -> EventDeliveries:
    by_number = sorted(numbers, key=lambda name: (-numbers[name], name))
    return EventDeliveries(tuple(by_number), sum(numbers.values()))
