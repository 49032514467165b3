"""The life of `ingest up`: start, sample, watch, and stop in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from redis.exceptions import RedisError

from worker.buffer.status import DestinationStatus
from worker.errors import BufferError
from worker.local.log_tail import LogTail
from worker.local.system import STOP_ORDER, LocalSystem
from worker.monitoring.overview import Overview
from worker.producer.producer import Producer
from worker.sandbox.sample_traffic import sample

from ..clients import bulk_client, operator_client
from ..console.signals import StopSignals
from ..exit_codes import Failure
from .live_status import LiveStatus
from .status_table import balance
from .wait import open_records

_POLL_S = 0.25
_SANDBOX_STARTS_WITHIN_S = 20.0
_MOST_LINES_PER_POLL = 5
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of the command. Times are in seconds; ``timeout_s`` bounds the draining."""

    sample: bool
    exit_when_drained: bool
    timeout_s: float | None
    sample_timeout_s: float
    sandbox_port: int
    flower_port: int
    web_port: int


class UpSession:
    """Runs a system and shows it."""

    def __init__(
        self,
        system: LocalSystem,
        options: UpOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.system = system
        self.options = options
        self.signals = StopSignals()
        self.status = LiveStatus(clock)
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._overview: Overview | None = None
        logs = system.folder / "log"
        self._tails = {name: LogTail(logs / f"{name}.log") for name in STOP_ORDER}

    def run(self) -> bool:
        """Run until a signal, or until drained if asked for; False if that failed."""
        with self.signals.caught():
            try:
                with self.status:
                    return self._watch(self._start())
            finally:
                self._stop()

    def _start(self) -> Overview:
        system, options = self.system, self.options
        system.prepare(options.sandbox_port, options.flower_port, options.web_port)
        client = operator_client(system.settings)
        client.ping()
        system.start_sandbox()
        self._await_sandbox()
        system.start()
        for line in self._introduction():
            self.status.say(line)
        self._overview = Overview.of(system.settings, client)
        if system.sandbox_url and options.sample and not self.signals.stop:
            self._send_sample()
        return self._overview

    def _await_sandbox(self) -> None:
        deadline = self._clock() + _SANDBOX_STARTS_WITHIN_S
        while not self.system.sandbox_answers() and not self.signals.stop:
            self._poll()
            if self._clock() > deadline:
                raise Failure("the sandbox did not start; see its log in ./var/log")
            self._sleep(_POLL_S / 5)

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
            self.status.say(f"The sample ends early: {error}", "yellow")
        finally:
            producer.close()
        self.status.say(f"Accepted {accepted:,} sample records.")

    def _watch(self, overview: Overview) -> bool:
        while not self.signals.stop:
            self._poll()
            statuses = self._statuses(overview)
            self.status.counts(statuses)
            if statuses and self.options.exit_when_drained:
                ended = self._ended(statuses)
                if ended is not None:
                    return ended
            self._sleep(_POLL_S)
        return not self.options.exit_when_drained

    def _poll(self) -> None:
        """Keep the system running, and show what happened and what its logs report."""
        for line in self.system.poll():
            self.status.say(line, "bold yellow")
        for name, tail in self._tails.items():
            lines = tail.new_problems()
            for line in lines[:_MOST_LINES_PER_POLL]:
                self.status.say(f"{name}: {line}", "yellow")
            if (more := len(lines) - _MOST_LINES_PER_POLL) > 0:
                self.status.say(f"{name}: {more} more in its log", "yellow")

    def _statuses(self, overview: Overview) -> dict[str, DestinationStatus]:
        try:
            return overview.statuses()
        except RedisError as error:
            self.status.say(f"Redis does not answer: {type(error).__name__}", "bold yellow")
            return {}

    def _ended(self, statuses: Mapping[str, DestinationStatus]) -> bool | None:
        """Return True if all is settled, False if it will not be, None while it is under way."""
        took_s, left = self._clock() - self._began, open_records(statuses)
        paused = [name for name, status in statuses.items() if status.state == "paused"]
        if not left:
            self.status.say(f"Settled {took_s:.0f} s after the start.", "bold green")
        elif paused or took_s >= self._timeout_s():
            why = f"while {', '.join(paused)} is paused" if paused else f"after {took_s:.0f} s"
            self.status.say(f"Not settled {why}: {left}", "bold red")
        else:
            return None
        for line in balance(statuses):
            self.status.say(line)
        return not left

    def _timeout_s(self) -> float:
        if self.options.timeout_s is not None:
            return self.options.timeout_s
        return self.options.sample_timeout_s if self.system.sandbox_url else float("inf")

    def _stop(self) -> None:
        """Stop everything; report what is left in Redis, and stop it last."""
        if self.system.supervisor.children:
            self.status.say("Stopping ...")
        for name in self.system.stop(lambda: self.signals.hurry):
            self.status.say(f"{name} had to be killed", "bold yellow")
        if self._overview and (left := open_records(self._statuses(self._overview))):
            self.status.say(f"Kept for the next start: {left}")
        self.system.stop_redis()
