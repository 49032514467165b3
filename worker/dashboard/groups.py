"""All dead letters, grouped by reason."""

from __future__ import annotations

from starlette.responses import Response

from worker.vendors.reasons import reason_text

from .context import Context
from .endpoint import FormRequest, page
from .grouping import MAX_READ, find_groups, group_href
from .overview import frame, not_found
from .rendering import plural

_DONE = {
    "replayed": "replayed: re-enqueued at the end of the buffer.",
    "purged": "purged for good, and counted as purged.",
}


class GroupsPage:
    """The list of groups."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, request: FormRequest) -> Response:
        """Show the groups of one destination or of all, the largest first."""
        only = request.query.get("destination") or None
        buffers = self._context.buffers() if only is None else {only: self._context.buffer(only)}
        groups, unread = [], 0
        for buffer in buffers.values():
            if buffer is None:
                return not_found(request)
            found, more = find_groups(self._context.letters(buffer.destination))
            groups += found
            unread += more
        groups.sort(key=lambda group: -group.count)
        values = {
            **frame(request, "letters"),
            "groups": [(group, reason_text(group.reason), group_href(group)) for group in groups],
            "only": only,
            "unread": unread,
            "max_read": MAX_READ,
            "done": done(request),
        }
        return page(200, "groups.html", **values)


def done(request: FormRequest) -> str:
    """Return what was done before this page; no text of the address is repeated."""
    text, count = _DONE.get(request.query.get("done", "")), request.query.get("n", "")
    if text is None or not count.isdecimal() or len(count) > 12:
        return ""
    return f"{plural(int(count), 'dead letter')} {text}"
