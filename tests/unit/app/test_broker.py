"""What Celery is told of its broker, by the address that settings give."""

from __future__ import annotations

import pytest

from worker.app import _broker
from worker.errors import SettingsError
from worker.settings.settings import Settings


def broker(url: str, redis_url: str = "redis://records") -> dict[str, object]:
    """Celery's settings for a broker."""
    return _broker(Settings.from_env({"REDIS_URL": redis_url, "CELERY_BROKER_URL": url}))


def test_without_a_broker_of_its_own_celery_uses_the_records_redis() -> None:
    """One address is enough to begin with."""
    assert broker("")["broker_url"] == "redis://records"


def test_sentinels_are_told_in_kombus_words() -> None:
    """Each Sentinel under a scheme of kombu's, and the master's name as an option."""
    told = broker("", "redis+sentinel://:pw@a:1,b/records/2?sentinel_password=x")
    assert told["broker_url"] == "sentinel://:pw@a:1/2;sentinel://:pw@b:26379/2"
    options = told["broker_transport_options"]
    assert isinstance(options, dict)
    assert options["master_name"] == "records"
    assert options["sentinel_kwargs"]["password"] == "x"
    assert options["socket_timeout"] == 15
    assert told["broker_use_ssl"] is None


def test_sentinels_with_tls_are_asked_with_tls() -> None:
    """The certificate is looked at, by the authority given."""
    told = broker("rediss+sentinel://a:1/records?ssl_ca_certs=/ca.pem")
    assert told["broker_url"] == "sentinel://a:1/0"
    assert told["broker_use_ssl"] == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("unix://:db=1@/run/r.sock?db=2", "redis+socket://:db=1@/run/r.sock?virtual_host=2"),
        ("unix:///r?db=2&password=p%40b", "redis+socket://:p%40b@/r?virtual_host=2"),
        ("unix://ada@/r?password=p", "redis+socket://ada:p@/r?virtual_host=0"),
        ("unix:///r?username=ada&password=p", "redis+socket://ada:p@/r?virtual_host=0"),
        ("redis://h/2?password=p%2F", "redis://:p%2F@h/2"),
        ("rediss://h?password=p&ssl_cert_reqs=none", "rediss://:p@h?ssl_cert_reqs=none"),
        ("redis://:p@h:1/0?db=2&client_name=x&max_connections=5", "redis://:p@h:1/2"),
        ("redis://h", "redis://h"),
    ],
)
def test_a_redis_is_told_in_kombus_words(url: str, told: str) -> None:
    """A socket has another scheme and word for its database, a login is before the host, and what
    redis-py alone knows is left out."""
    assert broker("", url)["broker_url"] == told


def test_rabbitmq_gets_none_of_redis_options() -> None:
    """Messages are wake-ups: they need not be written to disk."""
    told = broker("amqp://h//", "redis+cluster://a:1")
    assert "broker_transport_options" not in told
    assert told["task_default_delivery_mode"] == "transient"


@pytest.mark.parametrize("url", ["", "redis+cluster://:hidden@a:1"])
def test_a_cluster_is_refused_as_broker(url: str) -> None:
    """The error names the setting and says what to set, without the address."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: .* amqp://host//") as refused:
        broker(url, "redis+cluster://:hidden@a:1")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("named", ["", "redis://:hidden@a:port"])
def test_a_malformed_redis_url_is_named_before_celery_reads_it(named: str) -> None:
    """A worker does not start with it, and its password is not shown, be it the broker's too."""
    with pytest.raises(SettingsError, match="REDIS_URL: not an address") as refused:
        broker(named, "redis://:hidden@a:port")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["rabbitmq", "rabbit://:hidden@h", "redis://:hidden@h:port/0", "amqp://:hidden@h?no=1"]
)
def test_a_malformed_broker_is_named_before_celery_reads_it(url: str) -> None:
    """A worker does not start with it, or look for a RabbitMQ of that name for ever."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: not an address") as refused:
        broker(url)
    assert "hidden" not in str(refused.value)


def test_a_broker_that_lacks_its_package_is_told_the_package() -> None:
    """An address that is right is not called wrong, and what to install is named."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: .* missing: pymongo$") as refused:
        broker("mongodb://:hidden@h/records")
    assert "hidden" not in str(refused.value)
