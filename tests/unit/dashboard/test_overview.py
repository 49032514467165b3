"""The numbers of the overview, and the notes on a destination's state."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from support.pages import facts, text_of
from worker.buffer.status import TOTALS, DestinationStatus, KindCounts
from worker.dashboard import charts
from worker.dashboard.overview import total_counts
from worker.dashboard.rendering import render
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind, VendorAccount

NOTHING = KindCounts(0, 0, 0, 0, 0.0, dict.fromkeys(TOTALS, 0))
EVENTS = KindCounts(
    buffered=3,
    in_flight=2,
    retrying=1,
    dead=4,
    oldest_wait_s=7.5,
    totals={**NOTHING.totals, "accepted": 20, "delivered": 10, "dead_lettered": 5},
)
PROFILES = replace(EVENTS, oldest_wait_s=90.0, totals={**EVENTS.totals, "purged": 2})
RUNNING = DestinationStatus(
    state="running",
    reason=None,
    since_ms=None,
    concurrency=5,
    in_use=1,
    kinds={"event": EVENTS, "profile": PROFILES},
    codes={},
    answers={},
    last_tick_ms=1,
)
CLEVERTAP = Destination(
    name="clevertap",
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(100)},
    enabled=True,
)
DISABLED = replace(CLEVERTAP, enabled=False)
UNCONFIGURED = replace(DISABLED, account=VendorAccount())


def overview_of(status: DestinationStatus = RUNNING, **changed: Any) -> str:
    """Return the overview of one destination."""
    view = {
        "destination": CLEVERTAP,
        "status": status,
        "total": total_counts(status.kinds.values()),
        "silent_s": 0.0,
        "last_answer": "",
        "charts": [charts.flow([], charts.HOUR, 0)],
        **changed,
    }
    return render(
        "overview.html",
        destinations=[view],
        user="eva",
        token="",
        menu="overview",
        refresh_s=10,
        refresh_paused=False,
    )


def test_total_counts_are_the_sums_and_the_longest_wait() -> None:
    """Of all kinds; of none, everything is 0."""
    total = total_counts([EVENTS, PROFILES])
    assert (total.buffered, total.in_flight, total.retrying, total.dead) == (6, 4, 2, 8)
    assert (total.open, total.oldest_wait_s) == (12, 90.0)
    assert (total.totals["accepted"], total.totals["purged"]) == (40, 2)
    assert total_counts([]) == NOTHING


def test_overview_shows_the_counts_of_a_destination() -> None:
    """What is in flight counts as waiting."""
    page = overview_of()
    assert facts(page) == {
        "Accepted": "40",
        "Delivered": "20",
        "Waiting": "12 oldest 2 min",
        "Dead": "8",
    }
    assert "In flight: 1 of 5 requests" in text_of(page)
    assert "8 dead letters" in text_of(page)
    assert "Refreshes every 10 s. Pause" in text_of(page)


@pytest.mark.parametrize(
    ("status", "changed", "note"),
    [
        (replace(RUNNING, retry_in_s=22), {"last_answer": "503"}, "Retrying in 22 s : the vendor"),
        (replace(RUNNING, retry_in_s=22), {"last_answer": "503"}, "the vendor answers 503."),
        (replace(RUNNING, retry_in_s=22), {}, "the vendor failed or asked to wait."),
        (replace(RUNNING, memory_full=True), {}, "Redis is full. Producers are refused"),
        (RUNNING, {"silent_s": 65.0}, "The last drain ran 1 min ago"),
        (replace(RUNNING, last_tick_ms=None), {"silent_s": math.inf}, "No drain has run yet"),
        (RUNNING, {"destination": UNCONFIGURED}, "Not configured here."),
        (RUNNING, {"destination": DISABLED}, "Not enabled here."),
        (replace(RUNNING, state="paused", reason="maintenance"), {}, "Paused. maintenance"),
        (replace(RUNNING, state="paused"), {}, "Paused. No reason was given."),
        (replace(RUNNING, state="parked", reason="HTTP 401"), {}, "Parked. HTTP 401 The vendor"),
    ],
)
def test_overview_explains_the_state_of_a_destination(
    status: DestinationStatus, changed: dict[str, Any], note: str
) -> None:
    """Operators see why nothing is delivered, and what to do."""
    assert note in text_of(overview_of(status, **changed))
    assert note not in text_of(overview_of())


@pytest.mark.parametrize(
    ("status", "destination", "badge"),
    [
        (RUNNING, CLEVERTAP, "running"),
        (RUNNING, DISABLED, "off"),
        (replace(RUNNING, state="paused"), DISABLED, "paused"),
    ],
)
def test_overview_badge_shows_the_state(
    status: DestinationStatus, destination: Destination, badge: str
) -> None:
    """A destination without credentials is off, unless it was paused."""
    assert f"clevertap {badge} " in text_of(overview_of(status, destination=destination))


@pytest.mark.parametrize(
    ("last_tick_ms", "silent_s"), [(None, math.inf), (70_000, 0.0), (69_999, 30.001), (0, 100.0)]
)
def test_silent_s_is_0_within_30_seconds_of_a_drain(
    last_tick_ms: int | None, silent_s: float
) -> None:
    """Later it is the time since then."""
    assert replace(RUNNING, last_tick_ms=last_tick_ms).silent_s(100_000) == silent_s
