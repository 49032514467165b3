"""Pages from templates; whatever is put into one is escaped: records are somebody else's text."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.buffer.records import accepted_at_ms

_MOST_BRIEF = 160
FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {each.__name__: each for each in (number, span, moment, ago, plural, brief)}
    made.filters |= {"accepted": accepted_at_ms, "uuid": UUID}
    return made


def render(template: str, **context: Any) -> str:
    """A template with these values."""
    return _environment().get_template(template).render(**context)


def number(value: float) -> str:
    """1,234,567."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its word: 1 record, 1,234 records."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def brief(text: str) -> str:
    """As much of a text as a heading has room for: vendors' and producers' may have any length."""
    return text if len(text) <= _MOST_BRIEF else f"{text[: _MOST_BRIEF - 1].rstrip()}…"


def span(seconds: float) -> str:
    """A length of time in words for people: 4 s, 3 min, 2 h, 5 d."""
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds else "0 s"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(epoch_ms: float) -> str:
    """A time to the second, with its zone."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(epoch_ms: float) -> str:
    """How long ago that was."""
    return f"{span(max(0.0, time.time() - epoch_ms / 1000))} ago"
