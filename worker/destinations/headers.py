"""Headers that hold credentials: sent as they are, shown by their names alone."""

from __future__ import annotations

from worker.errors import SettingsError


class SecretHeaders(dict[str, str]):
    """A request's headers whose values appear in no log line, traceback or repr."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    __str__ = __repr__


def credential(what: str, value: str) -> str:
    """A credential as it can stand in a header; SettingsError names it, and not its value."""
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise SettingsError(f"{what} must be printable ASCII without spaces around it")
    return value
