"""The addresses of Sentinels and Clusters, parsed."""

from __future__ import annotations

import pytest

from worker.connections.addresses import shared_address
from worker.connections.clients import check_address
from worker.errors import SettingsError
from worker.settings.environment import mask_url


@pytest.mark.parametrize(
    "url", ["redis://h:6379/0", "rediss://:p@h", "unix:///tmp/r.sock", "amqp://h//", ""]
)
def test_shared_address_of_another_form_is_none(url: str) -> None:
    """One server's address, or a broker's, is parsed elsewhere."""
    assert shared_address(url) is None


def test_shared_address_of_sentinels_has_hosts_service_and_database() -> None:
    """Ports are optional; user and options go to each server, the Sentinels' to them alone."""
    found = shared_address(
        "rediss+sentinel://me:p%40ss@a:1,b,[::1]:3/records/2?sentinel_password=x&ssl_ca_certs=/c"
    )
    assert found is not None
    assert (found.form, found.tls, found.service, found.db) == ("sentinel", True, "records", 2)
    assert found.hosts == (("a", 1), ("b", 26379), ("::1", 3))
    assert found.url_of(*found.hosts[0]) == "rediss://me:p%40ss@a:1/2?ssl_ca_certs=%2Fc"
    assert found.url_of(*found.hosts[2]).startswith("rediss://me:p%40ss@[::1]:3/2")
    assert found.sentinel_options == {"password": "x"}


def test_shared_address_of_a_cluster_has_hosts_only() -> None:
    """A Cluster has no database but 0."""
    found = shared_address("redis+cluster://:p@a,b:2/0")
    assert found is not None
    assert (found.form, found.tls, found.hosts) == ("cluster", False, (("a", 6379), ("b", 2)))


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hidden@a:1",
        "redis+sentinel://:hidden@a:1/",
        "redis+sentinel://:hidden@a:b/records",
        "redis+sentinel://:hidden@/records",
        "redis+sentinel://:hidden@a/records/x",
        "redis+cluster://:hidden@",
        "redis+cluster://:hidden@a/1",
        "redis+cluster://:hidden@a,,b",
    ],
)
def test_shared_address_that_is_malformed_is_refused_without_being_shown(url: str) -> None:
    """The error shows what an address looks like, and never this one: it may hold a password."""
    with pytest.raises(SettingsError) as refused:
        shared_address(url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:hidden@a:1,b:2/records/0",
        "redis+sentinel://a:1/records?sentinel_password=hidden",
        "redis+cluster://me:hidden@a:1,b:2",
    ],
)
def test_settings_mask_the_password_of_a_shared_address(url: str) -> None:
    """`ingest settings` shows hosts and no password."""
    assert "hidden" not in mask_url(url)
    assert "a:1" in mask_url(url)


def test_shared_address_printed_hides_its_password() -> None:
    """Neither the address nor its parts show it."""
    found = shared_address("redis+sentinel://:hidden@a:1/records?sentinel_password=hidden")
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("redis://:hidden@h/first", "the database after the host must be a number"),
        ("redis://:hidden@h/0?timeoutt=1", "an option that redis-py does not know"),
        ("redis+cluster://:hidden@h?timeoutt=1", "an option that redis-py does not know"),
        ("redis://:hid/den@h", "%2F"),
        ("unix:///r.sock?db=first", "not an address"),
    ],
)
def test_check_address_refuses_what_redis_py_would_misread(url: str, rule: str) -> None:
    """redis-py uses database 0 for a name, and raises TypeError for an unknown option."""
    with pytest.raises(SettingsError, match=rule) as refused:
        check_address(url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://h/",
        "redis://[::1]:1/2",
        "redis://h?db=3",
        "rediss://h/0?ssl_cert_reqs=none",
        "redis://h/0?max_connections=5",
        "unix://:p@/tmp/r.sock?db=2",
        "redis+sentinel://a:1/records/2?sentinel_password=x",
    ],
)
def test_check_address_accepts_every_form(url: str) -> None:
    """What redis-py understands passes."""
    check_address(url)
