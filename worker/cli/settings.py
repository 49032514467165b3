"""`ingest settings`: what every setting is, and why it is so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields

import click

from worker.destinations_file import destinations_path
from worker.environment import Source
from worker.gateway.settings import GatewaySettings, variable
from worker.setting_values import Secret
from worker.settings import Settings

from . import options

# What single processes read for themselves: name, default, whether it is a secret.
_PROCESSES: tuple[tuple[str, str, bool], ...] = (
    ("FLOWER_BASIC_AUTH", "", True),
    ("INGEST_DASHBOARD_PASSWORD", "", True),
    ("INGEST_DASHBOARD_USER", "operator", False),
    ("INGEST_DASHBOARD_SESSION_S", "28800", False),
    ("INGEST_DASHBOARD_REFRESH_S", "10", False),
    ("INGEST_LOG_FORMAT", "text", False),
    ("INGEST_HEARTBEAT_PATH", "", False),
    ("INGEST_THREADS", "a thread for each request, and two", False),
    ("INGEST_BEAT_SCHEDULE", "celerybeat-schedule", False),
)


@click.command
@options.as_json("One JSON object instead of a table.")
def settings(as_json: bool) -> None:
    """Show every setting, its value and where it came from; secrets are masked."""
    sources = (*Settings.from_env().sources, *of_processes(os.environ))
    if as_json:
        import json

        shown = {each.name: {"value": each.value, "origin": each.origin} for each in sources}
        click.echo(json.dumps(shown, indent=2))
    else:
        _print_table(sources)


def of_processes(environ: Mapping[str, str]) -> tuple[Source, ...]:
    """The settings that only one kind of process reads, and the file of destinations."""
    origin = "environment INGEST_DESTINATIONS" if "INGEST_DESTINATIONS" in environ else "default"
    found = [Source("INGEST_DESTINATIONS", str(destinations_path(environ)), origin)]
    for name, default, secret in (*_of_gateway(), *_PROCESSES):
        value = environ.get(name) or default
        origin = f"environment {name}" if environ.get(name) else "default"
        found.append(Source(name, str(Secret(value)) if secret else value, origin))
    return tuple(found)


def _of_gateway() -> Iterator[tuple[str, str, bool]]:
    for each in fields(GatewaySettings):
        default = each.default if each.default != () else ""
        yield variable(each.name), str(default), False


def _print_table(sources: tuple[Source, ...]) -> None:
    from .terminal import plain_table, standard_output

    table = plain_table("Setting", "Value", "From")
    for each in sources:
        given = each.origin.startswith(("environment", "file"))
        table.add_row(each.name, each.value, each.origin, style="bold" if given else None)
    standard_output().print(table)
