"""One dead letter: hidden until requested, edited, checked, replayed or purged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from starlette.responses import Response

from worker.dead_letters.groups import masked_name, masked_text
from worker.dead_letters.letters import DeadLetter
from worker.dead_letters.replay import NotReplayed, Replacement
from worker.errors import IngestError
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome
from worker.vendors.reasons import reason_text

from .audit_log import AuditEntry
from .context import Context
from .edited_record import EditedRecord, parse_edited
from .endpoint import FormRequest, page, redirect
from .grouping import group_href, single_letter
from .overview import frame, not_found
from .record_view import RecordLine, masked, pretty, record_lines
from .vendor_check import vendor_check

_FAILED_AGAIN = (
    "Nothing was done: the record was replayed meanwhile and failed again. This is its state now."
)


@dataclass(frozen=True, slots=True)
class LetterView:
    """A record's page; without ``edited`` the record's values stay hidden.

    Values that the vendor quoted stay hidden unless ``revealed``, which the audit log records.
    """

    destination: Destination
    letter: DeadLetter
    edited: EditedRecord | None = None
    revealed: bool = False
    success: str = ""
    failure: str = ""

    @property
    def field(self) -> str | None:
        """Return the path of the field that the vendor's code is about."""
        return self.destination.account.field_of(self.letter.code)

    def lines(self) -> tuple[list[RecordLine], list[str]]:
        """Return the lines to show with their errors, and the errors that belong to no line."""
        edited = self.edited
        if edited is None:
            errors = {self.field: [masked_text(self.letter.error)]} if self.field else {}
            return record_lines(masked(self.letter.record), errors)
        if not edited.is_json:
            return [], [*edited.errors[""]]
        return record_lines(
            masked(edited.record) if edited.hidden else edited.record, edited.errors
        )


class DeadLetterPage:
    """The page of one record, and the actions on it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, request: FormRequest) -> Response:
        """Show the record with its values hidden."""
        view = self._find(request)
        return not_found(request) if view is None else self._page(request, view)

    def act(self, request: FormRequest) -> Response:
        """Do what the button says to the dead letter that the page showed, and to no other."""
        view = self._find(request)
        if view is None:
            return not_found(request)
        if request.form.get("entry", view.letter.entry) != view.letter.entry:
            # It failed again, perhaps with other content. Keep what was typed.
            typed = self._edited(request, view) if "record" in request.form else None
            return self._page(request, replace(view, edited=typed, failure=_FAILED_AGAIN))
        actions = {
            "show": self._reveal,
            "check": self._check_rules,
            "vendor": self._check_with_vendor,
            "replay": self._replay,
            "purge": self._purge,
        }
        return actions.get(request.form.get("action", ""), self._page)(request, view)

    def _reveal(self, request: FormRequest, view: LetterView) -> Response:
        """Show the values; the audit entry comes first, so that none are seen without a trace."""
        self._context.audit.append(_audit_entry(request, view, "saw the record"))
        record = view.letter.record
        stored = EditedRecord(pretty(record), record, {})
        return self._page(request, replace(view, edited=stored, revealed=True))

    def _check_rules(self, request: FormRequest, view: LetterView) -> Response:
        edited = self._edited(request, view)
        success = "" if edited.errors else "It follows every published rule."
        return self._page(request, replace(view, edited=edited, success=success))

    def _check_with_vendor(self, request: FormRequest, view: LetterView) -> Response:
        edited = self._edited(request, view)
        view = replace(view, edited=edited)
        if edited.prepared is None:
            return self._page(request, view)
        try:
            with vendor_check(view.destination) as dry_run:
                verdict = dry_run(edited.prepared.kind, [edited.prepared.body])[0]
        except IngestError as error:
            failure = f"Not checked: {masked_text(str(error))}"
            return self._page(request, replace(view, failure=failure))
        self._context.audit.append(_audit_entry(request, view, "checked with the vendor"))
        if verdict.outcome is Outcome.DELIVERED:
            success = "The vendor would accept it: replay it."
            return self._page(request, replace(view, success=success))
        code = f" (code {verdict.code})" if verdict.code else ""
        text = masked_text(verdict.error)
        field = view.destination.account.field_of(verdict.code)
        edited = replace(edited, errors={field: [text]} if field else {})
        failure = f"The vendor would refuse it{code}: {text}"
        return self._page(request, replace(view, edited=edited, failure=failure))

    def _replay(self, request: FormRequest, view: LetterView) -> Response:
        if not view.destination.vendor:
            failure = "This destination is not configured, so it would not be delivered."
            return self._page(request, replace(view, failure=failure))
        replayer = self._context.replayer(view.destination)
        not_replayed: list[NotReplayed] = []
        edited = self._edited(request, view) if "record" in request.form else None
        if edited is None:
            selection = single_letter(self._context.letters(view.destination), view.letter)
            replayed = self._context.audit.run(
                _audit_entry(request, view, "replay"),
                lambda: ("replayed", replayer.replay(selection, not_replayed.append)),
            )
        else:
            view = replace(view, edited=edited)
            if edited.prepared is None:
                return self._page(request, view)
            edits = [Replacement(0, view.letter.id, edited.record, view.letter.failed_at_ms)]
            replayed = self._context.audit.run(
                _audit_entry(request, view, "replay, edited"),
                lambda: ("replayed, edited", replayer.replay_edited(edits, not_replayed.append)),
            )
        if replayed:
            return redirect(f"/dead-letters?done=replayed&n={replayed}")
        return self._page(request, replace(view, failure=_explain(not_replayed)))

    def _purge(self, request: FormRequest, view: LetterView) -> Response:
        selection = single_letter(self._context.letters(view.destination), view.letter)
        entry = _audit_entry(request, view, "purge")
        purged = self._context.audit.run(entry, lambda: ("purged", selection.purge()))
        return redirect(f"/dead-letters?done=purged&n={purged}")

    def _edited(self, request: FormRequest, view: LetterView) -> EditedRecord:
        """Return what was typed; a form without text means the stored record."""
        text, now_s = request.form.get("record"), self._context.now()
        if text is None:
            text = pretty(view.letter.record)
            stored = parse_edited(text, view.destination, view.letter, now_s)
            return replace(stored, hidden=True)
        return parse_edited(text, view.destination, view.letter, now_s)

    def _find(self, request: FormRequest) -> LetterView | None:
        buffer = self._context.buffer(request.params["name"])
        try:
            record_id = UUID(request.params["id"]).hex
        except ValueError:
            return None
        if buffer is None:
            return None
        letter = self._context.letters(buffer.destination).find(record_id)
        return None if letter is None else LetterView(buffer.destination, letter)

    def _page(self, request: FormRequest, view: LetterView) -> Response:
        letter, edited = view.letter, view.edited
        lines, homeless = view.lines()
        text = masked_text(letter.error)
        values = {
            **frame(request, "letters"),
            "view": view,
            "letter": letter,
            "edited": edited,
            "state": self._context.state(view.destination),
            "text": text,
            "vendor_text": letter.error if view.revealed else text,
            "event": letter.name if view.revealed else masked_name(letter.name),
            "reason": reason_text(letter.reason),
            "open": edited is not None and not edited.hidden,
            "lines": lines,
            "homeless": homeless,
            "errors": sum(len(line.errors) for line in lines) + len(homeless),
            "group": group_href(letter),
        }
        return page(200, "dead_letter.html", **values)


def _audit_entry(request: FormRequest, view: LetterView, action: str) -> AuditEntry:
    what = f"{view.letter.kind}, record {UUID(view.letter.id)}"
    return AuditEntry(request.user, action, view.destination.name, what, 1)


def _explain(not_replayed: Sequence[NotReplayed]) -> str:
    rules = [
        f"{name}: {' '.join(texts)}" for each in not_replayed for name, texts in each.errors.items()
    ]
    return " ".join(("Not replayed.", *rules))
