"""A record that the vendor takes is never looked into on its way there: bytes in, bytes out."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import orjson

import worker
from support.pipeline import Pipeline, PipelineFactory
from support.stored import put
from support.vendor import Exchange, LoopbackVendor
from worker.buffer.records import new_id, pack
from worker.vendors.protocol import Kind
from worker.vendors.responses import json_object

OURS = str(Path(worker.__file__).parent)
TRANSPORT = "transport.py"  # it counts bytes: a longer request takes it more writes
MARK = b"never-looked-into"


class Taker:
    """Takes whatever comes, and keeps the bytes."""

    def __init__(self, vendor: LoopbackVendor) -> None:
        vendor.usual = self.play
        self.bodies: list[bytes] = []
        self.size = 0

    def play(self, exchange: Exchange) -> None:
        """Take ``size`` records."""
        self.bodies.append(exchange.body(exchange.head()))
        exchange.answer(200, {"status": "success", "processed": self.size, "unprocessed": []})


class Watch:
    """What the interpreter did, according to `sys.setprofile`: our calls, and what was parsed."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.parsed: list[Any] = []
        self.parsers: set[CodeType] = set()

    def during(self, action: Callable[[], object]) -> None:
        """Watch one action of this thread."""
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            action()
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, called: Any) -> None:
        code = frame.f_code
        if event == "call" and code is json.loads.__code__:
            self.parsed.append(frame.f_locals["s"])
        elif event == "c_call" and called is orjson.loads:
            self.parsers.add(code)
            self.parsed.append(frame.f_locals.get("content"))
        elif event == "call" and _is_ours(code.co_filename):
            self.calls[code] += 1


def _is_ours(file: str) -> bool:
    return file.startswith(OURS) and not file.endswith(TRANSPORT)


def buffered(pipeline: Pipeline, bodies: Sequence[bytes]) -> None:
    """Put these bodies into the buffer as records."""
    put(
        pipeline.buffer,
        Kind.EVENT,
        [],
        [pack(new_id(), "20261121", 'Say "hi"', body) for body in bodies],
    )


def test_bodies_reach_the_vendor_unchanged_even_if_not_json(
    pipeline: Pipeline, vendor: LoopbackVendor, rng: random.Random
) -> None:
    """Any bytes, including line feeds and broken UTF-8, are joined and sent verbatim."""
    taker = Taker(vendor)
    taker.size = 300
    bodies = [rng.randbytes(rng.randrange(1, 300)) + b'\n\r\n"]}\x00\xff' for _ in range(300)]
    buffered(pipeline, bodies)
    done = pipeline.step()
    assert done is not None
    assert done.delivered == 300
    assert taker.bodies == [b'{"d":[' + b",".join(bodies) + b"]}"]
    assert pipeline.events.totals["delivered"] == 300


def test_delivery_parses_only_the_batch_and_the_response(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """The only JSON parsed is Redis' description of the batch and the vendor's response, never a
    record."""
    taker = Taker(vendor)
    taker.size = 100
    buffered(pipeline, [b'{"x":"' + MARK + b'"}'] * 100)
    watch = Watch()
    watch.during(pipeline.step)
    assert taker.bodies[0].count(MARK) == 100
    header, answer = watch.parsed
    assert orjson.loads(header)["size"] == 100
    assert orjson.loads(answer)["processed"] == 100
    assert not any(MARK in bytes(each) for each in watch.parsed)
    assert watch.parsers == {json_object.__code__}


def test_delivery_makes_no_calls_per_record(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Ten records and a thousand take the same number of our calls."""
    pipeline, taker = pipeline_of(), Taker(vendor)

    def calls(size: int) -> Counter[CodeType]:
        taker.size = size
        buffered(pipeline, [b"%d" % each for each in range(size)])
        watch = Watch()
        watch.during(pipeline.step)
        return watch.calls

    calls(5)  # connections are made, scripts are loaded
    few, many = calls(10), calls(1000)
    assert pipeline.events.totals["delivered"] == 1015
    assert few.total() > 20
    assert many == few
