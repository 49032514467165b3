"""What we delivered, as `settle` counts it: by day and event name, merged as the vendor does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis

from ..buffer import keys
from ..settings.destination import Destination
from ..vendors.clevertap.property_rules import plain_name

#: Under it stands what belongs to no day: a time beyond the year 9999.
NO_DAY: Final = "00000000"
_DAY_S: Final = 86400


@dataclass(frozen=True, slots=True)
class Delivered:
    """Deliveries of one event, under all its spellings, the most frequent first."""

    names: tuple[str, ...]
    number: int


class Tallies:
    """One destination's tallies."""

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self._client = client
        self._destination = destination

    def days(self, *, changed_within_days: int) -> list[str]:
        """Return the days with recent deliveries, oldest first, including backfilled old days.

        A tally's remaining life tells when it grew: each delivery renews it.
        """
        oldest_s = (self._destination.tally_days - changed_within_days) * _DAY_S
        found = [key.decode() for key in self._client.scan_iter(self._key("*"), count=1000)]
        lately = [key for key in found if self._life_s(key) >= oldest_s]
        return sorted(day for key in lately if (day := key[-len(NO_DAY) :]) != NO_DAY)

    def of(self, day: str) -> dict[str, Delivered]:
        """Count a day's deliveries by normalized event name."""
        raw: Any = self._client.hgetall(self._key(day))
        return merged({orjson.loads(b'"' + name + b'"'): int(n) for name, n in raw.items()})

    def _key(self, day: str) -> str:
        return keys.tally(self._destination.name, day)

    def _life_s(self, key: str) -> int:
        left: Any = self._client.ttl(key)
        return int(left)


def merged(numbers: Mapping[str, int]) -> dict[str, Delivered]:
    """Deliveries by the plain form of the name: the vendor knows `Sign Up` and `signup` as one."""
    spellings: dict[str, dict[str, int]] = {}
    for name, number in numbers.items():
        spellings.setdefault(plain_name(name), {})[name] = number
    return {plain: _delivered(each) for plain, each in spellings.items()}


def _delivered(numbers: Mapping[str, int]) -> Delivered:
    by_number = sorted(numbers, key=lambda name: (-numbers[name], name))
    return Delivered(tuple(by_number), sum(numbers.values()))
