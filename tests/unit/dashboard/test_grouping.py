"""Groups of dead letters: which letters are in one, its id, and groups with too many texts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from support.stored import DEAD_PROFILE as LETTER
from worker.dashboard.grouping import (
    MANY_TEXTS,
    MAX_TEXTS,
    GroupFilter,
    collapse_many,
    group_href,
    group_id,
    merge_groups,
)
from worker.dead_letters.groups import OTHER_TEXTS, LetterGroup, group_letters


def group(text: str, count: int = 1, *, code: int = 516, at_ms: int = 1000) -> LetterGroup:
    """Return a group with that text, all failed at one time."""
    return LetterGroup("clevertap", "profile", "refused", code, text, "", count, at_ms, at_ms)


def group_in(href: str) -> str:
    """Return the id at the end of a path."""
    return href.rpartition("/")[2]


def test_group_href_of_a_letter_is_the_one_of_its_group() -> None:
    """The record's page links back to the page that lists it."""
    (found,) = group_letters([LETTER])
    assert group_href(LETTER) == group_href(found)
    assert group_href(LETTER) == f"/dead-letters/clevertap/profile/{group_id(LETTER)}"


@pytest.mark.parametrize(
    "changed", [{"reason": "expired"}, {"code": 515}, {"error": "Other."}, {"name": "Viewed"}]
)
def test_group_id_differs_by_reason_code_text_and_event(changed: dict[str, Any]) -> None:
    """Each of them makes a group of its own."""
    assert group_id(replace(LETTER, **changed)) != group_id(LETTER)


def test_group_id_ignores_positions_and_personal_data() -> None:
    """What differs only there is one group."""
    texts = ("a@shop.example: no. Skipped record number : 1", "b@shop.example: no.")
    first, second = (replace(LETTER, error=text, id=f"{at:032x}") for at, text in enumerate(texts))
    assert group_id(first) == group_id(second)


def test_group_filter_takes_one_text_or_one_code_up_to_a_moment() -> None:
    """A page's group is found by its text, or by its code when its texts are too many."""
    (own,) = group_letters([LETTER])
    many = replace(own, text=MANY_TEXTS)
    for found in (own, many):
        where = GroupFilter(kind="profile", group=group_in(group_href(found)), until_ms=1000)
        assert where(LETTER)
        assert not where(replace(LETTER, entry="1001-0"))
        assert not where(replace(LETTER, kind="event"))
        assert not where(replace(LETTER, code=515))
    other = replace(LETTER, error="Other.")
    by_text, by_code = (
        GroupFilter(kind="profile", group=group_in(group_href(each))) for each in (own, many)
    )
    assert (by_text(other), by_code(other)) == (False, True)


def test_collapse_many_merges_a_code_with_too_many_texts() -> None:
    """The others stay as they are."""
    texts = [group(f"no {at}", 2, at_ms=1000 + at) for at in range(MAX_TEXTS + 1)]
    alone = group("No.", 7, code=515)
    merged, other = collapse_many([*texts, alone])
    assert (merged.text, merged.count) == (MANY_TEXTS, 2 * (MAX_TEXTS + 1))
    assert (merged.first_ms, merged.last_ms) == (1000, 1000 + MAX_TEXTS)
    assert other == alone
    assert list(collapse_many(texts[1:])) == texts[1:]


def test_collapse_many_merges_what_was_not_kept_apart_for_memory() -> None:
    """A code with texts that were counted together is one group, however few they are."""
    (merged,) = collapse_many([group("no"), group(OTHER_TEXTS, 5)])
    assert (merged.text, merged.count) == (MANY_TEXTS, 6)


def test_merge_groups_of_a_single_one_keeps_it() -> None:
    """Unless its texts were counted together."""
    assert merge_groups([group("No.")]) == group("No.")
    assert merge_groups([group(OTHER_TEXTS, 3)]).text == MANY_TEXTS
