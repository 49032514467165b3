"""Times as people and files are told them: ISO 8601 in UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(epoch_ms: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC; OverflowError beyond the year 9999."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(text: Any) -> int:
    """Epoch milliseconds of what `iso` writes; 0 when it is nothing of the kind."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (TypeError, ValueError):
        return 0
