"""A Redis that may evict records: a worker that starts on it logs an error."""

from __future__ import annotations

import pytest
import redis

from support.vendor import LoopbackVendor
from worker.app.runtime import Runtime
from worker.delivery.drain import Dispatch
from worker.settings.settings import Settings


@pytest.mark.parametrize(
    ("policy", "logged"),
    [("noeviction", False), ("volatile-lru", False), ("allkeys-lru", True)],
)
def test_worker_on_an_evicting_redis_logs_an_error(
    every_redis: redis.Redis,
    vendor: LoopbackVendor,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    logged: bool,
) -> None:
    """Only where keys that never expire are evicted are records in danger."""
    port = every_redis.get_connection_kwargs()["port"]
    environ = {"REDIS_URL": f"redis://127.0.0.1:{port}", **vendor.environment}
    every_redis.config_set("maxmemory-policy", policy)
    try:
        runtime = Runtime(Settings.from_env(environ), Dispatch(lambda *_: None, lambda *_: None))
    finally:
        every_redis.config_set("maxmemory-policy", "noeviction")
    runtime.close()
    assert ("Redis evicts keys" in capsys.readouterr().out) is logged
