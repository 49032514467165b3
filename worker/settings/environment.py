"""An environment as it is read: values, files that stand for values, and where each came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from .converters import Secret, mask_url

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """One setting as it is shown: its value (secrets masked) and where it came from."""

    name: str
    value: str
    origin: str


def lookup(environ: Mapping[str, str], name: str) -> tuple[str | None, str]:
    """A variable's value, else what is in the file that NAME_FILE names, else None; its origin.

    SettingsError when the file cannot be read, or holds nothing: a destination would be switched
    off by it without a word.
    """
    if value := environ.get(name):
        return value, f"environment {name}"
    path = environ.get(f"{name}_FILE")
    if not path:
        return None, DEFAULT
    try:
        # -sig: a mark that an editor put before the secret is no part of it.
        value = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: cannot read the file: {error.strerror}") from error
    except UnicodeDecodeError:  # which shows a byte of the secret
        raise SettingsError(f"{name}_FILE: the file is no text in UTF-8") from None
    if not value:
        raise SettingsError(f"{name}_FILE: the file is empty")
    return value, f"file named by {name}_FILE"


def secret_of(name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """A variable's value, or what is in the file that NAME_FILE names; empty when there is neither.

    SettingsError when the file cannot be read, or holds nothing.
    """
    value, origin = lookup(os.environ if environ is None else environ, name)
    if not value and value is not None:
        raise SettingsError(f"{origin.removeprefix('file named by ')}: the file is empty")
    return Secret(value or "")


class Environment:
    """Reads one environment, and notes in ``sources`` what was read, and from where."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.sources: list[Source] = []

    def note(self, name: str, value: str, origin: str) -> None:
        """Note a setting that is read; ``value`` is what may be shown of it."""
        self.sources.append(Source(name, value, origin))

    def value(self, name: str, default: str, *, address: bool = False) -> str:
        """A variable's value; of an ``address`` the password is not shown."""
        value, origin = lookup(self.environ, name)
        if value is None:
            value = default
        self.note(name, mask_url(value) if address else value, origin)
        return value
