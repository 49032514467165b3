"""One dead letter: hidden until asked for, edited, checked, replayed or purged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from uuid import UUID

import redis
from starlette.responses import Response

from worker.dead_letters.groups import text_of
from worker.dead_letters.letters import DeadLetter, DeadLetters, Filter
from worker.dead_letters.replays import Kept, Mended, Replays
from worker.errors import IngestError, InvalidRecord
from worker.overview import Overview
from worker.records import Prepared, accepted_at_ms
from worker.schemas.vendors import schema_for
from worker.settings import Destination, Settings
from worker.verdicts import Outcome

from .audit import Audit
from .exchange import Asked, page, see
from .flow import frame, missing
from .letter_groups import cause_of
from .meanings import field_of, meaning
from .record_text import lines, masked, pretty
from .vendor_opinion import ask_vendor


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


@dataclass(frozen=True, slots=True)
class Shown:
    """A record's page; without ``edited`` its values stay hidden."""

    destination: Destination
    letter: DeadLetter
    edited: Edited | None = None
    good: str = ""
    bad: str = ""


class OneRecord:
    """The page of one record, and what a person may do there."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        audit: Audit,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._client = client
        self._audit = audit
        self._now = now

    def show(self, asked: Asked) -> Response:
        """The record, its values hidden."""
        found = self._find(asked)
        return missing(asked) if found is None else self._page(asked, found)

    def act(self, asked: Asked) -> Response:
        """What the pressed button asks for."""
        found = self._find(asked)
        if found is None:
            return missing(asked)
        actions = {
            "show": self._reveal,
            "check": self._check,
            "vendor": self._ask,
            "replay": self._replay,
            "purge": self._purge,
        }
        return actions.get(asked.form.get("action", ""), self._page)(asked, found)

    def _reveal(self, asked: Asked, found: Shown) -> Response:
        """Written down first: nobody sees personal data without a trace."""
        self._note(asked, found, "saw the record")
        record = found.letter.record
        return self._page(asked, replace(found, edited=Edited(pretty(record), record, {})))

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
            return self._page(asked, replace(found, edited=edited, bad=f"Not checked: {error}"))
        self._note(asked, found, "checked with the vendor")
        if verdict.outcome is Outcome.DELIVERED:
            good = "The vendor would take it: replay it."
            return self._page(asked, replace(found, edited=edited, good=good))
        code = f" (code {verdict.code})" if verdict.code else ""
        bad = f"The vendor would refuse it{code}: {text_of(verdict.error)}"
        named = field_of(found.destination.vendor, verdict.code)
        errors = {named: [text_of(verdict.error)]} if named else {}
        edited = replace(edited, errors=errors)
        return self._page(asked, replace(found, edited=edited, bad=bad))

    def _replay(self, asked: Asked, found: Shown) -> Response:
        if not found.destination.vendor:
            bad = "this destination is not configured, so nobody would deliver it"
            return self._page(asked, replace(found, bad=bad))
        replays, kept = Replays(self._client, found.destination, now=self._now), list[Kept]()
        letter = found.letter
        if "record" in asked.form:
            edited = self._edited(asked, found)
            if edited.prepared is None:
                return self._page(asked, replace(found, edited=edited))
            mended = Mended(0, letter.id, edited.record, letter.failed_at_ms)
            replayed = replays.replay_mended([mended], kept.append)
            found = replace(found, edited=edited)
        else:
            selection = DeadLetters(self._client, found.destination).select(Filter(id=letter.id))
            replayed = replays.replay(selection, kept.append)
        if not replayed:
            return self._page(asked, replace(found, bad=_not_replayed(kept)))
        self._note(asked, found, "replayed" if found.edited is None else "replayed, edited")
        return see(f"/dead-letters?done=replayed&n={replayed}")

    def _purge(self, asked: Asked, found: Shown) -> Response:
        letters = DeadLetters(self._client, found.destination)
        purged = letters.select(Filter(id=found.letter.id)).purge()
        self._note(asked, found, "purged", purged)
        return see(f"/dead-letters?done=purged&n={purged}")

    def _edited(self, asked: Asked, found: Shown) -> Edited:
        """The typed text held against the schema; a form without text means the record itself."""
        text = asked.form.get("record")
        if text is None:
            return replace(self._typed(pretty(found.letter.record), found), hidden=True)
        return self._typed(text, found)

    def _typed(self, text: str, found: Shown) -> Edited:
        try:
            record = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            return Edited(text, None, {"": [_words(error)]}, readable=False)
        try:
            prepared = _prepared(found, record, self._now())
        except InvalidRecord as error:
            return Edited(text, record, error.errors)
        return Edited(text, record, {}, prepared)

    def _note(self, asked: Asked, found: Shown, action: str, count: int = 1) -> None:
        what = f"{found.letter.kind}, record {UUID(found.letter.id)}"
        self._audit.note(asked.user, action, found.destination.name, what, count)

    def _find(self, asked: Asked) -> Shown | None:
        buffer = Overview.of(self._settings, self._client).buffers.get(asked.parts["name"])
        try:
            wanted = UUID(asked.parts["id"]).hex
        except ValueError:
            return None
        if buffer is None:
            return None
        letter = DeadLetters(self._client, buffer.destination).find(wanted)
        return None if letter is None else Shown(buffer.destination, letter)

    def _page(self, asked: Asked, shown: Shown) -> Response:
        letter, edited = shown.letter, shown.edited
        named = field_of(shown.destination.vendor, letter.code)
        if edited is None:
            said = {named: [text_of(letter.error)]} if named else {}
            written, nowhere = lines(masked(letter.record), said)
        elif edited.readable:
            record = masked(edited.record) if edited.hidden else edited.record
            written, nowhere = lines(record, edited.errors)
        else:
            written, nowhere = [], [*edited.errors[""]]
        context = {
            **frame(asked, "letters"),
            "letter": letter,
            "id": str(UUID(letter.id)),
            "accepted_ms": accepted_at_ms(letter.id),
            "text": text_of(letter.error),
            "meaning": meaning(letter.reason),
            "field": named,
            "edited": edited,
            "open": edited is not None and not edited.hidden,
            "lines": written,
            "nowhere": nowhere,
            "errors": sum(len(line.errors) for line in written) + len(nowhere),
            "good": shown.good,
            "bad": shown.bad,
            "vendor": shown.destination.vendor,
            "cause": f"/dead-letters/{letter.destination}/{letter.kind}/{cause_of(letter)}",
        }
        return page(200, "record.html", **context)


def _prepared(found: Shown, record: Any, now_s: float) -> Prepared:
    if not found.destination.vendor:
        raise InvalidRecord({"": ["this destination is not configured: no rules are known"]})
    prepared = schema_for(found.destination).prepare(record, now_s=int(now_s))
    if prepared.kind != found.letter.kind:
        raise InvalidRecord({"type": [f"must stay {found.letter.kind}, as it was accepted"]})
    return prepared


def _not_replayed(kept: Sequence[Kept]) -> str:
    rules = [f"{name}: {' '.join(broken)}" for each in kept for name, broken in each.errors.items()]
    return " ".join(("Not replayed.", *rules))


def _words(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"This is no JSON: {error.msg}, line {error.lineno}, column {error.colno}."
    return "This is no JSON that can be sent: a number is none, or it is nested too deeply."


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
