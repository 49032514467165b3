"""The dead letters of one group: shown, checked with the vendor, replayed or purged."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice

from starlette.responses import Response

from worker.dead_letters.groups import OTHER_TEXTS, LetterGroup, group_letters, masked_text
from worker.dead_letters.letters import DeadLetter, Selection
from worker.dead_letters.replay import NotReplayed
from worker.dead_letters.replay_check import ReplayCheck, check_replay
from worker.errors import IngestError
from worker.settings.destination import Destination
from worker.vendors.reasons import reason_text

from .audit_log import AuditEntry
from .context import Context
from .endpoint import FormRequest, page, redirect
from .grouping import (
    MANY_TEXTS,
    MAX_CHECKED,
    MAX_READ,
    PER_PAGE,
    GroupFilter,
    first_letters,
    group_href,
    merge_groups,
    select_group,
)
from .overview import frame, not_found
from .vendor_check import vendor_check

_MAX_LISTED = 50
_MAX_PARTS = 10


@dataclass(slots=True)
class GroupView:
    """A group's page: the group, one page of its records, and the outcome of an action."""

    destination: Destination
    where: GroupFilter
    selection: Selection
    group: LetterGroup
    parts: list[LetterGroup]
    letters: list[DeadLetter]
    page: int
    unread: int
    check: ReplayCheck | None = None
    not_replayed: list[NotReplayed] = field(default_factory=list)
    more_not_replayed: int = 0
    failure: str = ""

    def add_not_replayed(self, letter: NotReplayed) -> None:
        """Add one that was not replayed; beyond the first ones they are only counted."""
        if len(self.not_replayed) < _MAX_LISTED:
            self.not_replayed.append(letter)
        else:
            self.more_not_replayed += 1


class GroupPage:
    """Shows a group, and checks, replays or purges all of its records."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, request: FormRequest) -> Response:
        """Show the group and its records."""
        view = self._find(request, float("inf"))
        return not_found(request) if view is None else self._page(request, view)

    def act(self, request: FormRequest) -> Response:
        """Do what the button says to all records that the page counted."""
        view = self._find(request, _until_ms(request))
        if view is None:
            return not_found(request)
        actions = {
            "check": self._check,
            "replay": self._replay_all,
            "replay_passing": self._replay_passing,
            "purge": self._purge,
        }
        return actions.get(request.form.get("action", ""), self._page)(request, view)

    def _check(self, request: FormRequest, view: GroupView) -> Response:
        self._ask_vendor(request, view, first_letters(view.selection, MAX_CHECKED))
        return self._page(request, view)

    def _replay_passing(self, request: FormRequest, view: GroupView) -> Response:
        """Check again, because the page's answer may be old, and replay what passes now."""
        first = first_letters(view.selection, MAX_CHECKED)
        check = self._ask_vendor(request, view, first)
        return self._replay(request, view, first, check.ids) if check else self._page(request, view)

    def _ask_vendor(
        self, request: FormRequest, view: GroupView, first: Selection
    ) -> ReplayCheck | None:
        """Return the result of a dry run; None if it failed, which the page then shows."""
        try:
            with vendor_check(view.destination) as dry_run:
                view.check = check = check_replay(first, dry_run)
        except IngestError as error:
            view.failure = masked_text(str(error))
            return None
        count = check.passed + check.refused
        self._context.audit.append(_audit_entry(request, view, "checked with the vendor", count))
        return check

    def _replay_all(self, request: FormRequest, view: GroupView) -> Response:
        return self._replay(request, view, view.selection, frozenset())

    def _replay(
        self, request: FormRequest, view: GroupView, selection: Selection, without: AbstractSet[str]
    ) -> Response:
        if not view.destination.vendor:
            view.failure = "This destination is not configured, so they would not be delivered."
            return self._page(request, view)
        count = view.check.passed if view.check else view.group.count
        replayer = self._context.replayer(view.destination)

        def replay() -> tuple[str, int]:
            return "replayed", replayer.replay(selection, view.add_not_replayed, without=without)

        entry = _audit_entry(request, view, "replay", count)
        replayed = self._context.audit.run(entry, replay)
        if not view.not_replayed:
            return redirect(f"/dead-letters?done=replayed&n={replayed}")
        left = self._find(request, view.where.until_ms) or view
        kept, more = view.not_replayed, view.more_not_replayed
        return self._page(request, replace(left, not_replayed=kept, more_not_replayed=more))

    def _purge(self, request: FormRequest, view: GroupView) -> Response:
        entry = _audit_entry(request, view, "purge", view.group.count)
        purged = self._context.audit.run(entry, lambda: ("purged", view.selection.purge()))
        return redirect(f"/dead-letters?done=purged&n={purged}")

    def _find(self, request: FormRequest, until_ms: float) -> GroupView | None:
        buffer, kind = self._context.buffer(request.params["name"]), request.params["kind"]
        if buffer is None or kind not in buffer.destination.kinds:
            return None
        where = GroupFilter(kind=kind, group=request.params["group"], until_ms=until_ms)
        selection, unread = select_group(self._context.letters(buffer.destination), where)
        parts = group_letters(selection)
        if not parts:
            return None
        group = merge_groups(parts)
        number = min(_page_number(request.query.get("page", "1")), _page_count(group))
        start = (number - 1) * PER_PAGE
        letters = list(islice(iter(selection), start, start + PER_PAGE))
        parts = [part for part in parts if group.text == MANY_TEXTS and part.text != OTHER_TEXTS]
        return GroupView(
            destination=buffer.destination,
            where=where,
            selection=selection,
            group=group,
            parts=parts[:_MAX_PARTS],
            letters=letters,
            page=number,
            unread=unread,
        )

    def _page(self, request: FormRequest, view: GroupView) -> Response:
        group = view.group
        values = {
            **frame(request, "letters"),
            "view": view,
            "group": group,
            "state": self._context.state(view.destination),
            "reason": reason_text(group.reason),
            "field": view.destination.account.field_of(group.code),
            "href": group_href(group),
            "parts": [(part, group_href(part)) for part in view.parts],
            "until_ms": group.last_ms,
            "pages": _page_count(group),
            "max_read": MAX_READ,
            "max_checked": MAX_CHECKED,
            "refused": sorted(view.check.ids)[:_MAX_LISTED] if view.check else [],
        }
        return page(200, "group.html", **values)


def _audit_entry(request: FormRequest, view: GroupView, action: str, count: int) -> AuditEntry:
    group = view.group
    what = f"{group.kind}, {group.reason} {group.code or ''}".strip()
    return AuditEntry(request.user, action, group.destination, what, count)


def _page_count(group: LetterGroup) -> int:
    return -(-group.count // PER_PAGE)


def _until_ms(request: FormRequest) -> float:
    """Return when the last record on the page failed: by Redis' clock, as all failures are."""
    text = request.form.get("until", "")
    return int(text) if text.isdecimal() and len(text) < 16 else float("inf")


def _page_number(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() and len(text) < 7 else 1
