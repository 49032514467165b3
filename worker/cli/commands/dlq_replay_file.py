"""Replay edited lines of `dlq export`, or ask the vendor about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from uuid import UUID

from worker.dead_letters.replay import NotReplayed, Replacement, Replayer, parse_replacement
from worker.dead_letters.replay_check import vendor_verdicts
from worker.delivery.dry_run import dry_run
from worker.errors import InvalidRecord, UnknownDestination
from worker.monitoring.overview import Overview
from worker.settings.settings import Settings
from worker.vendors.protocol import Outcome

from ..clients import operator_client
from ..console.json_lines import Chunk, Tally
from .send_records import vendor_errors


class FileReplayer:
    """Replays or checks chunks of a file's lines; ``tally`` reports those that cannot be used.

    A line names its destination; one without a name belongs to ``destination`` or the default
    destination. With ``destination``, lines of other destinations are refused.
    """

    def __init__(self, destination: str | None) -> None:
        self.tally = Tally(lambda line, errors: json.dumps({"line": line.number, "errors": errors}))
        self._settings = Settings.from_env()
        self._client = operator_client(self._settings)
        self._only = destination
        self._default = self._settings.destination(destination).name
        self._replayers: dict[str, Replayer] = {}

    def take(self, chunk: Chunk, *, check: bool) -> None:
        """Put a chunk back, or only ask the vendor; the tally counts what succeeds as accepted.

        VendorError if the vendor is asked and does not answer.
        """
        with self.tally.reporting(chunk):
            for replayer, replacements in self._read(chunk).items():
                if check:
                    self._check(replayer, replacements)
                else:
                    self.tally.accepted += replayer.replay_edited(replacements, self._refuse)

    def _check(self, replayer: Replayer, replacements: list[Replacement]) -> None:
        destination = replayer.destination
        candidates = replayer.candidates(replacements, self._refuse)
        candidates.sort(key=itemgetter(1))  # a batch has one kind
        if not candidates:
            return
        with dry_run(destination) as asked:
            for each, verdict in vendor_verdicts(candidates, destination, asked.verdicts):
                if verdict.outcome is Outcome.DELIVERED:
                    self.tally.accepted += 1
                else:
                    self._refuse(NotReplayed(each.id, vendor_errors(verdict), each.position))

    def _read(self, chunk: Chunk) -> Mapping[Replayer, list[Replacement]]:
        """Return the chunk's usable lines with the replayers of the destinations they name."""
        found: dict[Replayer, list[Replacement]] = {}
        for line in chunk.lines:
            try:
                named, replacement = parse_replacement(line.number, line.record)
                replayer = self._replayer(named or self._default)
            except InvalidRecord as error:
                self.tally.reject(line, error.errors)
            else:
                found.setdefault(replayer, []).append(replacement)
        return found

    def _refuse(self, record: NotReplayed) -> None:
        self.tally.note(record.position, refusal_line(record))

    def _replayer(self, name: str) -> Replayer:
        if self._only not in (None, name):
            raise InvalidRecord({"destination": [f"must be {self._only}, as --destination says"]})
        if name not in self._replayers:
            try:
                self._settings.destination(name)
            except UnknownDestination as error:
                raise InvalidRecord({"destination": [str(error)]}) from None
            buffer = Overview.of(self._settings, self._client, only=name).buffers[name]
            self._replayers[name] = Replayer(self._client, buffer.destination)
        return self._replayers[name]


def refusal_line(record: NotReplayed) -> str:
    """Return a JSON object: the line, if any, the id, and the rules it breaks; never its values."""
    line = {"line": record.position} if record.position else {}
    return json.dumps({**line, "id": str(UUID(record.id)), "errors": record.errors})
