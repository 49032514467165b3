"""Secrets that are read where they are used, since they are no part of the delivery's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import SettingsError
from .setting_values import Secret


def secret_of(name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """A variable's value, or what is in the file that NAME_FILE names; empty when there is neither.

    SettingsError when the file cannot be read, or holds nothing.
    """
    environ = os.environ if environ is None else environ
    if value := environ.get(name):
        return Secret(value)
    path = environ.get(f"{name}_FILE")
    if not path:
        return Secret("")
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: cannot read the file: {error.strerror}") from error
    if not value:
        raise SettingsError(f"{name}_FILE: the file is empty")
    return Secret(value)
