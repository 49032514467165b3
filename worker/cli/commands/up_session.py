"""The life of `ingest up`: start, sample, watch, and stop in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Self

from redis.exceptions import RedisError
from rich.live import Live
from rich.text import Text

from worker.buffer.status import DestinationStatus
from worker.errors import BufferError
from worker.local.supervisor import LogTail
from worker.local.system import STOP_ORDER, LocalSystem
from worker.monitoring.overview import Overview
from worker.producer.producer import Producer
from worker.sandbox.sample_traffic import sample

from ..clients import bulk_client, operator_client
from ..console.terminal import StopSignals, terminal
from ..exit_codes import Failure
from .status_table import balance, counts_line, open_records, status_table

_POLL_S = 0.25
_SANDBOX_STARTS_WITHIN_S = 20.0
# Without a terminal the counts are a log: a line a second would bury the rest.
_LINE_EVERY_S = 2.0
_MOST_LINES_PER_POLL = 5
_CHUNK = 1000


class LiveStatus:
    """Lines that stay, and below them the counts: live on a terminal, else lines when they change.

    If the terminal was closed, the system has to be stopped all the same: errors are ignored.
    """

    def __init__(self) -> None:
        self._console = terminal()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last_line = ""
        self._last_at = float("-inf")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        with suppress(OSError):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def counts(self, statuses: Mapping[str, DestinationStatus]) -> None:
        if self._console.is_terminal:
            with suppress(OSError):
                self._live.update(status_table(statuses, self._console.width), refresh=True)
            return
        line, now = counts_line(statuses), time.monotonic()
        if line != self._last_line and now - self._last_at >= _LINE_EVERY_S:
            self.say(line)
            self._last_line, self._last_at = line, now


@dataclass
class UpSession:
    """Runs a system as the command's options say; ``timeout_s`` bounds the draining."""

    system: LocalSystem
    sample: bool
    exit_when_drained: bool
    timeout_s: float | None
    sample_timeout_s: float
    sandbox_port: int
    flower_port: int
    web_port: int

    def __post_init__(self) -> None:
        self._signals = StopSignals()
        self._status = LiveStatus()
        self._began = time.monotonic()
        self._overview: Overview | None = None
        logs = self.system.folder / "log"
        self._tails = {name: LogTail(logs / f"{name}.log") for name in STOP_ORDER}

    def run(self) -> bool:
        """Run until a signal, or until drained if asked for; False if that failed."""
        with self._signals.caught():
            try:
                with self._status:
                    return self._watch(self._start())
            finally:
                self._stop()

    def _start(self) -> Overview:
        system = self.system
        system.prepare(self.sandbox_port, self.flower_port, self.web_port)
        client = operator_client(system.settings)
        client.ping()
        system.start_sandbox()
        deadline = time.monotonic() + _SANDBOX_STARTS_WITHIN_S
        while not system.sandbox_answers() and not self._signals.stop:
            self._poll()
            if time.monotonic() > deadline:
                raise Failure("the sandbox did not start; see its log in ./var/log")
            time.sleep(_POLL_S / 5)
        system.start()
        for line in self._introduction():
            self._status.say(line)
        self._overview = Overview.of(system.settings, client)
        if system.sandbox_url and self.sample and not self._signals.stop:
            self._send_sample()
        return self._overview

    def _introduction(self) -> Iterator[str]:
        system = self.system
        where = f"private, data in {system.redis.folder}" if system.redis else "as configured"
        yield f"Redis    {where}"
        if system.sandbox_url:
            yield f"Sandbox  {system.sandbox_url}/  stands in for the vendors (no credentials set)"
        login = system.dashboard_login or "as configured"
        yield f"Gateway  {system.web_url}/  with the dashboard, login {login}"
        login = system.flower_login or "as configured"
        yield f"Flower   {system.flower_url}/  login {login}"
        yield f"Logs     {(system.folder / 'log').resolve()}"
        if system.shared_env:
            yield f"In another terminal: `. {system.shared_env}`, then `ingest status --watch`"
        yield "Ctrl-C stops everything; undelivered records are kept for the next start."

    def _send_sample(self) -> None:
        """Send traffic to look at; stop early if the buffer has no room for it."""
        producer = Producer(self.system.settings, bulk_client(self.system.settings))
        records, accepted = sample(), 0
        try:
            while chunk := list(islice(records, _CHUNK)):
                accepted += producer.send_many(chunk).accepted
        except BufferError as error:
            accepted += len(error.accepted)
            self._status.say(f"The sample ends early: {error}", "yellow")
        finally:
            producer.close()
        self._status.say(f"Accepted {accepted:,} sample records.")

    def _watch(self, overview: Overview) -> bool:
        while not self._signals.stop:
            self._poll()
            if statuses := self._statuses(overview):
                self._status.counts(statuses)
                if self.exit_when_drained and (ended := self._ended(statuses)) is not None:
                    return ended
            time.sleep(_POLL_S)
        return not self.exit_when_drained

    def _poll(self) -> None:
        """Keep the system running, and show what happened and what its logs report."""
        for line in self.system.poll():
            self._status.say(line, "bold yellow")
        for name, tail in self._tails.items():
            lines = tail.new_problems()
            for line in lines[:_MOST_LINES_PER_POLL]:
                self._status.say(f"{name}: {line}", "yellow")
            if (more := len(lines) - _MOST_LINES_PER_POLL) > 0:
                self._status.say(f"{name}: {more} more in its log", "yellow")

    def _statuses(self, overview: Overview) -> dict[str, DestinationStatus]:
        try:
            return overview.statuses()
        except RedisError as error:
            self._status.say(f"Redis does not answer: {type(error).__name__}", "bold yellow")
            return {}

    def _ended(self, statuses: Mapping[str, DestinationStatus]) -> bool | None:
        """Return True if all is settled, False if it will not be, None while it is under way."""
        timeout_s = self.timeout_s
        if timeout_s is None:
            timeout_s = self.sample_timeout_s if self.system.sandbox_url else float("inf")
        took_s, left = time.monotonic() - self._began, open_records(statuses)
        paused = [name for name, status in statuses.items() if status.state == "paused"]
        if not left:
            self._status.say(f"Settled {took_s:.0f} s after the start.", "bold green")
        elif paused or took_s >= timeout_s:
            why = f"while {', '.join(paused)} is paused" if paused else f"after {took_s:.0f} s"
            self._status.say(f"Not settled {why}: {left}", "bold red")
        else:
            return None
        for line in balance(statuses):
            self._status.say(line)
        return not left

    def _stop(self) -> None:
        """Stop everything; report what is left in Redis, and stop it last."""
        if self.system.supervisor.children:
            self._status.say("Stopping ...")
        for name in self.system.stop(lambda: self._signals.hurry):
            self._status.say(f"{name} had to be killed", "bold yellow")
        if self._overview and (left := open_records(self._statuses(self._overview))):
            self._status.say(f"Kept for the next start: {left}")
        self.system.stop_redis()
