"""The file that defines the destinations: TOML, in which `${NAME}` stands for the environment's.

`${NAME:-default}` has a value for where the environment has none. Secrets are named and never
written here: the file is one to commit and to share.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from ..errors import SettingsError
from ..vendors.protocol import VendorAccount
from ..vendors.registry import VENDORS
from ..vendors.secret import Secret
from .converters import CONVERTERS
from .destination import NAME, Destination, KindSettings, check
from .environment import DEFAULT, Environment, lookup

_FILE = "destinations file"
_OWN = [each.name for each in fields(Destination) if each.name not in ("name", "account", "kinds")]
_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def destinations_path(environ: Mapping[str, str]) -> Path:
    """The destinations file: the one named, else the checkout's, else the package's own."""
    if named := environ.get("INGEST_DESTINATIONS"):
        return Path(named)
    package = Path(__file__).parents[1]
    checkout = package.parent / "config" / "destinations.toml"
    return checkout if checkout.exists() else package / "config" / "destinations.toml"


def read_destinations(path: Path, environment: Environment) -> dict[str, Destination]:
    """The destinations by name, in the file's order; SettingsError names what is wrong where."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"destinations file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"destinations file {path}: {error}") from error
    tables = document.pop("destinations", None)
    if document or not isinstance(tables, dict) or not tables:
        raise SettingsError(
            f"destinations file {path}: needs [destinations.NAME] tables, and nothing else"
        )
    return {name: _Table(name, environment).destination(table) for name, table in tables.items()}


class _Table:
    """Reads one destination's table, and notes where each of its values came from."""

    def __init__(self, name: str, environment: Environment) -> None:
        self._name = name
        self._where = f"destinations.{name}"
        self._environment = environment
        self._variables: dict[str, str] = {}

    def destination(self, table: Any) -> Destination:
        where = self._where
        if not NAME.fullmatch(self._name):
            raise SettingsError(
                f"{where}: a name is of a-z, 0-9, - and _, and begins with a letter or digit"
            )
        if not isinstance(table, dict) or table.get("vendor") not in tuple(VENDORS):
            raise SettingsError(f"{where}.vendor: must be one of {', '.join(VENDORS)}")
        table = dict(table)
        self._environment.note(f"{where}.vendor", table["vendor"], _FILE)
        account_class = VENDORS[table.pop("vendor")]
        kinds = self._kinds(account_class, table.pop("kinds", None))
        values = self._values(table)
        of_account = [each.name for each in fields(account_class)]
        account = account_class(**{key: values[key] for key in of_account if key in values})
        own = {key: values[key] for key in _OWN if key in values}
        own.setdefault("enabled", not account.missing())
        destination = Destination(name=self._name, account=account, kinds=kinds, **own)
        check(destination, self._named)
        for settings, keys in ((destination, _OWN), (account, of_account)):
            for key in keys:
                if key not in table:
                    self._environment.note(f"{where}.{key}", str(getattr(settings, key)), DEFAULT)
        return destination

    def _values(self, table: Mapping[str, Any]) -> dict[str, Any]:
        hints = _hints()
        known = {"vendor", "kinds", *hints}
        values: dict[str, Any] = {}
        for key, raw in table.items():
            if key not in hints:
                raise SettingsError(
                    f"{self._where}.{key}: not a setting; there are: {', '.join(sorted(known))}"
                )
            values[key] = self._value(key, hints[key], raw)
        return values

    def _kinds(self, account: type[VendorAccount], tables: Any) -> dict[str, KindSettings]:
        allowed = ", ".join(account.kinds)
        if not isinstance(tables, dict) or not tables:
            raise SettingsError(f"{self._where}.kinds: needs at least one of {allowed}")
        for kind in tables:
            if kind not in account.kinds:
                raise SettingsError(f"{self._where}.kinds.{kind}: {account.vendor} has {allowed}")
        return {kind: self._kind(f"kinds.{kind}", table) for kind, table in tables.items()}

    def _kind(self, place: str, table: Any) -> KindSettings:
        known = isinstance(table, dict) and not set(table) - {"batch_records", "partitions"}
        if not known or "batch_records" not in table:
            raise SettingsError(
                f"{self._named(place)}: needs batch_records, and may have partitions"
            )
        values = {key: self._value(f"{place}.{key}", int, raw) for key, raw in table.items()}
        return KindSettings(**values)

    def _value(self, key: str, hint: Any, raw: Any) -> Any:
        origin = _FILE
        if isinstance(raw, str) and (reference := _REFERENCE.fullmatch(raw)):
            value, origin = lookup(self._environment.environ, reference[1])
            self._variables[key] = reference[1] if value is None else origin.split()[-1]
            raw = value if value is not None else (reference[2] or "")
        elif hint is Secret and raw:
            raise SettingsError(
                f"{self._named(key)}: a secret does not belong in this file; name it as ${{NAME}}"
            )
        converted = CONVERTERS[hint](self._named(key), raw)
        self._environment.note(f"{self._where}.{key}", str(converted), origin)
        return converted

    def _named(self, key: str) -> str:
        """Return what to call a setting in an error: its variable first, if it comes from one."""
        where = f"{self._where}.{key}" if key else self._where
        return f"{self._variables[key]} ({where})" if key in self._variables else where


def _hints() -> dict[str, Any]:
    """Return the type of each key of a table; those of other vendors are let through, unused."""
    declared = (Destination, *VENDORS.values())
    hints = {key: hint for each in declared for key, hint in get_type_hints(each).items()}
    keys = [*_OWN, *(each.name for account in VENDORS.values() for each in fields(account))]
    return {key: hints[key] for key in keys}
