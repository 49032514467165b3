"""Dead letters by reason: the list of groups, and the page of one, to replay or purge all of it."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, islice

from starlette.responses import Response

from worker.dead_letters.groups import OTHER_TEXTS, group_letters, masked_text
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import NotReplayed, Replayer
from worker.dead_letters.replay_check import ReplayCheck, check_replay
from worker.errors import IngestError

from .audit_log import AuditEntry
from .context import Context, vendor_check
from .endpoint import FormRequest, NotFound, redirect, user_page
from .grouping import (
    MANY_TEXTS,
    MAX_CHECKED,
    MAX_READ,
    PER_PAGE,
    GroupFilter,
    find_groups,
    first_letters,
    merge_groups,
    select_group,
)
from .rendering import plural

_MAX_LISTED = 50
_MAX_PARTS = 10
_DONE = {
    "replayed": "replayed: re-enqueued at the end of the buffer.",
    "purged": "purged for good, and counted as purged.",
}


def show_groups(context: Context, request: FormRequest) -> Response:
    """Show the groups of one destination or of all, the largest first."""
    only = request.query.get("destination") or None
    buffers = context.buffers().values() if only is None else [context.buffer(only)]
    found = [find_groups(DeadLetters(context.client, each.destination)) for each in buffers]
    groups = sorted(chain(*(each for each, _ in found)), key=lambda group: -group.count)
    unread = sum(each for _, each in found)
    values = {"groups": groups, "only": only, "max_read": MAX_READ, "done": done(request)}
    return user_page(request, "groups.html", "letters", {**values, "unread": unread})


def done(request: FormRequest) -> str:
    """Return what was done before this page; no text of the address is repeated."""
    text, count = _DONE.get(request.query.get("done", "")), request.query.get("n", "")
    if text is None or not count.isdecimal() or len(count) > 12:
        return ""
    return f"{plural(int(count), 'dead letter')} {text}"


class GroupPage:
    """A group, one page of its records, and the outcome of an action on all of them.

    NotFound if it has no records, or no longer has any.
    """

    def __init__(self, context: Context, request: FormRequest) -> None:
        self._context = context
        self._request = request
        self._buffer = context.buffer(request.params["name"])
        self.destination = self._buffer.destination
        self.check: ReplayCheck | None = None
        self.not_replayed: list[NotReplayed] = []
        self.more_not_replayed = 0
        self.failure = ""
        self._read()

    def _read(self) -> None:
        request, kind = self._request, self._request.params["kind"]
        if kind not in self.destination.kinds:
            raise NotFound
        # By Redis' clock, as all failures are; without it, all that are there.
        until_ms = _whole(request.form.get("until", ""), 15, 10**15)
        where = GroupFilter(kind=kind, group=request.params["group"], until_ms=until_ms)
        letters = DeadLetters(self._context.client, self.destination)
        selection, unread = select_group(letters, where)
        parts = group_letters(selection)
        if not parts:
            raise NotFound
        self.group, self.unread, self._selection = merge_groups(parts), unread, selection
        many = self.group.text == MANY_TEXTS
        self.parts = [part for part in parts if many and part.text != OTHER_TEXTS][:_MAX_PARTS]
        self.pages = -(-self.group.count // PER_PAGE)
        self.page = min(max(1, _whole(request.query.get("page", ""), 6, 1)), self.pages)
        start = (self.page - 1) * PER_PAGE
        self.letters = list(islice(selection, start, start + PER_PAGE))

    def show(self) -> Response:
        """Show the group and its records."""
        refused = sorted(self.check.ids)[:_MAX_LISTED] if self.check else []
        values = {"view": self, "state": self._buffer.status().state, "refused": refused}
        limits = {"max_read": MAX_READ, "max_checked": MAX_CHECKED}
        return user_page(self._request, "group.html", "letters", {**values, **limits})

    def act(self) -> Response:
        """Do what the button says to all records that the page counted."""
        actions = {
            "check": self._check,
            "replay": self._replay,
            "replay_passing": self._replay_passing,
            "purge": self._purge,
        }
        return actions.get(self._request.form.get("action", ""), self.show)()

    def _check(self) -> Response:
        self._ask_vendor()
        return self.show()

    def _replay_passing(self) -> Response:
        """Check again, because the page's answer may be old, and replay what passes now."""
        self._ask_vendor()
        return self._replay() if self.check else self.show()

    def _ask_vendor(self) -> None:
        """Set the result of a dry run, or why it failed."""
        try:
            with vendor_check(self.destination) as dry_run:
                check = check_replay(first_letters(self._selection, MAX_CHECKED), dry_run)
        except IngestError as error:
            self.failure = masked_text(str(error))
        else:
            entry = self._audit_entry("checked with the vendor", check.passed + check.refused)
            self._context.audit.append(entry)
            self.check = check

    def _replay(self) -> Response:
        """Replay all, or what passed the check."""
        if not self.destination.vendor:
            self.failure = "This destination is not configured, so they would not be delivered."
            return self.show()
        selection, count, check = self._selection, self.group.count, self.check or ReplayCheck()
        if self.check:
            selection, count = first_letters(selection, MAX_CHECKED), check.passed
        replayer = Replayer(self._context.client, self.destination)
        replayed = self._context.audit.run(
            self._audit_entry("replay", count),
            lambda: ("replayed", replayer.replay(selection, self._report, without=check.ids)),
        )
        if not self.not_replayed:
            return redirect(f"/dead-letters?done=replayed&n={replayed}")
        self.check = None
        with suppress(NotFound):
            self._read()
        return self.show()

    def _report(self, letter: NotReplayed) -> None:
        """Note what was not replayed; beyond the first ones they are only counted."""
        if len(self.not_replayed) < _MAX_LISTED:
            self.not_replayed.append(letter)
        else:
            self.more_not_replayed += 1

    def _purge(self) -> Response:
        entry = self._audit_entry("purge", self.group.count)
        purged = self._context.audit.run(entry, lambda: ("purged", self._selection.purge()))
        return redirect(f"/dead-letters?done=purged&n={purged}")

    def _audit_entry(self, action: str, count: int) -> AuditEntry:
        group = self.group
        what = f"{group.kind}, {group.reason} {group.code or ''}".strip()
        return AuditEntry(self._request.user, action, group.destination, what, count)


def _whole(text: str, most_digits: int, otherwise: int) -> int:
    return int(text) if text.isdecimal() and len(text) <= most_digits else otherwise
