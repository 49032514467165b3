"""`ingest pause` and `ingest resume`: stop and start a destination's deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from worker.buffer.buffer import Buffer


@click.command
@click.argument("destination")
@click.option(
    "--reason", default="paused by an operator", show_default=True, help="Shown by `ingest status`."
)
def pause(destination: str, reason: str) -> None:
    """Pause the deliveries of DESTINATION; records are still accepted and kept.

    Requests in flight finish normally. `ingest resume` starts deliveries again.
    """
    changed = _buffer(destination).pause(reason)
    click.echo(f"{destination}: {'paused' if changed else 'was already paused'}")


@click.command
@click.argument("destination")
def resume(destination: str) -> None:
    """Resume the deliveries of DESTINATION, whether it was paused or parked."""
    changed = _buffer(destination).resume()
    click.echo(f"{destination}: {'running again' if changed else 'was already running'}")


def _buffer(destination: str) -> Buffer:
    from ..clients import overview

    return overview(destination).buffers[destination]
