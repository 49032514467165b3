"""From the text of an environment, or a TOML value, to what the program works with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin
from zoneinfo import ZoneInfo

from ..errors import SettingsError
from ..vendors.secret import Secret


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
