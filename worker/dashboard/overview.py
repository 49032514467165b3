"""The first page, a destination's page, and their pause and resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.history import History, Sample
from worker.buffer.status import DestinationStatus, KindCounts

from . import charts
from .audit_log import Begun, Entry
from .charts import Chart
from .context import Context
from .endpoint import Asked, page, see

# A tick is a second; a drain that is silent for so long is worth a word.
_SILENT_S = 30.0
_SETTLEMENTS = 12
_MOST_REASON = 200
_CHANGED = (
    "It was paused anew after your page was made, perhaps for another reason. Look at it again."
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A destination's kinds, or all of them together."""

    name: str
    accepted: int
    delivered: int
    dead: int
    buffered: int
    in_flight: int
    retrying: int
    oldest_s: float
    purged: int
    ambiguous: int

    @property
    def waiting(self) -> int:
        """What is on its way, wherever."""
        return self.buffered + self.in_flight + self.retrying


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a destination; ``silent_s`` is above 0 when nobody drains it."""

    name: str
    status: DestinationStatus
    total: Numbers
    kinds: Sequence[Numbers]
    configured: bool
    enabled: bool
    silent_s: float
    flow: Chart
    flow_of_day: Chart
    waiting: Sequence[Chart]
    oldest: Sequence[Chart]


class Flow:
    """Reads one moment of every destination; steers one."""

    def __init__(self, reach: Context, refresh_s: float) -> None:
        self._reach = reach
        self._refresh_s = refresh_s

    def overview(self, asked: Asked) -> Response:
        """All destinations, with the last hour of each."""
        shown = [self._shown(name, buffer) for name, buffer in self._reach.buffers().items()]
        return page(200, "overview.html", destinations=shown, **self._frame(asked, "flow"))

    def destination(self, asked: Asked) -> Response:
        """One destination: its kinds, its last hour and day, the vendor's answers."""
        buffer = self._reach.buffer(asked.parts["name"])
        if buffer is None:
            return missing(asked)
        name = asked.parts["name"]
        context = {
            "each": self._shown(name, buffer),
            "settings": buffer.destination,
            "settlements": self._settlements(name),
        }
        return page(200, "destination.html", **context, **self._frame(asked, "flow"))

    def steer(self, asked: Asked) -> Response:
        """Pause or resume."""
        name = asked.parts["name"]
        buffer = self._reach.buffer(name)
        if buffer is None:
            return missing(asked)
        if asked.form.get("action") == "pause":
            self._pause(asked, buffer)
        elif asked.form.get("action") == "resume":
            since = str(buffer.status().since_ms)
            if asked.form.get("since", since) != since:
                return trouble(asked, 409, "Nothing was done", _CHANGED)
            self._resume(asked, buffer)
        return see("/" if asked.form.get("from") == "overview" else f"/destinations/{name}")

    def _pause(self, asked: Asked, buffer: Buffer) -> None:
        words = asked.form.get("reason", "").strip()[:_MOST_REASON]
        begun = self._begin(asked, "pause", words)
        changed = buffer.pause(words or f"paused by {asked.user} on the dashboard")
        begun.end("paused" if changed else "pressed pause, when it was paused already", 0)

    def _resume(self, asked: Asked, buffer: Buffer) -> None:
        begun = self._begin(asked, "resume")
        changed = buffer.resume()
        begun.end("resumed" if changed else "pressed resume, when it was running already", 0)

    def _begin(self, asked: Asked, action: str, reason: str = "") -> Begun:
        return self._reach.audit.begin(Entry(asked.user, action, asked.parts["name"], reason))

    def _shown(self, name: str, buffer: Buffer) -> Shown:
        history = History(self._reach.client, buffer.destination)
        history.sample()  # so that there is a history also while nobody drains
        now_s, status = self._reach.now(), buffer.status()
        samples = charts.with_now(history.read(), _sample(status, now_s), now_s % 60)
        minute = max(int(now_s // 60), samples[-1].minute if samples else 0)
        kinds = [_numbers(kind, [places]) for kind, places in status.kinds.items()]
        ticked_s = (status.last_tick_ms or 0) / 1000
        silent_s = now_s - ticked_s if now_s - ticked_s > _SILENT_S else 0.0
        return Shown(
            name=name,
            status=status,
            total=_numbers("all", list(status.kinds.values())),
            kinds=kinds,
            configured=bool(buffer.destination.vendor),
            enabled=buffer.destination.enabled,
            silent_s=silent_s if buffer.destination.enabled else 0.0,
            flow=charts.flow(samples, charts.HOUR, minute),
            flow_of_day=charts.flow(samples, charts.DAY, minute),
            waiting=[charts.waiting(samples, window, minute) for window in charts.BOTH],
            oldest=[charts.oldest(samples, window, minute) for window in charts.BOTH],
        )

    def _settlements(self, name: str) -> list[Mapping[str, Any]]:
        """The vendor's last answers, the newest first."""
        entries: Any = self._reach.client.xrevrange(keys.journal(name), count=_SETTLEMENTS)
        return [
            {
                "at_ms": int(entry.partition(b"-")[0]),
                **{
                    field: fields.get(field.encode(), b"").decode("utf-8", "replace")
                    for field in ("kind", "answer", "delivered", "dead", "retry")
                },
            }
            for entry, fields in entries
        ]

    def _frame(self, asked: Asked, where: str) -> dict[str, Any]:
        still = asked.query.get("refresh") == "0"
        refresh_s = 0 if still else self._refresh_s
        return {**frame(asked, where), "refresh_s": refresh_s, "still": still}


def frame(asked: Asked, where: str) -> dict[str, Any]:
    """What every page of somebody signed in needs; ``where`` marks the menu."""
    return {"user": asked.user, "token": asked.token, "where": where, "path": asked.path}


def missing(asked: Asked) -> Response:
    """There is no such thing, or no more."""
    text = "It is not here, or not any more: it may have been replayed or purged meanwhile."
    return trouble(asked, 404, "Not found", text)


def trouble(asked: Asked, status: int, title: str, text: str) -> Response:
    """A page that says what is wrong, to somebody signed in."""
    return page(status, "trouble.html", title=title, text=text, **frame(asked, ""))


def _sample(status: DestinationStatus, now_s: float) -> Sample:
    """What history would note at this moment."""
    total = _numbers("all", list(status.kinds.values()))
    died = sum(places.totals["dead_lettered"] for places in status.kinds.values())
    return Sample(
        minute=int(now_s // 60),
        accepted=total.accepted,
        delivered=total.delivered,
        dead_lettered=died,
        waiting=total.waiting,
        oldest_ms=int(total.oldest_s * 1000),
        dead=total.dead,
    )


def _numbers(name: str, several: Sequence[KindCounts]) -> Numbers:
    def total(field: str) -> int:
        return sum(places.totals[field] for places in several)

    return Numbers(
        name=name,
        accepted=total("accepted"),
        delivered=total("delivered"),
        dead=sum(places.dead for places in several),
        buffered=sum(places.buffered for places in several),
        in_flight=sum(places.in_flight for places in several),
        retrying=sum(places.retrying for places in several),
        oldest_s=max((places.oldest_wait_s for places in several), default=0.0),
        purged=total("purged"),
        ambiguous=total("ambiguous"),
    )
