"""The dead letters of one cause: looked at, checked with the vendor, replayed or purged."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from starlette.responses import Response

from worker.dead_letters.groups import OTHER_TEXTS, LetterGroup, group_letters, masked_text
from worker.dead_letters.letters import DeadLetter, Selection
from worker.dead_letters.replay import NotReplayed
from worker.dead_letters.replay_check import ReplayCheck, check_replay
from worker.errors import IngestError
from worker.settings.destination import Destination

from ..vendors.reasons import reason_text
from .audit_log import Entry
from .context import Context
from .endpoint import Asked, page, see
from .grouping import (
    MANY,
    MOST_CHECKED,
    MOST_LOOKED_AT,
    PER_PAGE,
    Cause,
    FirstOf,
    OfCause,
    cause_href,
    together,
)
from .overview import frame, missing
from .vendor_check import ask_vendor, askable

_MOST_KEPT_SHOWN = 50
_MOST_PARTS = 10


@dataclass(slots=True)
class Shown:
    """A cause's page: what it is, its records (a page of them), and what was done or found out."""

    destination: Destination
    cause: Cause
    group: LetterGroup
    parts: list[LetterGroup]
    letters: list[DeadLetter]
    number: int
    unseen: int
    said: ReplayCheck | None = None
    kept: list[NotReplayed] = field(default_factory=list)
    kept_more: int = 0
    failed: str = ""

    def keep(self, each: NotReplayed) -> None:
        """Note one that was not replayed; of many the first are shown, and the others counted."""
        if len(self.kept) < _MOST_KEPT_SHOWN:
            self.kept.append(each)
        else:
            self.kept_more += 1


class OneCause:
    """Shows a cause, and replays, checks or purges all of its records."""

    def __init__(self, reach: Context) -> None:
        self._reach = reach

    def show(self, asked: Asked) -> Response:
        """The cause and its records."""
        shown = self._look(asked, float("inf"))
        return missing(asked) if shown is None else self._page(asked, shown)

    def act(self, asked: Asked) -> Response:
        """Check, replay or purge all records of a cause that were there when the page was made."""
        shown = self._look(asked, _until(asked))
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

    def _ask(self, asked: Asked, shown: Shown, first: Selection) -> ReplayCheck | None:
        """The vendor's opinion; None when it has none, which the page then tells."""
        try:
            with ask_vendor(shown.destination) as ask:
                shown.said = said = check_replay(first, ask)
        except IngestError as error:
            shown.failed = masked_text(str(error))
            return None
        told = _entry(asked, shown, "checked with the vendor", said.passed + said.refused)
        self._reach.audit.note(told)
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
        count = shown.said.passed if shown.said else shown.group.count
        begun = self._reach.audit.begin(_entry(asked, shown, "replay", count))
        replays = self._reach.replays(shown.destination)
        replayed = replays.replay(selection, shown.keep, without=without)
        begun.end("replayed", replayed)
        if not shown.kept:
            return see(f"/dead-letters?done=replayed&n={replayed}")
        left = self._look(asked, shown.cause.until_ms) or shown
        return self._page(asked, replace(left, kept=shown.kept, kept_more=shown.kept_more))

    def _purge(self, asked: Asked, shown: Shown) -> Response:
        begun = self._reach.audit.begin(_entry(asked, shown, "purge", shown.group.count))
        purged = self._selection(shown).purge()
        begun.end("purged", purged)
        return see(f"/dead-letters?done=purged&n={purged}")

    def _selection(self, shown: Shown) -> Selection:
        return OfCause(self._reach.letters(shown.destination), shown.cause)

    def _look(self, asked: Asked, until_ms: float) -> Shown | None:
        buffer, kind = self._reach.buffer(asked.parts["name"]), asked.parts["kind"]
        if buffer is None or kind not in buffer.destination.kinds:
            return None
        cause = Cause(kind=kind, cause=asked.parts["cause"], until_ms=until_ms)
        every = OfCause(self._reach.letters(buffer.destination), cause)
        groups = group_letters(every)
        if not groups:
            return None
        group = together(groups)
        number = min(_page_number(asked.query.get("page", "1")), _pages(group))
        first = (number - 1) * PER_PAGE
        letters = list(islice(iter(every), first, first + PER_PAGE))
        parts = [each for each in groups if each.text != OTHER_TEXTS] if group.text == MANY else []
        return Shown(
            buffer.destination, cause, group, parts[:_MOST_PARTS], letters, number, every.unseen
        )

    def _page(self, asked: Asked, shown: Shown) -> Response:
        group = shown.group
        context: dict[str, Any] = {
            **frame(asked, "letters"),
            "each": shown,
            "group": group,
            "state": self._reach.state(shown.destination),
            "meaning": reason_text(group.reason),
            "field": shown.destination.account.field_of(group.code),
            "href": cause_href(group),
            "parts_of_it": [(part, cause_href(part)) for part in shown.parts],
            "until_ms": group.last_ms,
            "askable": askable(shown.destination),
            "pages": _pages(group),
            "unseen": shown.unseen,
            "looked_at": MOST_LOOKED_AT,
            "most_checked": MOST_CHECKED,
            "refused": sorted(shown.said.ids)[:_MOST_KEPT_SHOWN] if shown.said else [],
        }
        return page(200, "cause.html", **context)


def _entry(asked: Asked, shown: Shown, action: str, count: int) -> Entry:
    group = shown.group
    what = f"{group.kind}, {group.reason} {group.code or ''}".strip()
    return Entry(asked.user, action, group.destination, what, count)


def _pages(group: LetterGroup) -> int:
    return -(-group.count // PER_PAGE)


def _until(asked: Asked) -> float:
    """The last death that the page showed, as its form says: by Redis' clock, like all deaths."""
    told = asked.form.get("until", "")
    return int(told) if told.isdecimal() and len(told) < 16 else float("inf")


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1
