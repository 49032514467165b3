"""Groups of dead letters, each found again by a short id that reveals nothing of their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from worker.dead_letters.groups import (
    OTHER_TEXTS,
    LetterGroup,
    group_letters,
    masked_name,
    masked_text,
)
from worker.dead_letters.letters import DeadLetter, DeadLetters, LetterFilter, Selection

# Read for one page: takes a second, in a process that accepts records meanwhile.
MAX_READ = 100_000
# Checked in one dry run: a person waits for it.
MAX_CHECKED = 1_000
PER_PAGE = 25
# A vendor may put a value into each of its texts, and no one reads a longer list than this.
MAX_TEXTS = 50
MANY_TEXTS = "Many different texts or events"


@dataclass(frozen=True, slots=True)
class GroupFilter(LetterFilter):
    """The dead letters of one kind and group that failed no later than ``until_ms`` (epoch ms).

    A group has one text and event, or one reason and code whatever the text. An action on a page
    does not touch what failed after the page was made.
    """

    group: str = ""
    until_ms: float = float("inf")

    def __call__(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is in the group."""
        return (
            LetterFilter.__call__(self, letter)
            and letter.failed_at_ms <= self.until_ms
            and self.group in (group_id(letter), _hash(letter.reason, letter.code))
        )


def group_id(letter: DeadLetter) -> str:
    """Return the id of a dead letter's group: a hash of reason, code, text and event name."""
    return _hash(letter.reason, letter.code, masked_text(letter.error), masked_name(letter.name))


def group_href(of: LetterGroup | DeadLetter) -> str:
    """Return the path of a group's page, or of the group of a dead letter."""
    if not isinstance(of, LetterGroup):
        group = group_id(of)
    elif of.text == MANY_TEXTS:
        group = _hash(of.reason, of.code)
    else:
        group = _hash(of.reason, of.code, of.text, of.event)
    return f"/dead-letters/{of.destination}/{of.kind}/{group}"


@lru_cache(maxsize=4096)
def _hash(*parts: Any) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()[:16]


def single_letter(letters: DeadLetters, letter: DeadLetter) -> Selection:
    """Select one dead letter as the page showed it; a later failure of its record is another."""
    return Selection(letters, lambda: iter([letter]))


def first_letters(selection: Selection, limit: int) -> Selection:
    """Select the first dead letters of a selection."""
    return Selection(selection.letters, lambda: islice(selection, limit))


def select_group(letters: DeadLetters, where: GroupFilter) -> tuple[Selection, int]:
    """Select a group among the oldest of its kind, and return how many of the kind were not read.

    What a page counts is what is replayed or purged from it, and no more.
    """
    oldest, unread = _oldest(letters, where.kind)
    return Selection(letters, lambda: filter(where, oldest)), unread


def find_groups(letters: DeadLetters) -> tuple[list[LetterGroup], int]:
    """Return the groups among the oldest dead letters of each kind, and how many were not read."""
    found = [_oldest(letters, kind) for kind in letters.destination.kinds]
    groups = [group for oldest, _ in found for group in collapse_many(group_letters(oldest))]
    return groups, sum(unread for _, unread in found)


def _oldest(letters: DeadLetters, kind: str | None) -> tuple[Selection, int]:
    selection = letters.select(LetterFilter(kind=kind))
    return first_letters(selection, MAX_READ), max(0, selection.count() - MAX_READ)


def collapse_many(groups: Iterable[LetterGroup]) -> Iterator[LetterGroup]:
    """Merge the groups of one kind that share reason and code, where they have too many texts."""
    by_code: dict[tuple[str, int | None], list[LetterGroup]] = {}
    for group in groups:
        by_code.setdefault((group.reason, group.code), []).append(group)
    for alike in by_code.values():
        if len(alike) > MAX_TEXTS or any(group.text == OTHER_TEXTS for group in alike):
            yield merge_groups(alike)
        else:
            yield from alike


def merge_groups(groups: Sequence[LetterGroup]) -> LetterGroup:
    """Merge groups of one kind, reason and code; a single group stays as it is."""
    first, *others = groups
    if not others and first.text != OTHER_TEXTS:
        return first
    return replace(
        first,
        text=MANY_TEXTS,
        event="",
        count=sum(group.count for group in groups),
        first_ms=min(group.first_ms for group in groups),
        last_ms=max(group.last_ms for group in groups),
    )
