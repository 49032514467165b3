"""Pages from templates; all values are escaped, since records come from others."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from worker.buffer.records import accepted_at_ms
from worker.dead_letters.groups import masked_name, masked_text
from worker.vendors.reasons import reason_text

from .grouping import group_href

_MAX_BRIEF = 160
FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = (number, span, moment, ago, plural, brief, masked_name, masked_text)
    environment.filters |= {each.__name__: each for each in own}
    environment.filters |= {"accepted": accepted_at_ms, "uuid": UUID}
    environment.filters |= {"href": group_href, "reason": reason_text}
    return environment


def render(template: str, **context: Any) -> str:
    """Return a template filled with these values."""
    return _environment().get_template(template).render(**context)


def number(value: float) -> str:
    """Return a number with separators: 1,234,567."""
    return f"{value:,.0f}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: 1 record, 1,234 records."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def brief(text: str) -> str:
    """Return as much of a text as fits a heading: those of vendors and producers can be long."""
    return text if len(text) <= _MAX_BRIEF else f"{text[: _MAX_BRIEF - 1].rstrip()}…"


def span(seconds: float) -> str:
    """Return a length of time for people: 4 s, 3 min, 2 h, 5 d."""
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds else "0 s"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (unit == "min" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(epoch_ms: float) -> str:
    """Return a time to the second, with its zone."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(epoch_ms: float) -> str:
    """Return how long ago that was."""
    return f"{span(max(0.0, time.time() - epoch_ms / 1000))} ago"
