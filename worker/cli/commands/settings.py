"""`ingest settings`: what every setting is, and why it is so."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import click

from worker.dashboard.settings import DashboardSettings
from worker.gateway.settings import GatewaySettings
from worker.gateway.settings import variable as gateway_variable
from worker.settings.celery_processes import ProcessSettings
from worker.settings.celery_processes import variable as process_variable
from worker.settings.converters import Secret, mask_url
from worker.settings.destination import lacking
from worker.settings.destinations_file import destinations_path
from worker.settings.environment import DEFAULT, Source, lookup
from worker.settings.settings import Settings
from worker.settings.third_party import check_foreign

from .. import options

_Variable = Callable[[str], str]

# Declared where they are read: the class, and what a setting's variable is called.
_DECLARED: tuple[tuple[type[Any], _Variable], ...] = (
    (GatewaySettings, gateway_variable),
    (DashboardSettings, lambda name: f"INGEST_DASHBOARD_{name.upper()}"),
    (ProcessSettings, process_variable),
)
# No class of ours declares these: other programs' code reads most of them.
_OTHERS: Mapping[str, str] = {
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_PORT": "5555",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "",
    "OTEL_SERVICE_NAME": "ingestion-worker",
    "OTEL_SDK_DISABLED": "false",
    "SENTRY_ENVIRONMENT": "production",
}
_OTHER_SECRETS = (
    "FLOWER_BASIC_AUTH",
    "INGEST_METRICS_TOKEN",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "SENTRY_DSN",
)


@click.command
@options.as_json("One JSON object instead of a table.")
def settings(as_json: bool) -> None:
    """Show every setting, its value and where it came from; secrets are masked."""
    found = Settings.from_env()
    sources = (*found.sources, *of_processes(os.environ))
    if as_json:
        import json

        shown = {each.name: {"value": each.value, "origin": each.origin} for each in sources}
        click.echo(json.dumps(shown, indent=2))
    else:
        _print_table(sources)
    for remark in _remarks(found, sources, os.environ):
        click.echo(remark, err=True)


def _remarks(
    found: Settings, sources: Iterable[Source], environ: Mapping[str, str]
) -> Iterator[str]:
    """What is no error, and seldom meant: credentials in part, and variables nobody reads."""
    for each in found.destinations.values():
        if missing := lacking(each):
            yield f"destinations.{each.name}: not enabled: {', '.join(missing)} is not set"
    read = {name for each in sources for name in (each.name, each.origin.split()[-1])}
    for name, value in environ.items():
        of_sandbox = name.startswith("INGEST_SANDBOX_")
        if (
            name.startswith("INGEST_")
            and value
            and not of_sandbox
            and not {name, name.removesuffix("_FILE")} & read
        ):
            yield f"{name}: set, but no setting has this name"


def of_processes(environ: Mapping[str, str]) -> tuple[Source, ...]:
    """The settings that only one kind of process reads, and the file of destinations.

    SettingsError names what a process would not start with.
    """
    for declaring, _ in _DECLARED:
        declaring.from_env(environ)
    check_foreign(environ)
    named = environ.get("INGEST_DESTINATIONS")
    origin = "environment INGEST_DESTINATIONS" if named else DEFAULT
    found = [Source("INGEST_DESTINATIONS", str(destinations_path(environ)), origin)]
    for name, usual, secret in _declared():
        if secret:
            value, origin = lookup(environ, name)
        else:  # only secrets may be in a file
            value = environ.get(name) or None
            origin = f"environment {name}" if value else DEFAULT
        shown = usual if value is None else value
        found.append(Source(name, str(Secret(shown)) if secret else mask_url(shown), origin))
    return tuple(found)


def _declared() -> Iterator[tuple[str, str, bool]]:
    """Each variable's name and default, and whether it is a secret."""
    for declaring, variable in _DECLARED:
        usual = declaring()
        for each in fields(declaring):
            value = getattr(usual, each.name)
            yield variable(each.name), "" if value == () else str(value), isinstance(value, Secret)
    yield from ((name, usual, False) for name, usual in _OTHERS.items())
    yield from ((name, "", True) for name in _OTHER_SECRETS)


def _print_table(sources: tuple[Source, ...]) -> None:
    from ..console.terminal import plain_table, standard_output

    table = plain_table()
    for heading in ("Setting", "Value", "From"):
        table.add_column(heading, overflow="fold")
    for each in sources:
        given = each.origin.startswith(("environment", "file"))
        table.add_row(each.name, each.value, each.origin, style="bold" if given else None)
    standard_output().print(table)
