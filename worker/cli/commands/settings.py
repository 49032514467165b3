"""`ingest settings`: every setting, its value and its origin."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping

import click
from rich.table import Column

from worker.dashboard.settings import DashboardSettings
from worker.gateway.settings import GatewaySettings
from worker.settings.destination import lacking
from worker.settings.destinations_file import destinations_path
from worker.settings.environment import DEFAULT, Environment, Source
from worker.settings.settings import ProcessSettings, Settings
from worker.settings.third_party import ThirdPartySettings, check_third_party

from .. import options
from ..console.terminal import plain_table, terminal

_DECLARED = (GatewaySettings, DashboardSettings, ProcessSettings, ThirdPartySettings)


@click.command
@options.as_json("Print one JSON object instead of a table.")
def settings(as_json: bool) -> None:
    """Show every setting, its value and where it comes from; secrets are masked."""
    found = Settings.from_env()
    sources = (*found.sources, *of_processes(os.environ))
    if as_json:
        shown = {each.name: {"value": each.value, "origin": each.origin} for each in sources}
        click.echo(json.dumps(shown, indent=2))
    else:
        headings = (Column(name, overflow="fold") for name in ("Setting", "Value", "From"))
        table = plain_table(*headings)
        for each in sources:
            given = each.origin.startswith(("environment", "file"))
            table.add_row(each.name, each.value, each.origin, style="bold" if given else None)
        terminal().print(table)
    for remark in _remarks(found, sources, os.environ):
        click.echo(remark, err=True)


def _remarks(
    found: Settings, sources: Iterable[Source], environ: Mapping[str, str]
) -> Iterator[str]:
    """Yield remarks on likely mistakes: incomplete credentials, and unknown variables."""
    for each in found.destinations.values():
        if missing := lacking(each):
            yield f"destinations.{each.name}: not enabled: {', '.join(missing)} is not set"
    read = {name for each in sources for name in (each.name, each.origin.split()[-1])}
    for name, value in environ.items():
        ours = name.startswith("INGEST_") and not name.startswith("INGEST_SANDBOX_")
        if ours and value and not {name, name.removesuffix("_FILE")} & read:
            yield f"{name}: set, but no setting has this name"


def of_processes(environ: Mapping[str, str]) -> tuple[Source, ...]:
    """Return the settings of single kinds of process, and the path of the destinations file.

    SettingsError names what would keep a process from starting.
    """
    environment = Environment(environ)
    named = environ.get("INGEST_DESTINATIONS")
    origin = "environment INGEST_DESTINATIONS" if named else DEFAULT
    environment.note("INGEST_DESTINATIONS", str(destinations_path(environ)), origin)
    for each in _DECLARED:
        each.read(environment)
    check_third_party(environ)
    return tuple(environment.sources)
