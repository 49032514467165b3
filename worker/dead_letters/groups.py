"""Dead letters grouped by the reason of their failure: a thousand of one cause are one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from .letters import DeadLetter, iso

# A vendor that puts a value into each text must not fill our memory.
MOST_GROUPS = 10_000
OTHER_TEXTS = "(more texts)"

# A vendor may quote what it refuses. Numbers of less than eight digits are limits, codes and sizes,
# unless they are grouped like those of telephones and cards; a date stays.
_PERSONAL = re.compile(
    r"""[^\s"'<>()]{1,64}@[^\s"'<>(),;]{1,255}
    |\+[0-9][0-9 .-]{5,20}[0-9]
    |[0-9]{8,}
    |(?<![0-9-])(?![0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9]))
     \(?[0-9]{2,6}(?:\)[ ]?|[ .-])[0-9]{2,6}(?:[ .-][0-9]{2,7})+
    |\([0-9]{2,6}\)[ ]?[0-9]{5,}""",
    re.VERBOSE,
)
_POSITION = re.compile(r"\s*Skipped record number\s*:\s*[0-9]+[\s.]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """Similar dead letters: how many, and when the first and the last of them failed (epoch ms)."""

    destination: str
    kind: str
    reason: str
    code: int | None
    text: str
    event: str
    count: int
    first_ms: int
    last_ms: int

    def to_json(self) -> dict[str, Any]:
        """Return what `dlq summary --json` prints."""
        fields = asdict(self)
        first, last = iso(fields.pop("first_ms")), iso(fields.pop("last_ms"))
        return {**fields, "first": first, "last": last}


def group_letters(letters: Iterable[DeadLetter], most: int = MOST_GROUPS) -> list[LetterGroup]:
    """Group by destination, kind, reason, code, text and event name, the largest group first.

    Beyond ``most`` groups, those that differ in text only are merged.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    for letter in letters:
        common = (letter.destination, letter.kind, letter.reason, letter.code)
        key = (*common, masked_text(letter.error), masked_name(letter.name))
        if key not in found and len(found) >= most:
            key = (*common, OTHER_TEXTS, "")
        failed = letter.failed_at_ms
        entry = found.setdefault(key, [0, failed, failed])
        entry[0] += 1
        entry[1], entry[2] = min(entry[1], failed), max(entry[2], failed)
    groups = [LetterGroup(*key, *entry) for key, entry in found.items()]
    return sorted(groups, key=lambda group: -group.count)


def masked_text(error: str) -> str:
    """Return a vendor's text without what differs each time: the record's position in its request,
    and addresses and long numbers, which are personal."""
    return masked_name(_POSITION.sub("", error[:1000])).strip()


@lru_cache(maxsize=1024)
def masked_name(event: str) -> str:
    """Return an event's name without addresses and long numbers, which may be personal."""
    return _PERSONAL.sub("•••", event)
