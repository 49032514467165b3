"""Dead letters of one cause: found again by a short id that tells nothing of their content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from worker.dead_letters.groups import Group, summary, text_of
from worker.dead_letters.letters import DeadLetter, DeadLetters, Filter, Selection

# Looked at for one page: a second, in a process that takes records in meanwhile.
MOST_LOOKED_AT = 100_000
# Asked about in one dry run: a person waits for it.
MOST_CHECKED = 1_000
PER_PAGE = 25


@dataclass(frozen=True, slots=True)
class Cause(Filter):
    """The dead letters of one kind and cause that died no later than ``until_ms`` (epoch ms).

    What dies after a person looked at a page is not touched by what the person does on it.
    """

    cause: str = ""
    until_ms: float = float("inf")

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            Filter.__call__(self, letter)
            and letter.failed_at_ms <= self.until_ms
            and cause_of(letter) == self.cause
        )


def cause_of(letter: DeadLetter) -> str:
    """The id of what killed it: of reason, code, text and event name."""
    return _id(letter.reason, letter.code, text_of(letter.error), letter.name)


def cause_href(of: Group | DeadLetter) -> str:
    """Where a group is shown, or the group of a dead letter."""
    cause = _id(of.reason, of.code, of.text, of.event) if isinstance(of, Group) else cause_of(of)
    return f"/dead-letters/{of.destination}/{of.kind}/{cause}"


def _id(*parts: Any) -> str:
    return sha256(orjson.dumps(parts)).hexdigest()[:16]


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
        every = letters.select(Filter(kind=cause.kind))
        self._oldest = FirstOf(every, MOST_LOOKED_AT)
        self.unseen = max(0, every.count() - MOST_LOOKED_AT)

    def __iter__(self) -> Iterator[DeadLetter]:
        return filter(self.where, self._oldest)


@dataclass(frozen=True, slots=True)
class Groups:
    """A destination's groups, the largest first; ``unseen`` dead letters were not looked at."""

    groups: list[Group]
    unseen: int


def groups_of(letters: DeadLetters) -> Groups:
    """Group the oldest dead letters of each kind, as many as a page may take to read."""
    groups: list[Group] = []
    unseen = 0
    for kind in letters.destination.kinds:
        every = letters.select(Filter(kind=kind))
        groups += summary(FirstOf(every, MOST_LOOKED_AT))
        unseen += max(0, every.count() - MOST_LOOKED_AT)
    return Groups(groups, unseen)
