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


def test_a_minute_is_noted_once_by_however_many(every_redis: redis.Redis) -> None:
    """Many processes that ask at once write one sample between them."""
    histories = [History(every_redis, QUICK) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        noted = sum(pool.map(lambda each: each.sample(), histories))
    minutes = [each.minute for each in histories[0].read()]
    assert noted == len(minutes) == len(set(minutes))
    assert noted in (1, 2)  # a minute may have ended meanwhile
    made_older(every_redis, 2)
    assert History(every_redis, QUICK).sample()


def test_a_sample_says_what_status_says(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Totals, what waits in the buffer and in batches, and what is dead, over all kinds."""
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
    told = Sample(sample.minute, 8, 2, 1, 5, sample.oldest_ms, 1)
    assert sample == told
    assert 0 <= sample.oldest_ms < 60_000


def test_a_day_is_kept_and_no_more(every_redis: redis.Redis) -> None:
    """The list never grows beyond its limit."""
    key = keys.history(MAIN)
    every_redis.rpush(key, *(orjson.dumps([at, 0, 0, 0, 0, 0, 0]) for at in range(KEEP_MINUTES)))
    assert History(every_redis, QUICK).sample()
    found = History(every_redis, QUICK).read()
    assert (len(found), found[0].minute) == (KEEP_MINUTES, 1)


def test_a_drain_that_ticks_each_second_asks_seldom(redis_client: redis.Redis) -> None:
    """Redis is asked three times a minute, not sixty."""
    now_s = [0.0]
    history = History(redis_client, QUICK, clock=lambda: now_s[0])
    assert history.sample()
    redis_client.delete(keys.history(MAIN))
    now_s[0] = 19.0
    assert not history.sample()
    now_s[0] = 20.0
    assert history.sample()


def test_a_full_redis_stops_no_drain(pipeline_of: PipelineFactory) -> None:
    """Noting a minute never raises when memory is at its limit, so deliveries go on."""
    pipeline = pipeline_of()
    pipeline.accept(["a"])
    pipeline.client.config_set("maxmemory", "1mb")
    pipeline.drain.tick()
    assert len(History(pipeline.client, pipeline.destination).read()) == 1
