"""Headers that hold credentials: sent as they are, shown by their names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from worker.errors import SettingsError
from worker.vendors.protocol import DELIVERED, UploadResult, Verdict

#: What is shorter is found in too many words; no vendor gives out such a credential.
_SHORTEST: Final = 6
_CUT_SHORTEST: Final = 4


class SecretHeaders(dict[str, str]):
    """A request's headers whose values appear in no log line, traceback or repr.

    ``secrets`` are what must be in no text of the vendor's either: it may quote what it refuses.
    """

    def __init__(self, headers: Mapping[str, str], secrets: Iterable[str] = ()) -> None:
        super().__init__(headers)
        found = {each for each in secrets if len(each) >= _SHORTEST}
        self._secrets = sorted(found, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, self._secrets)), re.IGNORECASE)

    def hidden(self, text: str) -> str:
        """The text with *** for each secret in it, or for the first part of one cut off by us."""
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

    def hidden_in(self, answer: UploadResult) -> UploadResult:
        """The answer with the vendor's texts so treated; the same one where it has none."""
        taken = answer.verdicts.count(DELIVERED)  # the usual answer costs no look at each record
        if not answer.error and taken == len(answer.verdicts):
            return answer
        verdicts = answer.verdicts and [self._hidden_in(each) for each in answer.verdicts]
        return replace(answer, verdicts=verdicts, error=self.hidden(answer.error))

    def _hidden_in(self, verdict: Verdict) -> Verdict:
        text = self.hidden(verdict.error)
        return verdict if text == verdict.error else replace(verdict, error=text)

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    __str__ = __repr__


def hidden(headers: Mapping[str, str], text: str) -> str:
    """A text without the secrets of a request's headers."""
    return headers.hidden(text) if isinstance(headers, SecretHeaders) else text


def credential(what: str, value: str) -> str:
    """A credential as it can stand in a header; SettingsError names it, and not its value."""
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise SettingsError(f"{what} must be printable ASCII without spaces around it")
    return value
