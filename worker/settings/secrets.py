"""Secrets that are read where they are used, since they are no part of the delivery's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import SettingsError
from .converters import Secret
from .environment import lookup


def secret_of(name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """A variable's value, or what is in the file that NAME_FILE names; empty when there is neither.

    SettingsError when the file cannot be read, or holds nothing.
    """
    value, origin = lookup(os.environ if environ is None else environ, name)
    if not value and value is not None:
        raise SettingsError(f"{origin.removeprefix('file named by ')}: the file is empty")
    return Secret(value or "")
