"""The history that charts are drawn from: a sample a minute, whoever asks for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import redis

from support.pipeline import QUICK, PipelineFactory
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.history import KEEP_MINUTES, History, Sample

MAIN = "main"


def made_older(client: redis.Redis, minutes: int) -> None:
    """Move what was noted into the past."""
    key = keys.history(MAIN)
    entries: list[Any] = [orjson.loads(each) for each in client.lrange(key, 0, -1)]
    client.delete(key)
    client.rpush(key, *(orjson.dumps([each[0] - minutes, *each[1:]]) for each in entries))


def test_sample_writes_each_minute_once(every_redis: redis.Redis) -> None:
    """Many processes at the same time write one sample between them."""
    histories = [History(every_redis, QUICK) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        noted = sum(pool.map(lambda each: each.sample(), histories))
    minutes = [each.minute for each in histories[0].read()]
    assert noted == len(minutes) == len(set(minutes))
    assert noted in (1, 2)  # a minute may have ended meanwhile
    made_older(every_redis, 2)
    assert History(every_redis, QUICK).sample()


def test_sample_equals_status(pipeline_of: PipelineFactory, vendor: LoopbackVendor) -> None:
    """Totals, records waiting in the buffer and in batches, and dead ones, over all kinds."""
    pipeline = pipeline_of()
    vendor.prescribe("dies", 516)
    pipeline.accept(["a", "b", "dies"])
    pipeline.deliver()
    pipeline.accept(["c", "d"])
    assert pipeline.buffer.claim(begun=False)
    pipeline.accept_profiles(["e", "f", "g"])
    history = History(pipeline.client, pipeline.destination)
    assert history.sample()
    (sample,) = history.read()
    expected = Sample(sample.minute, 8, 2, 1, 5, sample.oldest_ms, 1)
    assert sample == expected
    assert 0 <= sample.oldest_ms < 60_000


def test_history_keeps_one_day(every_redis: redis.Redis) -> None:
    """The list never grows beyond its limit."""
    key = keys.history(MAIN)
    every_redis.rpush(key, *(orjson.dumps([at, 0, 0, 0, 0, 0, 0]) for at in range(KEEP_MINUTES)))
    assert History(every_redis, QUICK).sample()
    found = History(every_redis, QUICK).read()
    assert (len(found), found[0].minute) == (KEEP_MINUTES, 1)


def test_history_is_sampled_three_times_a_minute(redis_client: redis.Redis) -> None:
    """A drain that ticks each second does not ask Redis sixty times."""
    now_s = [0.0]
    history = History(redis_client, QUICK, clock=lambda: now_s[0])
    assert history.sample()
    redis_client.delete(keys.history(MAIN))
    now_s[0] = 19.0
    assert not history.sample()
    now_s[0] = 20.0
    assert history.sample()


def test_sample_in_a_full_redis_does_not_raise(pipeline_of: PipelineFactory) -> None:
    """Taking a sample never raises when memory is at its limit, so deliveries continue."""
    pipeline = pipeline_of()
    pipeline.accept(["a"])
    pipeline.client.config_set("maxmemory", "1mb")
    pipeline.drain.tick()
    assert len(History(pipeline.client, pipeline.destination).read()) == 1
