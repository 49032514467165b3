"""`ingest gateway-key`: the API keys of the HTTP gateway's producers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from worker.settings.settings import Settings

from .. import options
from ..clients import operator_client

if TYPE_CHECKING:
    from worker.gateway.auth.api_keys import KeyTable


@click.group("gateway-key")
def gateway_key() -> None:
    """Create, list and revoke the API keys of the HTTP gateway's producers."""


@gateway_key.command(short_help="Create a key, and print it once.")
@click.argument("name")
@click.option(
    "--destination",
    "destinations",
    multiple=True,
    metavar="D",
    help="Let it send only to this destination; may be repeated.  [default: all]",
)
def create(name: str, destinations: tuple[str, ...]) -> None:
    """Create a key called NAME and print it, and nothing else, on standard output.

    It is shown only once: Redis keeps a hash of it.
    """
    key = _key_table(*destinations).create(name, frozenset(destinations))
    click.echo(key)
    click.echo(f"The key {name} will not be shown again. Keep it secret.", err=True)


@gateway_key.command("list", short_help="List the names of the keys.")
@options.as_json("Print one JSON object a line.")
def list_keys(as_json: bool) -> None:
    """List each key's name, creation time and destinations; never the key itself."""
    for key in _key_table().all():
        created_at = datetime.fromtimestamp(key.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        allowed = sorted(key.destinations)
        if as_json:
            shown = {"name": key.name, "created_at": created_at, "destinations": allowed}
            click.echo(json.dumps(shown))
        else:
            click.echo(f"{key.name}  {created_at}  {', '.join(allowed) or 'all destinations'}")


@gateway_key.command(short_help="Revoke a key.")
@click.argument("name")
def revoke(name: str) -> None:
    """Revoke the key called NAME; within two seconds every gateway refuses it."""
    _key_table().revoke(name)
    click.echo(f"{name}: revoked")


def _key_table(*destinations: str) -> KeyTable:
    from worker.gateway.auth.api_keys import KeyTable

    settings = Settings.from_env()
    for each in destinations:
        settings.destination(each)  # UnknownDestination names those there are
    return KeyTable(operator_client(settings))
