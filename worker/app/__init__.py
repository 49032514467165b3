"""The Celery application: `celery -A worker.app worker`, `beat`, `flower`.

Celery moves work, Redis holds the truth. A message says which batch to deliver; losing it costs the
time of a lease. So messages are acknowledged early, results are not kept, and neither retries nor
ETA nor visibility timeouts are used.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from celery import Celery, signals
from celery.schedules import crontab
from kombu.connection import Connection

from ..connections.addresses import SharedAddress, shared_address
from ..connections.clients import redis_url
from ..errors import SettingsError
from ..settings.celery_processes import ProcessSettings
from ..settings.settings import Settings
from ..telemetry.error_reports import report_errors
from ..telemetry.logs import configure
from .flower import checked

QUEUE = "ingest"
# The schemes of one server: redis-py's word for each, and kombu's.
_ONE_REDIS = {"redis": "redis", "rediss": "rediss", "unix": "redis+socket"}
_KOMBUS_OWN = ("virtual_host", "credential_provider")
AMQP = ("amqp://", "amqps://", "pyamqp://")
# Measured on Celery 5.7: without socket_timeout a worker whose connection is silently cut never
# works again; with 15 s it is back after 75 s at the latest.
_REDIS_OPTIONS = {
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 15,
}
_SENTINEL_OPTIONS = {"socket_timeout": 1, "socket_connect_timeout": 1}
# A message is a wake-up that the next tick replaces, so RabbitMQ need not write it to disk. The
# queue is durable and classic: while the node that has it is down, workers drain by themselves.
_AMQP_SETTINGS = {"broker_heartbeat": 30, "task_default_delivery_mode": "transient"}
app = Celery("worker", include=["worker.app.tasks"], set_as_current=True)


def _broker(settings: Settings) -> dict[str, Any]:
    """The broker's address and how to talk to it; Sentinels told in kombu's words.

    SettingsError for a Redis Cluster: kombu has no transport for it; and for a CELERY_BROKER_URL,
    or a REDIS_URL in its place, that is no address.
    """
    url = settings.broker_url.reveal()
    if url in ("", settings.redis_url.reveal()):
        url = redis_url(settings)
    url = _in_kombus_words(url)
    address = shared_address(url)
    if address is None:
        _check_broker(url)
    if url.startswith(AMQP):
        return {"broker_url": url, **_AMQP_SETTINGS}
    if address is None:
        return {"broker_url": url, "broker_transport_options": _REDIS_OPTIONS}
    if address.form == "cluster":
        raise SettingsError(
            "CELERY_BROKER_URL: Celery cannot use a Redis Cluster as its broker; set it to a "
            "broker beside the Cluster: amqp://host//, redis://host:6379/0 or redis+sentinel://"
        )
    return _sentinels(address)


def _in_kombus_words(url: str) -> str:
    """The address of one Redis as kombu reads it; any other as it is.

    redis-py takes login and database behind the ? as well, and options that kombu does not know:
    how the broker is talked to is set here.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _ONE_REDIS:
        return url
    place, _, query = rest.partition("?")
    told = dict(parse_qsl(query))
    before, _, place = place.rpartition("@")
    user, _, password = before.partition(":")
    user = user or quote(told.get("username", ""), safe="")
    password = password or quote(told.get("password", ""), safe="")
    options = {k: v for k, v in told.items() if k.startswith("ssl_") or k in _KOMBUS_OWN}
    if scheme == "unix":
        options["virtual_host"] = told.get("db", "0")
    elif "db" in told:
        place = f"{place.partition('/')[0]}/{told['db']}"
    login = f"{user}:{password}@" if user or password else ""
    return f"{_ONE_REDIS[scheme]}://{login}{place}" + (f"?{urlencode(options)}" if options else "")


def _check_broker(url: str) -> None:
    """SettingsError, without a word of the address, when kombu cannot make anything of it.

    It takes a word that is no address for the name of a host with a RabbitMQ.
    """
    try:
        if "://" in url:
            Connection(url).get_transport_cls()
            return
    except (KeyError, TypeError, ValueError):  # TypeError: an option that it does not know
        pass
    except ImportError as error:
        raise SettingsError(
            f"CELERY_BROKER_URL: for this kind of broker a package is missing: {error.name}"
        ) from error
    raise SettingsError(
        "CELERY_BROKER_URL: not an address; it looks like redis://host:6379/0 or amqp://host//"
    )


def _sentinels(address: SharedAddress) -> dict[str, Any]:
    urls = (address.url_of(*each).partition("://")[2].partition("?")[0] for each in address.hosts)
    certificates = {name: v for name, v in address.options.items() if name.startswith("ssl_")}
    tls = {"ssl": True, **certificates} if address.tls else {}
    sentinels = {**_SENTINEL_OPTIONS, **address.sentinel_options, **tls}
    master = {"master_name": address.service, "sentinel_kwargs": sentinels}
    return {
        "broker_url": ";".join(f"sentinel://{url}" for url in urls),
        "broker_transport_options": {**_REDIS_OPTIONS, **master},
        "broker_use_ssl": {"ssl_cert_reqs": "required", **certificates} if address.tls else None,
    }


def _threads(settings: Settings) -> int:
    """A thread for every request that may be under way, and two for ticks and probes.

    So a destination that is slow to answer never keeps the others waiting for a thread.
    """
    return sum(each.concurrency_limit for each in settings.enabled()) + 2


def _configuration() -> dict[str, Any]:
    settings, process = Settings.from_env(), ProcessSettings.from_env()
    return {
        **_broker(settings),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_pool": "threads",
        "worker_consumer": "worker.app.consumer:Consumer",
        "worker_concurrency": process.threads or _threads(settings),
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "beat_scheduler": "worker.app.scheduler:Scheduler",
        "beat_schedule_filename": process.beat_schedule,
        "beat_max_loop_interval": min(5.0, settings.drain_interval_s),
        "beat_schedule": _schedule(settings),
    }


def _schedule(settings: Settings) -> dict[str, Any]:
    return {
        "drain": {
            "task": "ingest.drain",
            "schedule": settings.drain_interval_s,
            "options": {"expires": max(10.0, 10 * settings.drain_interval_s)},
        },
        # At night in most of the zones that accounts are in, and when the day before has been
        # counted. A second beat makes it run twice, which only asks the vendor twice.
        "reconcile": {
            "task": "ingest.reconcile",
            "schedule": crontab(hour="3", minute="30"),
            "options": {"expires": 3600.0},
        },
    }


app.add_defaults(_configuration)
app.user_options["preload"].add(checked())


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    configure(
        loglevel or "INFO",
        as_json=ProcessSettings.from_env().log_format == "json",
    )
    report_errors()
