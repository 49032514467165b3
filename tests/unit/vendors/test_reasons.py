"""The reasons of dead letters: each explained, each known to whoever compares them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.vendors.protocol import ResponseClass
from worker.vendors.reasons import BLAMELESS, UNKNOWN_REASON, DeadLetterReason, reason_text

LUA = Path("worker/buffer/lua")


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_reason_text_of_each_reason_explains_it(reason: DeadLetterReason) -> None:
    """Every reason has a title of its own, a meaning and a remedy in sentences."""
    text = reason_text(reason.value)
    assert text.title
    assert text.meaning.endswith(".")
    assert text.remedy.endswith(".")
    assert sum(reason_text(other).title == text.title for other in DeadLetterReason) == 1


def test_reason_text_of_an_unknown_reason_says_to_check() -> None:
    """A reason that a later version stored is shown as it is."""
    assert reason_text("made_up_later") is UNKNOWN_REASON


def test_blameless_reasons_are_those_that_no_record_caused() -> None:
    """An outage never trips the flood breaker; whatever a record may have caused does."""
    assert set(BLAMELESS) == {"expired", "ambiguous", "overtaken"}


def test_refusals_of_a_whole_request_are_reasons() -> None:
    """A dry run and a batch of one both die under the name of the refusal."""
    for refusal in (ResponseClass.REFUSED, ResponseClass.TOO_LARGE):
        assert refusal.value in [*DeadLetterReason]


def test_reasons_compared_in_lua_are_in_the_enum() -> None:
    """The scripts store the reasons that they are passed, and compare one of them alone."""
    lua = "".join(path.read_text() for path in LUA.rglob("*.lua"))
    compared = set(re.findall(r"verdict\[2\] == '(\w+)'", lua))
    assert compared == {DeadLetterReason.TOO_LARGE}
    assert not any(f"{reason} = true" in lua for reason in DeadLetterReason)


def test_reasons_each_have_a_row_in_the_operators_docs() -> None:
    """Operators find every reason in docs/operations.md, and no other."""
    docs = Path("docs/operations.md").read_text()
    table = docs.split("| reason | what it means | replay? |")[1].split("\n\n")[0]
    documented = {
        word.strip("` ") for row in table.splitlines()[2:] for word in row.split("|")[1].split(",")
    }
    assert documented == set(DeadLetterReason)
