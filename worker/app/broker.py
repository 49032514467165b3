"""The broker's address in Celery's terms: one Redis, Sentinels, RabbitMQ, or another broker."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from kombu.connection import Connection

from ..connections.addresses import SharedAddress, shared_address
from ..connections.clients import redis_url
from ..errors import SettingsError
from ..settings.settings import Settings

AMQP_SCHEMES = ("amqp://", "amqps://", "pyamqp://")
# The schemes of one server: redis-py's and kombu's.
KOMBU_SCHEMES = {"redis": "redis", "rediss": "rediss", "unix": "redis+socket"}
KOMBU_OPTIONS = ("virtual_host", "credential_provider")
# Measured on Celery 5.7: without socket_timeout a worker never recovers from a silently cut
# connection; with 15 s it is back after 75 s at the latest.
REDIS_OPTIONS = {
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
}
SENTINEL_OPTIONS = {"socket_timeout": 1, "socket_connect_timeout": 1}
# A message is a wake-up that the next tick replaces, so RabbitMQ need not write it to disk. The
# queue is durable and classic: while its node is down, workers drain without it.
AMQP_SETTINGS = {"broker_heartbeat": 30, "task_default_delivery_mode": "transient"}


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Return Celery's settings for the broker.

    SettingsError for a Redis Cluster, which kombu has no transport for, and for a malformed
    CELERY_BROKER_URL, or a REDIS_URL in its place.
    """
    url = settings.broker_url.reveal()
    if url in ("", settings.redis_url.reveal()):
        url = redis_url(settings)
    url = _kombu_url(url)
    address = shared_address(url)
    if address is None:
        _check_transport(url)
        is_amqp = url.startswith(AMQP_SCHEMES)
        options = AMQP_SETTINGS if is_amqp else {"broker_transport_options": REDIS_OPTIONS}
        return {"broker_url": url, **options}
    if address.form == "cluster":
        raise SettingsError(
            "CELERY_BROKER_URL: Celery cannot use a Redis Cluster as its broker; set it to a "
            "broker beside the Cluster: amqp://host//, redis://host:6379/0 or redis+sentinel://"
        )
    return _sentinel_settings(address)


def _kombu_url(url: str) -> str:
    """Translate the address of one Redis into kombu's dialect; return any other unchanged.

    redis-py also reads login and database from the query, and options that kombu does not know:
    the broker's timeouts are set here.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in KOMBU_SCHEMES:
        return url
    place, _, query = rest.partition("?")
    given = dict(parse_qsl(query))
    before, _, place = place.rpartition("@")
    user, _, password = before.partition(":")
    user = user or quote(given.get("username", ""), safe="")
    password = password or quote(given.get("password", ""), safe="")
    options = {k: v for k, v in given.items() if k.startswith("ssl_") or k in KOMBU_OPTIONS}
    if scheme == "unix":
        options["virtual_host"] = given.get("db", "0")
    elif "db" in given:
        place = f"{place.partition('/')[0]}/{given['db']}"
    login = f"{user}:{password}@" if user or password else ""
    query = f"?{urlencode(options)}" if options else ""
    return f"{KOMBU_SCHEMES[scheme]}://{login}{place}{query}"


def _check_transport(url: str) -> None:
    """Raise SettingsError if kombu cannot parse the URL; the message never contains it.

    kombu accepts a bare word as a RabbitMQ host name.
    """
    try:
        if "://" in url:
            Connection(url).get_transport_cls()
            return
    except (KeyError, TypeError, ValueError):  # TypeError: an unknown option
        pass
    except ImportError as error:
        raise SettingsError(
            f"CELERY_BROKER_URL: the package for this kind of broker is missing: {error.name}"
        ) from error
    raise SettingsError(
        "CELERY_BROKER_URL: not an address; it looks like redis://host:6379/0 or amqp://host//"
    )


def _sentinel_settings(address: SharedAddress) -> dict[str, Any]:
    urls = (address.url_of(*each).partition("://")[2].partition("?")[0] for each in address.hosts)
    certificates = {name: v for name, v in address.options.items() if name.startswith("ssl_")}
    tls = {"ssl": True, **certificates} if address.tls else {}
    sentinels = {**SENTINEL_OPTIONS, **address.sentinel_options, **tls}
    master = {"master_name": address.service, "sentinel_kwargs": sentinels}
    return {
        "broker_url": ";".join(f"sentinel://{url}" for url in urls),
        "broker_transport_options": {**REDIS_OPTIONS, **master},
        "broker_use_ssl": {"ssl_cert_reqs": "required", **certificates} if address.tls else None,
    }
