"""Celery's settings for its broker, by the address that is configured."""

from __future__ import annotations

import pytest

from worker.app.broker import broker_settings
from worker.errors import SettingsError
from worker.settings.settings import Settings


def broker(url: str, redis_url: str = "redis://records") -> dict[str, object]:
    """Return Celery's settings for a broker."""
    return broker_settings(Settings.from_env({"REDIS_URL": redis_url, "CELERY_BROKER_URL": url}))


def test_broker_settings_without_broker_url_use_redis_url() -> None:
    """One address is enough to begin with."""
    assert broker("")["broker_url"] == "redis://records"


def test_broker_settings_for_sentinels_use_kombu_terms() -> None:
    """Each Sentinel has a scheme of kombu's, and the master's name is an option."""
    found = broker("", "redis+sentinel://:pw@a:1,b/records/2?sentinel_password=x")
    assert found["broker_url"] == "sentinel://:pw@a:1/2;sentinel://:pw@b:26379/2"
    options = found["broker_transport_options"]
    assert isinstance(options, dict)
    assert options["master_name"] == "records"
    assert options["sentinel_kwargs"]["password"] == "x"
    assert options["socket_timeout"] == 15
    assert found["broker_use_ssl"] is None


def test_broker_settings_for_sentinels_with_tls_verify_certificates() -> None:
    """Certificates are checked against the configured authority."""
    found = broker("rediss+sentinel://a:1/records?ssl_ca_certs=/ca.pem")
    assert found["broker_url"] == "sentinel://a:1/0"
    assert found["broker_use_ssl"] == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("url", "translated"),
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
def test_broker_settings_for_one_redis_translate_its_url(url: str, translated: str) -> None:
    """Kombu has its own scheme for sockets, expects the login before the host, and gets no option
    that only redis-py knows."""
    assert broker("", url)["broker_url"] == translated


def test_broker_settings_for_rabbitmq_have_no_redis_options() -> None:
    """Messages are wake-ups, so RabbitMQ need not write them to disk."""
    found = broker("amqp://h//", "redis+cluster://a:1")
    assert "broker_transport_options" not in found
    assert found["task_default_delivery_mode"] == "transient"


@pytest.mark.parametrize("url", ["", "redis+cluster://:hidden@a:1"])
def test_broker_settings_for_a_cluster_are_refused(url: str) -> None:
    """The error names the setting and what to set, and does not contain the address."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: .* amqp://host//") as refused:
        broker(url, "redis+cluster://:hidden@a:1")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("named", ["", "redis://:hidden@a:port"])
def test_broker_settings_for_a_malformed_redis_url_name_it(named: str) -> None:
    """A worker does not start, and the password stays hidden, also where it is the broker's too."""
    with pytest.raises(SettingsError, match="REDIS_URL: not an address") as refused:
        broker(named, "redis://:hidden@a:port")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["rabbitmq", "rabbit://:hidden@h", "redis://:hidden@h:port/0", "amqp://:hidden@h?no=1"]
)
def test_broker_settings_for_a_malformed_broker_url_name_it(url: str) -> None:
    """A worker does not start, instead of looking for a RabbitMQ host of that name for ever."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: not an address") as refused:
        broker(url)
    assert "hidden" not in str(refused.value)


def test_broker_settings_without_the_brokers_package_name_it() -> None:
    """The error does not call the address malformed, and names what to install."""
    with pytest.raises(SettingsError, match=r"CELERY_BROKER_URL: .* missing: pymongo$") as refused:
        broker("mongodb://:hidden@h/records")
    assert "hidden" not in str(refused.value)
