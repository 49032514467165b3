"""`ingest gateway-key`: the keys that producers show the HTTP gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from worker.gateway.auth.api_keys import KeyTable


@click.group("gateway-key")
def gateway_key() -> None:
    """Create, list and revoke the keys of the HTTP gateway's producers."""


@gateway_key.command(short_help="Make a key, and print it this once.")
@click.argument("name")
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    metavar="D",
    help="Let it send to this destination only; may be repeated. [default: to all]",
)
def create(name: str, destinations: tuple[str, ...]) -> None:
    """Make a key called NAME and print it, alone, on standard output.

    It is shown this once: Redis keeps a hash of it, from which nobody can make it again.
    """
    key = _table(*destinations).create(name, frozenset(destinations))
    click.echo(key)
    click.echo(f"The key {name} is not shown again. Keep it as the secret it is.", err=True)


@gateway_key.command("list", short_help="List the keys' names, never the keys.")
@options.as_json("One JSON object a line.")
def list_keys(as_json: bool) -> None:
    """List the keys' names, when each was made, and where it may send; never the keys."""
    from datetime import UTC, datetime

    for key in _table().all():
        made = datetime.fromtimestamp(key.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        where = sorted(key.destinations)
        if as_json:
            told = {"name": key.name, "created_at": made, "destinations": where}
            click.echo(json.dumps(told))
        else:
            click.echo(f"{key.name}  {made}  {', '.join(where) or 'all destinations'}")


@gateway_key.command(short_help="Make a key invalid.")
@click.argument("name")
def revoke(name: str) -> None:
    """Make the key called NAME invalid; every gateway refuses it two seconds later at most."""
    _table().revoke(name)
    click.echo(f"{name}: revoked")


def _table(*destinations: str) -> KeyTable:
    from worker.gateway.auth.api_keys import KeyTable
    from worker.settings.settings import Settings

    from ..clients import operator

    settings = Settings.from_env()
    for each in destinations:
        settings.destination(each)  # UnknownDestination names those there are
    return KeyTable(operator(settings))
