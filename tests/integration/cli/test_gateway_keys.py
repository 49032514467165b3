"""`ingest gateway-key`: keys are created, listed and revoked, and never stored."""

from __future__ import annotations

import json

import pytest
import redis

from support.commands import Cli


@pytest.fixture
def cli(redis_url: str) -> Cli:
    """The command, with an empty Redis."""
    return Cli({"REDIS_URL": redis_url})


def everything(client: redis.Redis) -> str:
    """All that Redis holds, as text."""
    return repr([client.dump(name) for name in client.scan_iter()])


def test_create_prints_a_key_that_redis_does_not_hold(cli: Cli, redis_client: redis.Redis) -> None:
    """Standard output is only the key, with 256 random bits; Redis has no trace of it."""
    made = cli("gateway-key", "create", "shop")
    assert made.returncode == 0
    key = made.stdout.strip()
    assert key.startswith("ingest_")
    assert len(key) == len("ingest_") + 43
    assert key[7:] not in everything(redis_client)
    assert cli("gateway-key", "create", "other").stdout.strip() != key


def test_list_shows_names_and_no_keys(cli: Cli) -> None:
    """It shows the name, the creation time, and where the key may send."""
    key = cli("gateway-key", "create", "shop").stdout.strip()
    cli("gateway-key", "create", "app", "--destination", "bloomreach")
    listed = cli("gateway-key", "list", "--json").stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert [(row["name"], row["destinations"]) for row in rows] == [
        ("app", ["bloomreach"]),
        ("shop", []),
    ]
    shown = cli("gateway-key", "list").stdout
    assert "all destinations" in shown
    assert key not in listed + shown


def test_revoke_frees_the_name(cli: Cli) -> None:
    """Revoking removes it, and its name may be used again."""
    cli("gateway-key", "create", "shop")
    assert cli("gateway-key", "revoke", "shop").returncode == 0
    assert cli("gateway-key", "list").stdout == ""
    assert cli("gateway-key", "create", "shop").returncode == 0


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (("create", "shop"), "already"),
        (("create", "a b"), "name"),
        (("create", ""), "name"),
        (("revoke", "missing"), "no key"),
        (("create", "app", "--destination", "nowhere"), "nowhere"),
    ],
)
def test_impossible_requests_fail_with_one_line(
    cli: Cli, command: tuple[str, ...], text: str
) -> None:
    """One line on standard error and an exit code above 0; nothing changes."""
    cli("gateway-key", "create", "shop")
    done = cli("gateway-key", *command)
    assert done.returncode in {1, 2}
    assert text in done.stderr
    assert done.stdout == ""
    assert len(cli("gateway-key", "list").stdout.splitlines()) == 1
