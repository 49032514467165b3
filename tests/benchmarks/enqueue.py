"""What it costs a web application to enqueue a record: ours, and the alternatives.

Each contender is run for the same number of records in this process, one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from typing import Any

from benchmarks import samples
from benchmarks.memory_sdk import MemorySdk
from benchmarks.program_options import Options
from benchmarks.results import Results, in_turn
from benchmarks.setup import Setup, SetupFactory
from worker.connections.clients import async_producer_client, producer_client
from worker.producer.producer import AsyncProducer, Producer
from worker.vendors.clevertap.schema import CleverTapSchema
from worker.vendors.protocol import Kind

SECTION = "enqueue"
CALLERS = 100
EVENT_CALL = "Producer.event()"
ASYNC_CALL = f"AsyncProducer.event(), {CALLERS} callers"
MANY_CALL = "Producer.send_many(1000)"
RPUSH = "bare RPUSH and its round trip"
ASYNC_RPUSH = f"bare RPUSH, asyncio, {CALLERS} callers"
LOAD = "bare marshmallow load"
SEND_TASK = "celery.send_task"
SDK = "analytics SDK in memory, the call alone"
SDK_FLUSHED = "analytics SDK in memory, until it is posted"


@dataclass(slots=True)
class Calls:
    """The contenders of this section, on one Redis."""

    setup: Setup
    results: Results
    size: int

    def _note(self, name: str, size: int, took_s: float) -> None:
        self.results.add(SECTION, name, "records/s", size / took_s)

    def _singly(self, name: str, call: Callable[[int], object], size: int = 0) -> None:
        size = size or self.size
        call(0)  # connect and load the scripts
        took: list[float] = []
        for number in range(size):
            began = time.perf_counter()
            call(number)
            took.append(time.perf_counter() - began)
        self._note(name, size, sum(took))
        self._latencies(name, took)

    def _latencies(self, name: str, took: list[float]) -> None:
        cuts = quantiles(took, n=100)
        self.results.add(SECTION, f"{name}: p50", "ms", cuts[49] * 1000)
        self.results.add(SECTION, f"{name}: p99", "ms", cuts[98] * 1000)

    def event(self) -> None:
        """Send one event per call."""
        producer = Producer.from_env(self.setup.environ)
        self._singly(
            EVENT_CALL,
            lambda number: producer.event(
                samples.NAME, samples.properties(), identity=samples.identity(number)
            ),
        )
        producer.close()

    def rpush(self) -> None:
        """Push the same bytes with the same client settings: the cost of the network alone."""
        client = producer_client(self.setup.server.url)
        content = samples.body(0)
        self._singly(RPUSH, lambda _: client.rpush("bench:rpush", content))
        client.close()

    def _together(self, name: str, call: Callable[[int], Awaitable[object]]) -> list[float]:
        took: list[float] = []

        async def caller(first: int) -> None:
            for number in range(first, self.size, CALLERS):
                began = time.perf_counter()
                await call(number)
                took.append(time.perf_counter() - began)

        async def callers() -> float:
            # By then the connections exist.
            await asyncio.gather(*(call(number) for number in range(CALLERS)))
            began = time.perf_counter()
            await asyncio.gather(*map(caller, range(CALLERS)))
            return time.perf_counter() - began

        with asyncio.Runner() as runner:
            self._note(name, self.size, runner.run(callers()))
        self._latencies(name, took)
        return took

    def async_event(self) -> None:
        """Send one event per call, with many callers on one event loop."""
        # Created inside the loop, which owns its connections.
        made: list[AsyncProducer] = []

        async def call(number: int) -> None:
            if not made:
                made.append(AsyncProducer.from_env(self.setup.environ))
            await made[0].event(
                samples.NAME, samples.properties(), identity=samples.identity(number)
            )

        self._together(ASYNC_CALL, call)

    def async_rpush(self) -> None:
        """Push the same bytes from as many callers."""
        made: list[Any] = []
        content = samples.body(0)

        async def call(_: int) -> None:
            if not made:
                made.append(async_producer_client(self.setup.server.url))
            await made[0].rpush("bench:rpush", content)

        self._together(ASYNC_RPUSH, call)

    def send_many(self) -> None:
        """Send a thousand per call."""
        producer = Producer.from_env(self.setup.environ)
        size = 10 * self.size
        chunks = [
            [samples.event(number) for number in range(at, at + samples.CHUNK)]
            for at in range(0, size, samples.CHUNK)
        ]
        producer.send_many(chunks[0])
        cpu_began, began = time.process_time(), time.perf_counter()
        for chunk in chunks:
            producer.send_many(chunk)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
        self._note(MANY_CALL, size, took_s)
        self.results.add(SECTION, f"{MANY_CALL}: CPU", "s/million", cpu_s / size * 1e6)
        producer.close()

    def load(self) -> None:
        """Load the schema that both producers use, and nothing else."""
        schema = CleverTapSchema().schemas[Kind.EVENT]
        records = [samples.event(number) for number in range(self.size)]
        began = time.perf_counter()
        for record in records:
            schema.load(record)
        self._note(LOAD, self.size, time.perf_counter() - began)

    def send_task(self) -> None:
        """Send one Celery message per event, on a pooled connection."""
        from celery import Celery

        app = Celery("bench", broker=self.setup.server.url, set_as_current=False)
        self._singly(
            SEND_TASK,
            lambda number: app.send_task(
                "bench.none", (samples.event(number),), queue="bench:tasks", ignore_result=True
            ),
            self.size // 4,
        )
        app.close()

    def sdk(self) -> None:
        """Put messages into a queue in memory, and wait until its thread has posted all of them."""
        sdk = MemorySdk(self.setup.sink.port, self.size)
        began = time.perf_counter()
        for number in range(self.size):
            sdk.track(samples.identity(number), samples.NAME, samples.properties())
        self._note(SDK, self.size, time.perf_counter() - began)
        sdk.join()
        self._note(SDK_FLUSHED, self.size - sdk.dropped, time.perf_counter() - began)


def run(setups: SetupFactory, results: Results, options: Options) -> None:
    """Run the section, emptying Redis before each contender."""
    with setups.create() as setup:
        calls = Calls(setup, results, options.sized(2_000, 10_000))
        contenders = [calls.event, calls.rpush, calls.async_event, calls.async_rpush]
        contenders += [calls.send_many, calls.load, calls.send_task, calls.sdk]
        in_turn([partial(_alone, setup, each) for each in contenders], options.rounds)


def _alone(setup: Setup, contend: Callable[[], None]) -> None:
    setup.client.flushall()
    contend()
