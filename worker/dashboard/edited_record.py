"""A dead letter's record as a person edited it, checked against the vendor's published rules."""

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
class EditedRecord:
    """The text, the record in it, and the errors in that.

    ``prepared`` is None if it breaks a rule, ``is_json`` False if the text cannot be read.
    """

    text: str
    record: Any
    errors: Mapping[str, Sequence[str]]
    prepared: Prepared | None = None
    is_json: bool = True


def parse_edited(
    text: str, destination: Destination, letter: DeadLetter, now_s: float
) -> EditedRecord:
    """Parse and validate the text that is to replace a dead letter's record."""
    try:
        record = json.loads(text, parse_constant=_refuse)
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return EditedRecord(text, None, {"": [_explain(error)]}, is_json=False)
    try:
        prepared = _prepare(destination, letter, record, now_s)
    except InvalidRecord as error:
        return EditedRecord(text, record, error.errors)
    return EditedRecord(text, record, {}, prepared)


def _prepare(destination: Destination, letter: DeadLetter, record: Any, now_s: float) -> Prepared:
    if not destination.vendor:
        raise InvalidRecord({"": ["this destination is not configured: its rules are not known"]})
    prepared = destination.account.schema().prepare(record, now_s=int(now_s))
    if prepared.kind != letter.kind:
        raise InvalidRecord({"type": [f"must stay {letter.kind}, as it was accepted"]})
    return prepared


def _explain(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"Not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}."
    if isinstance(error, UnicodeEncodeError):
        return "Not valid text: it contains an unpaired surrogate character."
    return "Not valid JSON: a number is not finite, or the nesting is too deep."


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
