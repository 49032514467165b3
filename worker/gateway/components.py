"""The parts of a gateway process, put together once; nothing connects before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import redis.asyncio

from worker.connections.clients import gateway_client, redis_url
from worker.dashboard.settings import DashboardSettings
from worker.producer.encoder import RecordEncoder
from worker.settings.environment import secret_of
from worker.settings.settings import Settings
from worker.vendors.secret import Secret

from .api.enqueuer import Enqueuer
from .api.request_handler import RequestHandler
from .auth.key_cache import KeyCache
from .auth.rate_limit import RateLimits
from .server.request_body import BodyReader
from .settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Components:
    """What routers are made of."""

    settings: Settings
    gateway: GatewaySettings
    dashboard: DashboardSettings
    client: redis.asyncio.Redis
    handler: RequestHandler
    metrics_token: Secret


def build_components(environ: Mapping[str, str] | None = None) -> Components:
    """The parts for an environment; SettingsError when it is wrong."""
    settings, gateway = Settings.from_env(environ), GatewaySettings.from_env(environ)
    dashboard = DashboardSettings.from_env(environ)
    client = gateway_client(redis_url(settings), gateway.redis_timeout_s)
    enqueuers = {
        name: Enqueuer(client, each, max_waiting_bytes=gateway.max_waiting_bytes)
        for name, each in settings.destinations.items()
    }
    handler = RequestHandler(
        RecordEncoder(settings),
        KeyCache(client),
        RateLimits(gateway.rate_records_per_s, gateway.rate_burst_records),
        BodyReader(gateway),
        enqueuers,
        accept_vendor_credentials=gateway.accept_vendor_credentials,
    )
    token = secret_of("INGEST_METRICS_TOKEN", environ)
    return Components(settings, gateway, dashboard, client, handler, token)
