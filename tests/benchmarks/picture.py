"""The picture in docs/benchmarks.md: bars on a linear scale, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks import drain, enqueue
from benchmarks.report import number
from benchmarks.results import Results

_WIDTH, _LABELS, _ROW, _TITLE = 760, 270, 26, 40
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; }
  .other { fill: #8c959f; } .ours { fill: #1f6feb; } .base { fill: #b8860b; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .other { fill: #6e7681; } .ours { fill: #58a6ff; } .base { fill: #d4a72c; }
  }
"""
_PANELS = (
    (
        drain.SECTION,
        "Draining, records a second (vendor without latency)",
        (
            drain.FLOOR,
            drain.ours(4),
            drain.ours(2),
            drain.ours(1),
            drain.BATCHED.name,
            drain.EACH.name,
        ),
    ),
    (
        enqueue.SECTION,
        "Enqueueing, records a second (one caller, unless it says so)",
        (
            enqueue.LOAD,
            enqueue.MANY_CALL,
            enqueue.SDK,
            enqueue.RPUSH,
            enqueue.EVENT_CALL,
            enqueue.ASYNC_CALL,
            enqueue.SEND_TASK,
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class _Bar:
    name: str
    value: float

    @property
    def style(self) -> str:
        """Return the class of a bar: ours, the base, or another."""
        if self.name.startswith(("ours", "Producer", "AsyncProducer")):
            return "ours"
        return "base" if self.name in (drain.FLOOR, enqueue.LOAD, enqueue.RPUSH) else "other"


def picture(results: Results) -> str:
    """Return the SVG."""
    parts: list[str] = []
    top = 0
    for section, title, names in _PANELS:
        found = [(name, results.median(section, name)) for name in names]
        bars = [_Bar(name, value) for name, value in found if value is not None]
        if bars:
            parts += _panel(title, bars, top)
            top += _TITLE + _ROW * len(bars) + 16
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _panel(title: str, bars: Sequence[_Bar], top: int) -> list[str]:
    most = max(bar.value for bar in bars)
    room = _WIDTH - _LABELS - 90
    lines = [f'<text class="title" x="8" y="{top + 24}">{escape(title)}</text>']
    for at, bar in enumerate(bars):
        y = top + _TITLE + at * _ROW
        width = max(1.5, room * bar.value / most)
        lines += [
            f'<text x="{_LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect class="{bar.style}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="18"/>',
            f'<text x="{_LABELS + width + 6:.1f}" y="{y + 14}">{number(bar.value)}</text>',
        ]
    return lines
