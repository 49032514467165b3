"""`ingest pause` and `ingest resume`: a person stops and starts a destination's deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from worker.buffer.buffer import Buffer


@click.command
@click.argument("destination")
@click.option(
    "--reason", default="paused by an operator", show_default=True, help="Shown by status."
)
def pause(destination: str, reason: str) -> None:
    """Stop the deliveries of DESTINATION; records are still accepted and kept.

    Requests under way end as they would have. `ingest resume` starts deliveries again.
    """
    changed = _buffer(destination).pause(reason)
    click.echo(f"{destination}: {'paused' if changed else 'was paused already'}")


@click.command
@click.argument("destination")
def resume(destination: str) -> None:
    """Start the deliveries of DESTINATION again, whatever had stopped them."""
    changed = _buffer(destination).resume()
    click.echo(f"{destination}: {'running again' if changed else 'was running already'}")


def _buffer(destination: str) -> Buffer:
    from ..clients import overview

    return overview(destination).buffers[destination]
