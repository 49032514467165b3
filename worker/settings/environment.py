"""The one reader of settings: what a variable, its file or a default holds, converted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo

from ..errors import SettingsError
from ..vendors.secret import Secret

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
        environ = self.environ if from_file else {name: self.environ.get(name, "")}
        raw, origin = lookup(environ, name)
        value = default if raw is None else convert(origin.split()[-1], hint, raw)
        if raw is None:
            raw = "" if default == () else str(default)
        shown = mask_url(raw)
        self.note(name, str(Secret(shown)) if hint is Secret else shown, origin)
        return value


def _whole_number(raw: Any) -> int:
    if isinstance(raw, bool | float):
        raise ValueError
    return int(raw)


def _number(raw: Any) -> float:
    value = float(raw)
    if isinstance(raw, bool) or not 0 <= value < float("inf"):
        raise ValueError
    return value


def _boolean(raw: Any) -> bool:
    if raw is True or raw in ("true", "1"):
        return True
    if raw is False or raw in ("false", "0", ""):
        return False
    raise ValueError


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


# What a setting of each type must be, in words, and the function that reads it.
_READERS: Mapping[Any, tuple[str, Callable[[Any], Any]]] = {
    int: ("a whole number", _whole_number),
    float: ("a number, 0 or more", _number),
    bool: ("true or false", _boolean),
    str: ("text", _text),
    Secret: ("text", lambda raw: Secret(_text(raw))),
    ZoneInfo: ("a time zone, as in Europe/Prague", lambda raw: ZoneInfo(_text(raw))),
    tuple[str, ...]: ("a list", lambda raw: tuple(filter(None, map(str.strip, raw.split(","))))),
}


def convert(where: str, hint: Any, raw: Any) -> Any:
    """Return a value of the type ``hint``; SettingsError names the setting and the rule."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        rule = f"{', '.join(choices[:-1])} or {choices[-1]}"
        read: Callable[[Any], Any] = lambda raw: choices[choices.index(raw)]  # noqa: E731
    else:
        rule, read = _READERS[hint]
    try:
        return read(raw)
    except (KeyError, TypeError, ValueError, OSError):  # ZoneInfo raises each of them
        raise SettingsError(f"{where}: must be {rule}, not {raw!r}") from None


def mask_url(url: str) -> str:
    """Return an address without its password, wherever that is; rather too much is masked."""
    url = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)(password=)[^&#]*", r"\1***", url)


@dataclass(frozen=True, slots=True)
class EnvironmentSettings:
    """Base of a frozen dataclass with fields that are read from variables: prefix and name."""

    prefix: ClassVar[str] = "INGEST_"
    #: Variables that are not called prefix and field.
    variables: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def variable(cls, field: str) -> str:
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
        return SettingsError(f"{self.variable(field)}: {rule}")
