"""All dead letters, by what killed them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from worker.dead_letters.groups import LetterGroup

from ..vendors.reasons import reason_text
from .context import Context
from .endpoint import Asked, page
from .grouping import MOST_LOOKED_AT, cause_href, groups_of
from .overview import frame, missing
from .rendering import plural

_DONE = {
    "replayed": "replayed: back in the buffer, at the end of the line.",
    "purged": "purged for good, and counted as purged.",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A group, and where to open it."""

    group: LetterGroup
    title: str
    href: str


class Causes:
    """The page that lists them."""

    def __init__(self, reach: Context) -> None:
        self._reach = reach

    def show(self, asked: Asked) -> Response:
        """Every cause, of one destination or of all, the largest first."""
        only = asked.query.get("destination") or None
        one = None if only is None else self._reach.buffer(only)
        if only is not None and one is None:
            return missing(asked)
        rows: list[Row] = []
        unseen = 0
        for buffer in self._reach.buffers().values() if one is None else [one]:
            found = groups_of(self._reach.letters(buffer.destination))
            rows += [_row(group) for group in found.groups]
            unseen += found.unseen
        rows.sort(key=lambda row: -row.group.count)
        context = {
            **frame(asked, "letters"),
            "rows": rows,
            "only": only,
            "unseen": unseen,
            "looked_at": MOST_LOOKED_AT,
            "done": done(asked),
        }
        return page(200, "dead_letters.html", **context)


def done(asked: Asked) -> str:
    """What was done before this page, in words of ours: nothing of the address is repeated."""
    words, count = _DONE.get(asked.query.get("done", "")), asked.query.get("n", "")
    if words is None or not count.isdecimal() or len(count) > 12:
        return ""
    return f"{plural(int(count), 'dead letter')} {words}"


def _row(group: LetterGroup) -> Row:
    return Row(group, reason_text(group.reason).title, cause_href(group))
