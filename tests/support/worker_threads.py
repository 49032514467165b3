"""Threads that do what a worker's do: deliver what a drain's tick and its deliveries ask for."""

from __future__ import annotations

import queue
import threading
from types import TracebackType
from typing import Self

from support.pipeline import Pipeline
from worker.buffer.claims import Claim
from worker.delivery.drain import Dispatch, Drain
from worker.settings.destination import Destination

TICK_S = 0.5


class WorkerThreads:
    """Delivers for one pipeline in a `with` block; an error on a thread fails the test."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.errors: list[BaseException] = []
        self._asked: queue.SimpleQueue[Claim | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._drain = Drain(
            pipeline.destination, pipeline.buffer, Dispatch(deliver=self._ask, probe=lambda _: None)
        )
        pipeline.deliverer.on_more_capacity = self._drain.dispatch_ready
        pipeline.deliverer.stopping = self._stopped.is_set
        size = pipeline.destination.concurrency_limit + 1
        self._threads = [threading.Thread(target=self._deliver) for _ in range(size)]
        self._threads.append(threading.Thread(target=self._tick))

    def _ask(self, _: Destination, claim: Claim) -> None:
        self._asked.put(claim)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join(60)
        if error is None:
            assert not self.errors, self.errors

    def _deliver(self) -> None:
        while (claim := self._asked.get()) is not None:
            try:
                self.pipeline.deliverer.run(claim.batch, claim.token, is_over=lambda: False)
                if not self._stopped.is_set():
                    self._drain.dispatch_ready()
            except Exception as error:  # noqa: BLE001 - raised at the end
                self.errors.append(error)

    def _tick(self) -> None:
        while not self._stopped.wait(TICK_S):
            try:
                self._drain.tick()
            except Exception as error:  # noqa: BLE001 - raised at the end
                self.errors.append(error)
