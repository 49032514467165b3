"""The overview, the page of each destination, and pause and resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from starlette.responses import Response

from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.history import History
from worker.buffer.status import TOTALS, KindCounts

from . import charts
from .audit_log import AuditEntry
from .context import Context
from .endpoint import FormRequest, error_page, redirect, user_page

_REQUESTS_LISTED = 12
_COLUMNS = ("kind", "answer", "delivered", "dead", "retry")
_MAX_REASON = 200
_PAUSED_AGAIN = (
    "It was paused again after your page was loaded, perhaps for another reason. Check the reason, "
    "then resume."
)
_OUTCOMES = {
    "pause": ("paused", "pressed pause, but it was already paused"),
    "resume": ("resumed", "pressed resume, but it was already running"),
}


class OverviewPages:
    """Reads the status of every destination at one moment; pauses and resumes them."""

    def __init__(self, context: Context, refresh_s: float) -> None:
        self._context = context
        self._refresh_s = refresh_s

    def show_all(self, request: FormRequest) -> Response:
        """Show all destinations, with the last hour of each."""
        views = [self._view(buffer) for buffer in self._context.buffers().values()]
        return self._page(request, "overview.html", destinations=views)

    def show(self, request: FormRequest) -> Response:
        """Show one destination: its kinds, last hour and day, and the vendor's responses."""
        name = request.params["name"]
        view = self._view(self._context.buffer(name))
        requests = self._latest_requests(name)
        return self._page(request, "destination.html", view=view, requests=requests)

    def act(self, request: FormRequest) -> Response:
        """Pause or resume."""
        name = request.params["name"]
        buffer = self._context.buffer(name)
        if request.form.get("action") == "pause":
            reason = request.form.get("reason", "").strip()[:_MAX_REASON]
            shown = reason or f"paused by {request.user} on the dashboard"
            self._run(AuditEntry(request.user, "pause", name, reason), lambda: buffer.pause(shown))
        elif request.form.get("action") == "resume":
            since = str(buffer.status().since_ms)
            if request.form.get("since", since) != since:
                return error_page(request, 409, "Nothing was done", _PAUSED_AGAIN)
            self._run(AuditEntry(request.user, "resume", name), buffer.resume)
        return redirect("/" if request.form.get("from") == "overview" else f"/destinations/{name}")

    def _run(self, entry: AuditEntry, change: Callable[[], bool]) -> None:
        done, undone = _OUTCOMES[entry.action]
        self._context.audit.run(entry, lambda: (done if change() else undone, 0))

    def _view(self, buffer: Buffer) -> Mapping[str, Any]:
        """Return what is shown of a destination; ``silent_s`` is above 0 when no drain runs.

        ``last_answer`` is the vendor's last status or failure, read only during a back-off.
        """
        destination, history = buffer.destination, History(self._context.client, buffer.destination)
        history.sample()  # so that there is a history even while no drain runs
        now_s, status = time.time(), buffer.status()
        total = total_counts(status.kinds.values())
        samples = charts.with_now(history.read(), total, now_s)
        minute = max(int(now_s // 60), samples[-1].minute if samples else 0)
        requests = self._latest_requests(destination.name) if status.retry_in_s else []
        return {
            "destination": destination,
            "status": status,
            "total": total,
            "last_answer": next((each["answer"] for each in requests if each["answer"]), ""),
            "silent_s": status.silent_s(int(now_s * 1000)) if destination.enabled else 0.0,
            "charts": [
                chart(samples, window, minute)
                for chart in (charts.flow, charts.waiting, charts.oldest)
                for window in (charts.HOUR, charts.DAY)
            ],
        }

    def _latest_requests(self, name: str) -> list[Mapping[str, Any]]:
        entries: Any = self._context.client.xrevrange(keys.journal(name), count=_REQUESTS_LISTED)
        return [
            {name: fields.get(name.encode(), b"").decode("utf-8", "replace") for name in _COLUMNS}
            | {"at_ms": int(entry_id.partition(b"-")[0])}
            for entry_id, fields in entries
        ]

    def _page(self, request: FormRequest, template: str, **values: Any) -> Response:
        paused = request.query.get("refresh") == "0"
        values |= {"refresh_s": 0 if paused else self._refresh_s, "refresh_paused": paused}
        return user_page(request, template, "overview", values)


def total_counts(kinds: Iterable[KindCounts]) -> KindCounts:
    """Return the counts of all kinds together."""
    kinds = list(kinds)
    places = ("buffered", "in_flight", "retrying", "dead")
    return KindCounts(
        **{name: sum(getattr(each, name) for each in kinds) for name in places},
        oldest_wait_s=max((each.oldest_wait_s for each in kinds), default=0.0),
        totals={name: sum(each.totals[name] for each in kinds) for name in TOTALS},
    )
