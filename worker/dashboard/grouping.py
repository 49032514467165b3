"""Dead letters of one cause: found again by a short id that tells nothing of their content."""

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

# Looked at for one page: a second, in a process that takes records in meanwhile.
MOST_LOOKED_AT = 100_000
# Asked about in one dry run: a person waits for it.
MOST_CHECKED = 1_000
PER_PAGE = 25
# A vendor may put a value into each of its texts: a list of so many is read by nobody.
MOST_TEXTS = 50
MANY = "Many different texts or events"


@dataclass(frozen=True, slots=True)
class Cause(LetterFilter):
    """The dead letters of one kind and cause that died no later than ``until_ms`` (epoch ms).

    The cause is one text and event, or a reason and code whatever the text. What dies after a
    person looked at a page is not touched by what the person does on it.
    """

    cause: str = ""
    until_ms: float = float("inf")

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            LetterFilter.__call__(self, letter)
            and letter.failed_at_ms <= self.until_ms
            and self.cause in (cause_of(letter), _id(letter.reason, letter.code))
        )


def cause_of(letter: DeadLetter) -> str:
    """The id of what killed it: of reason, code, text and event name."""
    return _id(letter.reason, letter.code, masked_text(letter.error), masked_name(letter.name))


def cause_href(of: LetterGroup | DeadLetter) -> str:
    """Where a group is shown, or the group of a dead letter."""
    if not isinstance(of, LetterGroup):
        cause = cause_of(of)
    elif of.text == MANY:
        cause = _id(of.reason, of.code)
    else:
        cause = _id(of.reason, of.code, of.text, of.event)
    return f"/dead-letters/{of.destination}/{of.kind}/{cause}"


@lru_cache(maxsize=4096)
def _id(*parts: Any) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()[:16]


class Exactly(Selection):
    """One dead letter as a person saw it; the same record, dead once more since, is another."""

    def __init__(self, letters: DeadLetters, letter: DeadLetter) -> None:
        super().__init__(letters, LetterFilter(id=letter.id), {}, {})
        self._letter = letter

    def __iter__(self) -> Iterator[DeadLetter]:
        yield self._letter


class FirstOf(Selection):
    """The first so many of a selection."""

    def __init__(self, selection: Selection, most: int) -> None:
        super().__init__(selection.letters, selection.where, {}, {})
        self._all = selection
        self._most = most

    def __iter__(self) -> Iterator[DeadLetter]:
        return islice(iter(self._all), self._most)


class OfCause(Selection):
    """The dead letters of one cause among the oldest of their kind that a page looks at.

    What a page counts is what is replayed or purged from it, no more.
    """

    def __init__(self, letters: DeadLetters, cause: Cause) -> None:
        super().__init__(letters, cause, {}, {})
        every = letters.select(LetterFilter(kind=cause.kind))
        self._oldest = FirstOf(every, MOST_LOOKED_AT)
        self.unseen = max(0, every.count() - MOST_LOOKED_AT)

    def __iter__(self) -> Iterator[DeadLetter]:
        return filter(self.where, self._oldest)


@dataclass(frozen=True, slots=True)
class Groups:
    """A destination's groups, the largest first; ``unseen`` dead letters were not looked at."""

    groups: list[LetterGroup]
    unseen: int


def groups_of(letters: DeadLetters) -> Groups:
    """Group the oldest dead letters of each kind, as many as a page may take to read."""
    groups: list[LetterGroup] = []
    unseen = 0
    for kind in letters.destination.kinds:
        every = letters.select(LetterFilter(kind=kind))
        groups += _readable(group_letters(FirstOf(every, MOST_LOOKED_AT)))
        unseen += max(0, every.count() - MOST_LOOKED_AT)
    return Groups(groups, unseen)


def _readable(groups: Iterable[LetterGroup]) -> Iterator[LetterGroup]:
    """The groups of one kind, those of a reason and code with too many texts as one."""
    alike: dict[tuple[str, int | None], list[LetterGroup]] = {}
    for group in groups:
        alike.setdefault((group.reason, group.code), []).append(group)
    for several in alike.values():
        if len(several) > MOST_TEXTS or any(group.text == OTHER_TEXTS for group in several):
            yield together(several)
        else:
            yield from several


def together(groups: Sequence[LetterGroup]) -> LetterGroup:
    """Groups of one kind, reason and code as one; a single one stays as it is."""
    first, *others = groups
    if not others and first.text != OTHER_TEXTS:
        return first
    return replace(
        first,
        text=MANY,
        event="",
        count=sum(group.count for group in groups),
        first_ms=min(group.first_ms for group in groups),
        last_ms=max(group.last_ms for group in groups),
    )
