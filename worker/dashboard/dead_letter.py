"""One dead letter: hidden until requested, edited, checked, replayed or purged."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

from starlette.responses import Response

from worker.dead_letters.groups import masked_text
from worker.dead_letters.letters import DeadLetter, DeadLetters
from worker.dead_letters.replay import NotReplayed, Replacement, Replayer
from worker.errors import IngestError, InvalidRecord
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome, Prepared

from .audit_log import AuditEntry
from .context import Context, vendor_check
from .endpoint import FormRequest, NotFound, redirect, user_page
from .grouping import single_letter
from .record_view import RecordLine, masked, pretty, record_lines

_FAILED_AGAIN = (
    "Nothing was done: the record was replayed meanwhile and failed again. This is its state now."
)


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


class DeadLetterPage:
    """A dead letter, and the outcome of an action on it; NotFound if there is none, or no more.

    Without ``edited`` the record's values stay hidden, and those that the vendor quoted stay so
    unless ``revealed``, which the audit log records.
    """

    def __init__(self, context: Context, request: FormRequest) -> None:
        self._context = context
        self._request = request
        self._buffer = context.buffer(request.params["name"])
        self.destination = self._buffer.destination
        letters = DeadLetters(context.client, self.destination)
        letter = letters.find(_record_id(request.params["id"]))
        if letter is None:
            raise NotFound
        self.letter = letter
        self._alone = single_letter(letters, letter)
        self.field = self.destination.account.field_of(letter.code)
        self.edited: EditedRecord | None = None
        self.revealed = False
        self.success = self.failure = ""

    @property
    def is_open(self) -> bool:
        """Whether values may be seen: the stored ones were revealed, or some were typed."""
        return self.edited is not None and (self.revealed or "record" in self._request.form)

    def show(self) -> Response:
        """Show the record, with its values hidden unless an action has shown them."""
        edited, lines = self.edited, list[RecordLine]()
        if edited is None:
            errors = {self.field: [masked_text(self.letter.error)]} if self.field else {}
            lines = record_lines(masked(self.letter.record), errors)
        elif edited.is_json:
            record = edited.record if self.is_open else masked(edited.record)
            lines = record_lines(record, edited.errors)
        unreadable = edited.errors[""] if edited and not lines else []
        values = {
            "view": self,
            "state": self._buffer.status().state,
            "lines": lines,
            "unreadable": unreadable,
            "errors": sum(len(line.errors) for line in lines) + len(unreadable),
        }
        return user_page(self._request, "dead_letter.html", "letters", values)

    def act(self) -> Response:
        """Do what the button says to the dead letter that the page showed, and to no other."""
        form = self._request.form
        if form.get("entry", self.letter.entry) != self.letter.entry:
            # It failed again, perhaps with other content. Keep what was typed.
            if "record" in form:
                self._edit()
            self.failure = _FAILED_AGAIN
            return self.show()
        actions = {
            "show": self._reveal,
            "check": self._check_rules,
            "vendor": self._check_with_vendor,
            "replay": self._replay,
            "purge": self._purge,
        }
        return actions.get(form.get("action", ""), self.show)()

    def _reveal(self) -> Response:
        """Show the values; the audit entry comes first, so that none are seen without a trace."""
        self._context.audit.append(self._audit_entry("saw the record"))
        record = self.letter.record
        self.edited, self.revealed = EditedRecord(pretty(record), record, {}), True
        return self.show()

    def _check_rules(self) -> Response:
        if not self._edit().errors:
            self.success = "It follows every published rule."
        return self.show()

    def _check_with_vendor(self) -> Response:
        edited = self._edit()
        if edited.prepared is None:
            return self.show()
        try:
            with vendor_check(self.destination) as dry_run:
                verdict = dry_run(edited.prepared.kind, [edited.prepared.body])[0]
        except IngestError as error:
            self.failure = f"Not checked: {masked_text(str(error))}"
            return self.show()
        self._context.audit.append(self._audit_entry("checked with the vendor"))
        if verdict.outcome is Outcome.DELIVERED:
            self.success = "The vendor would accept it: replay it."
            return self.show()
        code = f" (code {verdict.code})" if verdict.code else ""
        text = masked_text(verdict.error)
        field = self.destination.account.field_of(verdict.code)
        self.edited = replace(edited, errors={field: [text]} if field else {})
        self.failure = f"The vendor would refuse it{code}: {text}"
        return self.show()

    def _replay(self) -> Response:
        if not self.destination.vendor:
            self.failure = "This destination is not configured, so it would not be delivered."
            return self.show()
        replayer = Replayer(self._context.client, self.destination)
        run, action, outcome = partial(replayer.replay, self._alone), "replay", "replayed"
        if "record" in self._request.form:
            edited = self._edit()
            if edited.prepared is None:
                return self.show()
            edits = [Replacement(0, self.letter.id, edited.record, self.letter.failed_at_ms)]
            run = partial(replayer.replay_edited, edits)
            action, outcome = "replay, edited", "replayed, edited"
        not_replayed: list[NotReplayed] = []
        replayed = self._context.audit.run(
            self._audit_entry(action), lambda: (outcome, run(not_replayed.append))
        )
        if replayed:
            return redirect(f"/dead-letters?done=replayed&n={replayed}")
        errors = [error for each in not_replayed for error in each.errors.items()]
        rules = [f"{name}: {' '.join(texts)}" for name, texts in errors]
        self.failure = " ".join(("Not replayed.", *rules))
        return self.show()

    def _purge(self) -> Response:
        entry = self._audit_entry("purge")
        purged = self._context.audit.run(entry, lambda: ("purged", self._alone.purge()))
        return redirect(f"/dead-letters?done=purged&n={purged}")

    def _edit(self) -> EditedRecord:
        """Parse what was typed; a form without text means the stored record."""
        text = self._request.form.get("record")
        text = pretty(self.letter.record) if text is None else text
        self.edited = parse_edited(text, self.destination, self.letter, time.time())
        return self.edited

    def _audit_entry(self, action: str) -> AuditEntry:
        what = f"{self.letter.kind}, record {UUID(self.letter.id)}"
        return AuditEntry(self._request.user, action, self.destination.name, what, 1)


def _record_id(text: str) -> str:
    try:
        return UUID(text).hex
    except ValueError:
        raise NotFound from None


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
