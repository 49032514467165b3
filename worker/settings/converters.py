"""Values of settings: from the text of an environment or a file to what the program works with.

Each converter raises SettingsError naming the setting (`where`) and the rule it breaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ..errors import SettingsError
from ..vendors.secret import Secret

Ambiguous = Literal["retry", "dead_letter"]


def _whole_number(where: str, raw: Any) -> int:
    try:
        if isinstance(raw, bool | float):
            raise ValueError
        return int(raw)
    except (TypeError, ValueError):
        raise SettingsError(f"{where}: must be a whole number, not {raw!r}") from None


def number(where: str, raw: Any) -> float:
    """A number that is not negative."""
    try:
        value = float(raw)
        if isinstance(raw, bool) or not 0 <= value < float("inf"):
            raise ValueError
        return value
    except (TypeError, ValueError):
        raise SettingsError(f"{where}: must be a number, 0 or more, not {raw!r}") from None


def _boolean(where: str, raw: Any) -> bool:
    known = {
        True: True,
        False: False,
        "true": True,
        "1": True,
        "false": False,
        "0": False,
        "": False,
    }
    if isinstance(raw, bool | str) and raw in known:
        return known[raw]
    raise SettingsError(f"{where}: must be true or false, not {raw!r}")


def _text(where: str, raw: Any) -> str:
    if not isinstance(raw, str):
        raise SettingsError(f"{where}: must be text, not {raw!r}")
    return raw


def _zone(where: str, raw: Any) -> ZoneInfo:
    try:
        return ZoneInfo(_text(where, raw))
    except (KeyError, ValueError, OSError):
        raise SettingsError(f"{where}: no time zone {raw!r}; a name as in Europe/Prague") from None


def _ambiguous(where: str, raw: Any) -> str:
    if raw not in ("retry", "dead_letter"):
        raise SettingsError(f"{where}: must be retry or dead_letter, not {raw!r}")
    return str(raw)


CONVERTERS: dict[Any, Callable[[str, Any], Any]] = {
    int: _whole_number,
    float: number,
    bool: _boolean,
    str: _text,
    Secret: lambda where, raw: Secret(_text(where, raw)),
    ZoneInfo: _zone,
    tuple[str, ...]: lambda _, raw: tuple(filter(None, (part.strip() for part in raw.split(",")))),
    Ambiguous: _ambiguous,
}


def mask_url(url: str) -> str:
    """An address without its password, wherever in it that is; rather too much is masked."""
    url = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)(password=)[^&#]*", r"\1***", url)
