"""The one reader of settings: fields of dataclasses, from variables, files and defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, get_type_hints

from ..errors import SettingsError
from ..vendors.secret import Secret
from .converters import convert, mask_url

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Source:
    """One setting as it is shown: its value (secrets masked) and where it came from."""

    name: str
    value: str
    origin: str


def lookup(environ: Mapping[str, str], name: str) -> tuple[str | None, str]:
    """Return a variable's value, else the text of the file that NAME_FILE names, and the origin.

    Without either the value is None. SettingsError when the file cannot be read or is empty: an
    empty secret would silently turn off what needs it.
    """
    if value := environ.get(name):
        return value, f"environment {name}"
    path = environ.get(f"{name}_FILE")
    if not path:
        return None, DEFAULT
    try:
        # -sig: a byte order mark that an editor put before the secret is not part of it.
        value = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE: cannot read the file: {error.strerror}") from error
    except UnicodeDecodeError:  # its text shows a byte of the secret
        raise SettingsError(f"{name}_FILE: the file is not UTF-8 text") from None
    if not value:
        raise SettingsError(f"{name}_FILE: the file is empty")
    return value, f"file named by {name}_FILE"


def secret_of(name: str, environ: Mapping[str, str] | None = None) -> Secret:
    """Return a secret from its variable or file, empty when neither is set; see `lookup`."""
    value, _ = lookup(os.environ if environ is None else environ, name)
    return Secret(value or "")


class Environment:
    """Reads one environment; ``sources`` holds every setting that was read and where from."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        self.sources: list[Source] = []

    def note(self, name: str, value: str, origin: str) -> None:
        """Note a setting; ``value`` is what may be shown of it."""
        self.sources.append(Source(name, value, origin))

    def value(self, name: str, hint: Any, default: Any, *, from_file: bool = True) -> Any:
        """Return a variable converted to the type ``hint``, or the default, and note its source.

        A variable that is not a secret is read from NAME_FILE only if ``from_file``.
        """
        if from_file:
            raw, origin = lookup(self.environ, name)
        else:
            raw = self.environ.get(name) or None
            origin = DEFAULT if raw is None else f"environment {name}"
        value = default if raw is None else convert(origin.split()[-1], hint, raw)
        shown = mask_url(_text_of(default) if raw is None else raw)
        self.note(name, str(Secret(shown)) if hint is Secret else shown, origin)
        return value


def _text_of(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else "" if value == () else str(value)


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """Base of a frozen dataclass with fields that are read from variables: prefix and name."""

    prefix: ClassVar[str] = "INGEST_"
    #: Variables that are not called prefix and field.
    variables: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def variable(cls, field: str) -> str:
        """Return the environment variable of a field."""
        return cls.variables.get(field, f"{cls.prefix}{field.upper()}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the environment; SettingsError names the variable and the rule it breaks."""
        return cls.read(Environment(environ))

    @classmethod
    def read(cls, environment: Environment) -> Self:
        """Read the fields from an environment that notes where each came from."""
        usual, hints = cls(), get_type_hints(cls)
        found = {
            each.name: environment.value(
                cls.variable(each.name),
                hints[each.name],
                getattr(usual, each.name),
                from_file=hints[each.name] is Secret,
            )
            for each in fields(cls)
        }
        settings = cls(**found)
        settings.check()
        return settings

    def check(self) -> None:
        """Raise SettingsError for a value that is out of range."""

    def error(self, field: str, rule: str) -> SettingsError:
        """Return the error for a field that breaks a rule."""
        return SettingsError(f"{self.variable(field)}: {rule}")
