"""A credential that shows itself only when asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from worker.errors import SettingsError

from .protocol import DELIVERED, UploadResult, Verdict


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


#: Shorter strings would match ordinary words; no vendor issues credentials this short.
_SHORTEST: Final = 6
_CUT_SHORTEST: Final = 4


class SecretHeaders(dict[str, str]):
    """A request's headers, with values that do not appear in log lines, tracebacks or repr.

    ``secrets`` are also removed from the vendor's texts, which may quote what was refused.
    """

    def __init__(self, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        super().__init__(headers)
        found = {each for each in secrets if len(each) >= _SHORTEST}
        self._secrets = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._secrets)), re.IGNORECASE)

    def hidden(self, text: str) -> str:
        """Return the text with *** for each secret, also for one that we cut off at the end."""
        if not text or not self._secrets:
            return text
        text = self._pattern.sub("***", text)
        if not text.endswith("..."):
            return text
        kept = text[:-3]
        for secret in self._secrets:
            for length in range(len(secret) - 1, _CUT_SHORTEST - 1, -1):
                if kept.lower().endswith(secret[:length].lower()):
                    return f"{kept[:-length]}***..."
        return text

    def hidden_in(self, result: UploadResult) -> UploadResult:
        """Return the result with its texts treated like that."""
        delivered = result.verdicts.count(DELIVERED)  # usually all: no need to look at each
        if not result.error and delivered == len(result.verdicts):
            return result
        verdicts = result.verdicts and [self._hidden_in(each) for each in result.verdicts]
        return replace(result, verdicts=verdicts, error=self.hidden(result.error))

    def _hidden_in(self, verdict: Verdict) -> Verdict:
        text = self.hidden(verdict.error)
        return verdict if text == verdict.error else replace(verdict, error=text)

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    __str__ = __repr__


def hidden(headers: Mapping[str, str], text: str) -> str:
    """Return a text without the secrets of a request's headers."""
    return headers.hidden(text) if isinstance(headers, SecretHeaders) else text


def credential(what: str, value: str) -> str:
    """Return a credential that fits a header; SettingsError names it, but not its value."""
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise SettingsError(f"{what} must be printable ASCII without spaces around it")
    return value
