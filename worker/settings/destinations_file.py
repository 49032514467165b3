"""The file that defines the destinations: TOML, in which `${NAME}` is an environment variable.

`${NAME:-default}` has a default. Secrets are only named here: the file is committed and shared.
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
from .destination import NAME, Destination, KindSettings, check
from .environment import DEFAULT, Environment, convert, lookup

_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def destinations_path(environ: Mapping[str, str]) -> Path:
    """Return the destinations file: the one named, else the checkout's, else the package's own."""
    if named := environ.get("INGEST_DESTINATIONS"):
        return Path(named)
    package = Path(__file__).parents[1]
    checkout = package.parent / "config" / "destinations.toml"
    return checkout if checkout.exists() else package / "config" / "destinations.toml"


def read_destinations(path: Path, environment: Environment) -> dict[str, Destination]:
    """Return the destinations by name, in order; SettingsError names what is wrong, and where."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"destinations file {path}: {what}") from error
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
        vendor = VENDORS[self._value("vendor", str, table.pop("vendor"))]
        kinds = self._kinds(vendor, table.pop("kinds", None))
        values = self._values(vendor, table)
        own = {key: values.pop(key) for key in _OWN if key in values}
        account = vendor(**{key: values[key] for key in _names(vendor) if key in values})
        own.setdefault("enabled", not account.missing())
        destination = Destination(name=self._name, account=account, kinds=kinds, **own)
        check(destination, self._named)
        for settings, keys in ((destination, _OWN), (account, _names(vendor))):
            for key in keys:
                if key not in table:
                    self._environment.note(f"{where}.{key}", str(getattr(settings, key)), DEFAULT)
        return destination

    def _values(self, vendor: type[VendorAccount], table: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a table; settings of other vendors may be there and do nothing."""
        hints: dict[str, Any] = {}
        for each in (*VENDORS.values(), vendor, Destination):
            hints |= get_type_hints(each)
        known = {*_OWN, *(key for each in VENDORS.values() for key in _names(each))}
        if unknown := [key for key in table if key not in known]:
            listed = ", ".join(sorted({"kinds", "vendor", *known}))
            raise SettingsError(f"{self._where}.{unknown[0]}: not a setting; there are: {listed}")
        return {key: self._value(key, hints[key], raw) for key, raw in table.items()}

    def _kinds(self, vendor: type[VendorAccount], tables: Any) -> dict[str, KindSettings]:
        allowed = ", ".join(vendor.kinds)
        if not isinstance(tables, dict) or not tables:
            raise SettingsError(f"{self._where}.kinds: needs at least one of {allowed}")
        kinds = {}
        for kind, table in tables.items():
            where = f"{self._where}.kinds.{kind}"
            if kind not in vendor.kinds:
                raise SettingsError(f"{where}: {vendor.vendor} has {allowed}")
            keys = set(table) if isinstance(table, dict) else set()
            if "batch_records" not in keys or keys - {"batch_records", "partitions"}:
                raise SettingsError(f"{where}: needs batch_records, and may have partitions")
            values = {key: self._value(f"kinds.{kind}.{key}", int, table[key]) for key in table}
            kinds[kind] = KindSettings(**values)
        return kinds

    def _value(self, key: str, hint: Any, raw: Any) -> Any:
        origin = "destinations file"
        if isinstance(raw, str) and (reference := _REFERENCE.fullmatch(raw)):
            value, origin = lookup(self._environment.environ, reference[1])
            self._variables[key] = reference[1] if value is None else origin.split()[-1]
            raw = value if value is not None else (reference[2] or "")
        elif hint is Secret and raw:
            raise SettingsError(
                f"{self._named(key)}: a secret does not belong in this file; name it as ${{NAME}}"
            )
        value = convert(self._named(key), hint, raw)
        self._environment.note(f"{self._where}.{key}", str(value), origin)
        return value

    def _named(self, key: str) -> str:
        """Return what to call a setting in an error: its variable first, if it comes from one."""
        where = f"{self._where}.{key}" if key else self._where
        return f"{self._variables[key]} ({where})" if key in self._variables else where


def _names(settings: type[VendorAccount | Destination]) -> list[str]:
    return [each.name for each in fields(settings)]


_OWN = [key for key in _names(Destination) if key not in ("name", "account", "kinds")]
