"""A dead letter's record as a person typed it: the text, held against the published rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from worker.dead_letters.letters import DeadLetter
from worker.errors import InvalidRecord
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared


@dataclass(frozen=True, slots=True)
class Edited:
    """What a person typed: the text, the record in it, and what is wrong with that.

    ``prepared`` is None when it breaks a rule; not ``readable``: the text is no JSON. ``hidden``:
    nobody typed anything, it is the record itself, and its values are not to be shown.
    """

    text: str
    record: Any
    errors: Mapping[str, Sequence[str]]
    prepared: Prepared | None = None
    readable: bool = True
    hidden: bool = False


def typed_record(text: str, destination: Destination, letter: DeadLetter, now_s: float) -> Edited:
    """The text held against the schema, as what is to be sent instead of the dead letter."""
    try:
        record = json.loads(text, parse_constant=_refuse)
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return Edited(text, None, {"": [_words(error)]}, readable=False)
    try:
        prepared = _prepared(destination, letter, record, now_s)
    except InvalidRecord as error:
        return Edited(text, record, error.errors)
    return Edited(text, record, {}, prepared)


def _prepared(destination: Destination, letter: DeadLetter, record: Any, now_s: float) -> Prepared:
    if not destination.vendor:
        raise InvalidRecord({"": ["this destination is not configured: no rules are known"]})
    prepared = destination.account.schema().prepare(record, now_s=int(now_s))
    if prepared.kind != letter.kind:
        raise InvalidRecord({"type": [f"must stay {letter.kind}, as it was accepted"]})
    return prepared


def _words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"This is no JSON: {error.msg}, line {error.lineno}, column {error.colno}."
    if isinstance(error, UnicodeEncodeError):
        return "This is no text that can be sent: half of a character stands alone in it."
    return "This is no JSON that can be sent: a number is none, or it is nested too deeply."


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
