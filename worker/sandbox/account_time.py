"""Days and times in an account's time zone, as yyyymmdd and yyyymmddhhmmss numbers."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

# Every zone in use is offset by a multiple of 15 minutes, so a quarter of an hour has one day.
_QUARTER_S = 900
_CACHED_QUARTERS = 100_000  # 2.8 years of them
_LATEST_TS = 253_402_214_400  # 9999-12-31


class AccountTime:
    """Converts epoch seconds; ZoneInfoNotFoundError for an unknown zone."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._days: dict[int, int] = {}

    def day_of(self, ts: int) -> int:
        """Return the day of ``ts`` (epoch seconds) as yyyymmdd."""
        quarter = ts // _QUARTER_S
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) >= _CACHED_QUARTERS:
                self._days.clear()
            day = self._days[quarter] = int(self._at(ts).strftime("%Y%m%d"))
        return day

    def second_of(self, ts: int) -> int:
        """Return the second of ``ts`` (epoch seconds) as yyyymmddhhmmss."""
        return int(self._at(ts).strftime("%Y%m%d%H%M%S"))

    def _at(self, ts: int) -> datetime:
        # A vendor accepts any number; milliseconds taken for seconds lie past the year 9999.
        return datetime.fromtimestamp(min(max(ts, 0), _LATEST_TS), self._zone)
