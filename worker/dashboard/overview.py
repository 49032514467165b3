"""The overview, the page of each destination, and pause and resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.history import History, Sample
from worker.buffer.status import TOTALS, DestinationStatus, KindCounts

from . import charts
from .audit_log import AuditEntry
from .charts import Chart
from .context import Context
from .endpoint import FormRequest, page, redirect

_REQUESTS_LISTED = 12
_MAX_REASON = 200
_PAUSED_AGAIN = (
    "It was paused again after your page was loaded, perhaps for another reason. Check the reason, "
    "then resume."
)
_GONE = "It does not exist, or not any more: it may have been replayed or purged meanwhile."


@dataclass(frozen=True, slots=True)
class DestinationView:
    """What is shown of a destination; ``silent_s`` is above 0 when no drain runs.

    ``last_answer`` is the vendor's last status or failure, read only during a back-off.
    """

    name: str
    status: DestinationStatus
    total: KindCounts
    configured: bool
    enabled: bool
    silent_s: float
    last_answer: str
    flow: Chart
    flow_of_day: Chart
    waiting: Sequence[Chart]
    oldest: Sequence[Chart]


class OverviewPages:
    """Reads the status of every destination at one moment; pauses and resumes them."""

    def __init__(self, context: Context, refresh_s: float) -> None:
        self._context = context
        self._refresh_s = refresh_s

    def show_all(self, request: FormRequest) -> Response:
        """Show all destinations, with the last hour of each."""
        views = [self._view(name, buffer) for name, buffer in self._context.buffers().items()]
        return page(200, "overview.html", destinations=views, **self._frame(request))

    def show(self, request: FormRequest) -> Response:
        """Show one destination: its kinds, last hour and day, and the vendor's responses."""
        name = request.params["name"]
        buffer = self._context.buffer(name)
        if buffer is None:
            return not_found(request)
        values = {
            "view": self._view(name, buffer),
            "settings": buffer.destination,
            "requests": self._latest_requests(name),
        }
        return page(200, "destination.html", **values, **self._frame(request))

    def act(self, request: FormRequest) -> Response:
        """Pause or resume."""
        name = request.params["name"]
        buffer = self._context.buffer(name)
        if buffer is None:
            return not_found(request)
        if request.form.get("action") == "pause":
            self._pause(request, buffer)
        elif request.form.get("action") == "resume":
            since = str(buffer.status().since_ms)
            if request.form.get("since", since) != since:
                return error_page(request, 409, "Nothing was done", _PAUSED_AGAIN)
            self._resume(request, buffer)
        return redirect("/" if request.form.get("from") == "overview" else f"/destinations/{name}")

    def _pause(self, request: FormRequest, buffer: Buffer) -> None:
        reason = request.form.get("reason", "").strip()[:_MAX_REASON]

        def pause() -> tuple[str, int]:
            changed = buffer.pause(reason or f"paused by {request.user} on the dashboard")
            return "paused" if changed else "pressed pause, but it was already paused", 0

        entry = AuditEntry(request.user, "pause", buffer.destination.name, reason)
        self._context.audit.run(entry, pause)

    def _resume(self, request: FormRequest, buffer: Buffer) -> None:
        def resume() -> tuple[str, int]:
            changed = buffer.resume()
            return "resumed" if changed else "pressed resume, but it was already running", 0

        entry = AuditEntry(request.user, "resume", buffer.destination.name)
        self._context.audit.run(entry, resume)

    def _view(self, name: str, buffer: Buffer) -> DestinationView:
        history = History(self._context.client, buffer.destination)
        history.sample()  # so that there is a history even while no drain runs
        now_s, status = self._context.now(), buffer.status()
        total = total_counts(status.kinds.values())
        samples = charts.with_now(history.read(), as_sample(total, now_s), now_s % 60)
        minute = max(int(now_s // 60), samples[-1].minute if samples else 0)
        enabled = buffer.destination.enabled
        return DestinationView(
            name=name,
            status=status,
            total=total,
            configured=bool(buffer.destination.vendor),
            enabled=enabled,
            last_answer=self._last_answer(name) if status.retry_in_s else "",
            silent_s=status.silent_s(int(now_s * 1000)) if enabled else 0.0,
            flow=charts.flow(samples, charts.HOUR, minute),
            flow_of_day=charts.flow(samples, charts.DAY, minute),
            waiting=[charts.waiting(samples, window, minute) for window in charts.WINDOWS],
            oldest=[charts.oldest(samples, window, minute) for window in charts.WINDOWS],
        )

    def _last_answer(self, name: str) -> str:
        answers = (str(each["answer"]) for each in self._latest_requests(name))
        return next(filter(None, answers), "")

    def _latest_requests(self, name: str) -> list[Mapping[str, Any]]:
        entries: Any = self._context.client.xrevrange(keys.journal(name), count=_REQUESTS_LISTED)
        return [
            {
                "at_ms": int(entry_id.partition(b"-")[0]),
                **{
                    field: fields.get(field.encode(), b"").decode("utf-8", "replace")
                    for field in ("kind", "answer", "delivered", "dead", "retry")
                },
            }
            for entry_id, fields in entries
        ]

    def _frame(self, request: FormRequest) -> dict[str, Any]:
        paused = request.query.get("refresh") == "0"
        refresh_s = 0 if paused else self._refresh_s
        return {**frame(request, "overview"), "refresh_s": refresh_s, "refresh_paused": paused}


def frame(request: FormRequest, menu: str) -> dict[str, Any]:
    """Return what every page of a signed-in user needs; ``menu`` is the current menu item."""
    return {"user": request.user, "token": request.token, "menu": menu, "path": request.path}


def not_found(request: FormRequest) -> Response:
    """Show that there is no such page, destination or record."""
    return error_page(request, 404, "Not found", _GONE)


def error_page(request: FormRequest, status: int, title: str, text: str) -> Response:
    """Show an error to a signed-in user."""
    return page(status, "error.html", title=title, text=text, **frame(request, ""))


def total_counts(kinds: Iterable[KindCounts]) -> KindCounts:
    """Return the counts of all kinds together."""
    kinds = list(kinds)
    return KindCounts(
        buffered=sum(each.buffered for each in kinds),
        in_flight=sum(each.in_flight for each in kinds),
        retrying=sum(each.retrying for each in kinds),
        dead=sum(each.dead for each in kinds),
        oldest_wait_s=max((each.oldest_wait_s for each in kinds), default=0.0),
        totals={name: sum(each.totals[name] for each in kinds) for name in TOTALS},
    )


def as_sample(total: KindCounts, now_s: float) -> Sample:
    """Return the sample that the history would store at this moment."""
    return Sample(
        minute=int(now_s // 60),
        accepted=total.totals["accepted"],
        delivered=total.totals["delivered"],
        dead_lettered=total.totals["dead_lettered"],
        waiting=total.open,
        oldest_ms=int(total.oldest_wait_s * 1000),
        dead=total.dead,
    )
