"""CleverTap's page in the documentation, held against the code."""

from __future__ import annotations

import re

from support.environment import ROOT
from worker.vendors.clevertap import rules
from worker.vendors.clevertap.account import REGIONS
from worker.vendors.clevertap.upload import PERMANENT_CODES, SERVER_ERROR_CODE
from worker.vendors.validation import Rule

PAGE = (ROOT / "docs" / "destinations" / "clevertap.md").read_text()


def codes_in(section: str) -> set[int]:
    """The vendor's codes that a section names, ranges included."""
    text = PAGE.split(f"## {section}")[1].split("\n## ")[0]
    found: set[int] = set()
    for first, last in re.findall(r"\b(5\d\d)(?:-(5\d\d))?\b", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_docs_every_rule_with_a_code_is_documented() -> None:
    """The codes that a refusal carries are the page's; 522 is made with the account's limit."""
    coded = {rule.code for rule in vars(rules).values() if isinstance(rule, Rule) and rule.code}
    assert codes_in("What is rejected before it is enqueued") - {512} == (coded | {522}) - {512}


def test_docs_every_code_of_a_response_is_documented() -> None:
    """What sends a record to the dead letters, and what has it tried again."""
    assert codes_in("What the responses mean") == PERMANENT_CODES | {SERVER_ERROR_CODE}


def test_docs_regions_limits_and_words_match_the_code() -> None:
    """Each region, each number of the published limits, each type of token."""
    named = [*REGIONS, *rules.TOKEN_TYPES, *rules.IDENTITY_KEYS]
    assert not [name for name in named if f"`{name}`" not in PAGE]
    assert f"`event_properties` ({rules.EVENT_PROPERTIES})" in PAGE
    assert f"at most {rules.PROFILE_PROPERTIES} custom" in PAGE
    assert f"{rules.KEY_LENGTH} characters in an event" in PAGE
    assert f"{rules.VALUE_BYTES} bytes in UTF-8" in PAGE
    assert f"less than {rules.IDENTITY_CHARS + 1} characters" in PAGE
    assert f"at most {rules.CHARGED_ITEMS} objects" in PAGE
