"""A look at Flower's environment before Flower reads it: it does so before its configuration.

Celery asks an application for options that all of its commands shall have; the callback of one is
the only moment between the loading of the application and Flower's own reading.
"""

from __future__ import annotations

import os

import click

from ..errors import SettingsError
from ..settings.third_party import check_flower_port


def checked() -> click.Option:
    """An option that nobody sees or gives, whose callback ends a Flower that could not listen."""
    return click.Option(
        ["--check-environment"], hidden=True, expose_value=False, is_flag=True, callback=_check
    )


def _check(ctx: click.Context, param: click.Parameter, value: object) -> None:
    del param, value
    if ctx.info_name != "flower":
        return
    try:
        check_flower_port(os.environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from error
