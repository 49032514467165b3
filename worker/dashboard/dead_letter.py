"""One dead letter: hidden until asked for, edited, checked, replayed or purged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from starlette.responses import Response

from worker.buffer.records import accepted_at_ms
from worker.dead_letters.groups import masked_name, masked_text
from worker.dead_letters.letters import DeadLetter
from worker.dead_letters.replay import NotReplayed, Replacement
from worker.errors import IngestError
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome

from ..vendors.reasons import reason_text
from .audit_log import Entry
from .context import Context
from .edited_record import Edited, typed_record
from .endpoint import Asked, page, see
from .grouping import Exactly, cause_href
from .overview import frame, missing
from .record_view import Line, lines, masked, pretty
from .vendor_check import ask_vendor, askable


@dataclass(frozen=True, slots=True)
class Shown:
    """A record's page; without ``edited`` its values stay hidden.

    What a vendor quoted of them stays hidden unless they are ``revealed``, which the audit has.
    """

    destination: Destination
    letter: DeadLetter
    edited: Edited | None = None
    revealed: bool = False
    good: str = ""
    bad: str = ""


class OneRecord:
    """The page of one record, and what a person may do there."""

    def __init__(self, reach: Context) -> None:
        self._reach = reach

    def show(self, asked: Asked) -> Response:
        """The record, its values hidden."""
        found = self._find(asked)
        return missing(asked) if found is None else self._page(asked, found)

    def act(self, asked: Asked) -> Response:
        """What the pressed button asks for, done to what the page showed and to nothing else."""
        found = self._find(asked)
        if found is None:
            return missing(asked)
        if asked.form.get("entry", found.letter.entry) != found.letter.entry:
            return self._changed(asked, found)
        actions = {
            "show": self._reveal,
            "check": self._check,
            "vendor": self._ask,
            "replay": self._replay,
            "purge": self._purge,
        }
        return actions.get(asked.form.get("action", ""), self._page)(asked, found)

    def _changed(self, asked: Asked, found: Shown) -> Response:
        """It died anew, perhaps of something else, with other content; what was typed is kept."""
        typed = self._edited(asked, found) if "record" in asked.form else None
        bad = "Nothing was done: it was replayed meanwhile, and died again. This is how it is now."
        return self._page(asked, replace(found, edited=typed, bad=bad))

    def _reveal(self, asked: Asked, found: Shown) -> Response:
        """Written down first: nobody sees personal data without a trace."""
        self._reach.audit.note(_entry(asked, found, "saw the record"))
        record = found.letter.record
        seen = Edited(pretty(record), record, {})
        return self._page(asked, replace(found, edited=seen, revealed=True))

    def _check(self, asked: Asked, found: Shown) -> Response:
        edited = self._edited(asked, found)
        good = "" if edited.errors else "It keeps every published rule."
        return self._page(asked, replace(found, edited=edited, good=good))

    def _ask(self, asked: Asked, found: Shown) -> Response:
        edited = self._edited(asked, found)
        if edited.prepared is None:
            return self._page(asked, replace(found, edited=edited))
        try:
            with ask_vendor(found.destination) as ask:
                verdict = ask(edited.prepared.kind, [edited.prepared.body])[0]
        except IngestError as error:
            return self._page(
                asked, replace(found, edited=edited, bad=f"Not checked: {masked_text(str(error))}")
            )
        self._reach.audit.note(_entry(asked, found, "checked with the vendor"))
        if verdict.outcome is Outcome.DELIVERED:
            good = "The vendor would take it: replay it."
            return self._page(asked, replace(found, edited=edited, good=good))
        code = f" (code {verdict.code})" if verdict.code else ""
        bad = f"The vendor would refuse it{code}: {masked_text(verdict.error)}"
        named = found.destination.account.field_of(verdict.code)
        errors = {named: [masked_text(verdict.error)]} if named else {}
        edited = replace(edited, errors=errors)
        return self._page(asked, replace(found, edited=edited, bad=bad))

    def _replay(self, asked: Asked, found: Shown) -> Response:
        if not found.destination.vendor:
            bad = "this destination is not configured, so nobody would deliver it"
            return self._page(asked, replace(found, bad=bad))
        if "record" in asked.form:
            return self._replay_edited(asked, replace(found, edited=self._edited(asked, found)))
        selection = Exactly(self._reach.letters(found.destination), found.letter)
        kept: list[NotReplayed] = []
        begun = self._reach.audit.begin(_entry(asked, found, "replay"))
        replayed = self._reach.replays(found.destination).replay(selection, kept.append)
        begun.end("replayed", replayed)
        return self._replayed(asked, found, replayed, kept)

    def _replay_edited(self, asked: Asked, found: Shown) -> Response:
        letter, typed = found.letter, found.edited
        if typed is None or typed.prepared is None:
            return self._page(asked, found)
        mended, kept = (
            Replacement(0, letter.id, typed.record, letter.failed_at_ms),
            list[NotReplayed](),
        )
        begun = self._reach.audit.begin(_entry(asked, found, "replay, edited"))
        replayed = self._reach.replays(found.destination).replay_edited([mended], kept.append)
        begun.end("replayed, edited", replayed)
        return self._replayed(asked, found, replayed, kept)

    def _replayed(
        self, asked: Asked, found: Shown, replayed: int, kept: Sequence[NotReplayed]
    ) -> Response:
        if replayed:
            return see(f"/dead-letters?done=replayed&n={replayed}")
        return self._page(asked, replace(found, bad=_not_replayed(kept)))

    def _purge(self, asked: Asked, found: Shown) -> Response:
        selection = Exactly(self._reach.letters(found.destination), found.letter)
        begun = self._reach.audit.begin(_entry(asked, found, "purge"))
        purged = selection.purge()
        begun.end("purged", purged)
        return see(f"/dead-letters?done=purged&n={purged}")

    def _edited(self, asked: Asked, found: Shown) -> Edited:
        """What was typed; a form without text means the record itself."""
        text = asked.form.get("record")
        about = (found.destination, found.letter, self._reach.now())
        if text is None:
            return replace(typed_record(pretty(found.letter.record), *about), hidden=True)
        return typed_record(text, *about)

    def _find(self, asked: Asked) -> Shown | None:
        buffer = self._reach.buffer(asked.parts["name"])
        try:
            wanted = UUID(asked.parts["id"]).hex
        except ValueError:
            return None
        if buffer is None:
            return None
        letter = self._reach.letters(buffer.destination).find(wanted)
        return None if letter is None else Shown(buffer.destination, letter)

    def _page(self, asked: Asked, shown: Shown) -> Response:
        letter, edited = shown.letter, shown.edited
        written, nowhere = _written(shown)
        context = {
            **frame(asked, "letters"),
            "letter": letter,
            "state": self._reach.state(shown.destination),
            "id": str(UUID(letter.id)),
            "accepted_ms": accepted_at_ms(letter.id),
            "text": masked_text(letter.error),
            "words": letter.error if shown.revealed else masked_text(letter.error),
            "event": letter.name if shown.revealed else masked_name(letter.name),
            "meaning": reason_text(letter.reason),
            "field": _field(shown),
            "edited": edited,
            "open": edited is not None and not edited.hidden,
            "lines": written,
            "nowhere": nowhere,
            "errors": sum(len(line.errors) for line in written) + len(nowhere),
            "good": shown.good,
            "bad": shown.bad,
            "vendor": shown.destination.vendor,
            "askable": askable(shown.destination),
            "cause": cause_href(letter),
        }
        return page(200, "record.html", **context)


def _field(shown: Shown) -> str | None:
    return shown.destination.account.field_of(shown.letter.code)


def _written(shown: Shown) -> tuple[list[Line], list[str]]:
    """The lines to show, each with what is wrong in it, and what is wrong in none of them."""
    letter, edited = shown.letter, shown.edited
    if edited is None:
        named = _field(shown)
        return lines(masked(letter.record), {named: [masked_text(letter.error)]} if named else {})
    if not edited.readable:
        return [], [*edited.errors[""]]
    return lines(masked(edited.record) if edited.hidden else edited.record, edited.errors)


def _entry(asked: Asked, found: Shown, action: str) -> Entry:
    what = f"{found.letter.kind}, record {UUID(found.letter.id)}"
    return Entry(asked.user, action, found.destination.name, what, 1)


def _not_replayed(kept: Sequence[NotReplayed]) -> str:
    rules = [f"{name}: {' '.join(broken)}" for each in kept for name, broken in each.errors.items()]
    return " ".join(("Not replayed.", *rules))
