"""Dead letters by their cause: all of them, and one cause with its records."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis
from starlette.responses import Response

from worker.dead_letters.groups import Group, summary
from worker.dead_letters.letters import DeadLetter, DeadLetters, Selection
from worker.dead_letters.replay_check import Opinion, opinion
from worker.dead_letters.replays import Kept, Replays
from worker.errors import IngestError
from worker.overview import Overview
from worker.settings import Destination, Settings

from .audit import Audit
from .exchange import Asked, page, see
from .flow import frame, missing
from .letter_groups import (
    MOST_CHECKED,
    MOST_LOOKED_AT,
    PER_PAGE,
    Cause,
    FirstOf,
    OfCause,
    cause_of_group,
    groups_of,
)
from .meanings import field_of, meaning
from .vendor_opinion import ask_vendor

DONE = {
    "replayed": "replayed: back in the buffer, and delivered in a moment.",
    "purged": "purged for good, and counted as purged.",
}
_MOST_KEPT_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Row:
    """A group, and where to open it."""

    group: Group
    title: str
    href: str


@dataclass(slots=True)
class Shown:
    """A cause's page: what it is, its records (a page of them), and what was done or found out."""

    destination: Destination
    cause: Cause
    group: Group
    letters: list[DeadLetter]
    number: int
    unseen: int
    said: Opinion | None = None
    kept: list[Kept] | None = None
    failed: str = ""


class Letters:
    """Shows causes, and replays, checks or purges all records of one."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        audit: Audit,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = client
        self._audit = audit
        self._now = now

    def index(self, asked: Asked) -> Response:
        """Every cause, of one destination or of all."""
        only = asked.query.get("destination") or None
        rows: list[Row] = []
        unseen = 0
        for name, buffer in Overview.of(self._settings, self._client).buffers.items():
            if only in (None, name):
                found = groups_of(DeadLetters(self._client, buffer.destination))
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

    def cause(self, asked: Asked) -> Response:
        """One cause and its records."""
        shown = self._look(asked, self._now() * 1000)
        return missing(asked) if shown is None else self._page(asked, shown)

    def act(self, asked: Asked) -> Response:
        """Check, replay or purge all records of a cause that were there when the page was made."""
        shown = self._look(asked, _until(asked, self._now() * 1000))
        if shown is None:
            return missing(asked)
        actions = {
            "check": self._check,
            "replay": self._replay,
            "replay_passing": self._replay_passing,
            "purge": self._purge,
        }
        return actions.get(asked.form.get("action", ""), self._page)(asked, shown)

    def _check(self, asked: Asked, shown: Shown) -> Response:
        self._ask(asked, shown, self._first(shown))
        return self._page(asked, shown)

    def _replay_passing(self, asked: Asked, shown: Shown) -> Response:
        """What the page told may be old: the vendor is asked again, and has the last word."""
        first = self._first(shown)
        said = self._ask(asked, shown, first)
        return self._put_back(asked, shown, first, said.ids) if said else self._page(asked, shown)

    def _ask(self, asked: Asked, shown: Shown, first: Selection) -> Opinion | None:
        """The vendor's opinion; None when it has none, which the page then tells."""
        try:
            with ask_vendor(shown.destination) as ask:
                shown.said = said = opinion(first, ask)
        except IngestError as error:
            shown.failed = str(error)
            return None
        self._note(asked, shown, "checked with the vendor", said.passed + said.refused)
        return said

    def _first(self, shown: Shown) -> Selection:
        return FirstOf(self._selection(shown), MOST_CHECKED)

    def _replay(self, asked: Asked, shown: Shown) -> Response:
        return self._put_back(asked, shown, self._selection(shown), frozenset())

    def _put_back(
        self, asked: Asked, shown: Shown, selection: Selection, without: AbstractSet[str]
    ) -> Response:
        if not shown.destination.vendor:
            shown.failed = "this destination is not configured, so nobody would deliver them"
            return self._page(asked, shown)
        shown.kept = []
        replays = Replays(self._client, shown.destination)
        replayed = replays.replay(selection, shown.kept.append, without=without)
        self._note(asked, shown, "replayed", replayed)
        if not shown.kept:
            return see(f"/dead-letters?done=replayed&n={replayed}")
        del shown.kept[_MOST_KEPT_SHOWN:]
        return self._page(asked, self._look(asked, shown.cause.until_ms, shown.kept) or shown)

    def _purge(self, asked: Asked, shown: Shown) -> Response:
        purged = self._selection(shown).purge()
        self._note(asked, shown, "purged", purged)
        return see(f"/dead-letters?done=purged&n={purged}")

    def _note(self, asked: Asked, shown: Shown, action: str, count: int) -> None:
        group = shown.group
        what = f"{group.kind}, {group.reason} {group.code or ''}".strip()
        self._audit.note(asked.user, action, group.destination, what, count)

    def _selection(self, shown: Shown) -> Selection:
        return OfCause(DeadLetters(self._client, shown.destination), shown.cause)

    def _look(self, asked: Asked, until_ms: float, kept: list[Kept] | None = None) -> Shown | None:
        buffers = Overview.of(self._settings, self._client).buffers
        buffer, kind = buffers.get(asked.parts["name"]), asked.parts["kind"]
        if buffer is None or kind not in buffer.destination.kinds:
            return None
        cause = Cause(kind=kind, cause=asked.parts["cause"], until_ms=until_ms)
        every = OfCause(DeadLetters(self._client, buffer.destination), cause)
        groups = summary(every)
        if not groups:
            return None
        number = _page_number(asked.query.get("page", "1"))
        first = (number - 1) * PER_PAGE
        letters = list(islice(iter(every), first, first + PER_PAGE))
        shown = Shown(buffer.destination, cause, groups[0], letters, number, every.unseen)
        shown.kept = kept
        return shown

    def _page(self, asked: Asked, shown: Shown) -> Response:
        group = shown.group
        context: dict[str, Any] = {
            **frame(asked, "letters"),
            "each": shown,
            "group": group,
            "meaning": meaning(group.reason),
            "field": field_of(shown.destination.vendor, group.code),
            "href": _href(group),
            "until_ms": int(shown.cause.until_ms),
            "pages": -(-group.count // PER_PAGE),
            "unseen": shown.unseen,
            "looked_at": MOST_LOOKED_AT,
            "most_checked": MOST_CHECKED,
            "refused": sorted(shown.said.ids)[:_MOST_KEPT_SHOWN] if shown.said else [],
        }
        return page(200, "cause.html", **context)


def done(asked: Asked) -> str:
    """What was done before this page, in words of ours: nothing of the address is repeated."""
    words, number = DONE.get(asked.query.get("done", "")), asked.query.get("n", "")
    if words is None or not number.isdecimal() or len(number) > 12:
        return ""
    count = int(number)
    return f"{count:,} dead letter{'' if count == 1 else 's'} {words}"


def _row(group: Group) -> Row:
    return Row(group, meaning(group.reason).title, _href(group))


def _href(group: Group) -> str:
    return f"/dead-letters/{group.destination}/{group.kind}/{cause_of_group(group)}"


def _until(asked: Asked, now_ms: float) -> float:
    """The moment the page was made, as its form says; never later than now."""
    told = asked.form.get("until", "")
    return min(now_ms, int(told)) if told.isdecimal() and len(told) < 16 else now_ms


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1
