"""A credential that shows itself only when asked."""

from __future__ import annotations


class Secret(str):
    """A string that shows itself only when asked for with `reveal`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')" if self.reveal() else "Secret('')"

    def __str__(self) -> str:
        return "***" if self.reveal() else ""

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def reveal(self) -> str:
        """Return the secret itself."""
        return str.__str__(self)


NO_SECRET = Secret("")
