"""`ingest pause` and `ingest resume`: stop and start a destination's deliveries."""

from __future__ import annotations

import click

from ..clients import overview


@click.command
@click.argument("destination")
@click.option(
    "--reason", default="paused by an operator", show_default=True, help="Shown by `ingest status`."
)
def pause(destination: str, reason: str) -> None:
    """Pause the deliveries of DESTINATION; records are still accepted and kept.

    Requests in flight finish normally. `ingest resume` starts deliveries again.
    """
    changed = overview(destination).buffers[destination].pause(reason)
    click.echo(f"{destination}: {'paused' if changed else 'was already paused'}")


@click.command
@click.argument("destination")
def resume(destination: str) -> None:
    """Resume the deliveries of DESTINATION, whether it was paused or parked."""
    changed = overview(destination).buffers[destination].resume()
    click.echo(f"{destination}: {'running again' if changed else 'was already running'}")
