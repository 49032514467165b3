"""Headers that hold credentials: sent as they are, shown by their names alone."""

from __future__ import annotations


class SecretHeaders(dict[str, str]):
    """A request's headers whose values appear in no log line, traceback or repr."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    __str__ = __repr__
