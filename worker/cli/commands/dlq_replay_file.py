"""Replay edited lines of `dlq export`, or ask the vendor about them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import click

from worker.dead_letters.replay import NotReplayed, Replacement, Replayer, parse_replacement
from worker.dead_letters.replay_check import vendor_verdicts
from worker.errors import InvalidRecord, UnknownDestination
from worker.monitoring.overview import Overview
from worker.settings.settings import Settings
from worker.vendors.protocol import Outcome

from ..clients import operator_client
from ..console.json_lines import Chunk
from .check_records import vendor_errors


class FileReplayer:
    """Replays or checks chunks of a file's lines; ``refused`` counts those that cannot be used.

    Each of them is reported on standard error when its chunk is done, in the order of its lines.

    A line names its destination; one without a name belongs to ``destination`` or the default
    destination. With ``destination``, lines of other destinations are refused.
    """

    def __init__(self, destination: str | None) -> None:
        self.refused = 0
        self._settings = Settings.from_env()
        self._client = operator_client(self._settings)
        self._only = destination
        self._default = self._settings.destination(destination).name
        self._unreported: list[tuple[int, str]] = []
        self._replayers: dict[str, Replayer] = {}

    def replay(self, chunk: Chunk) -> int:
        """Replay a chunk; returns how many records were put back."""
        with self._reporting():
            return sum(
                self._replayer(name).replay_edited(replacements, self._refuse)
                for name, replacements in self._read(chunk).items()
            )

    def check(self, chunk: Chunk) -> int:
        """Ask the vendor about a chunk without replaying it; returns how many would pass.

        VendorError if it does not answer.
        """
        with self._reporting():
            return sum(
                self._check(name, replacements) for name, replacements in self._read(chunk).items()
            )

    def _check(self, name: str, replacements: list[Replacement]) -> int:
        from worker.delivery.dry_run import dry_run

        destination, passed = self._settings.destination(name), 0
        candidates = self._replayer(name).candidates(replacements, self._refuse)
        candidates.sort(key=itemgetter(1))  # a batch has one kind
        if not candidates:
            return 0
        with dry_run(destination) as asked:
            for each, verdict in vendor_verdicts(candidates, destination, asked.verdicts):
                if verdict.outcome is Outcome.DELIVERED:
                    passed += 1
                else:
                    self._refuse(NotReplayed(each.id, vendor_errors(verdict), each.position))
        return passed

    def _read(self, chunk: Chunk) -> Mapping[str, list[Replacement]]:
        """Return the chunk's usable lines by the destination that they name."""
        for rejected in chunk.rejected:
            self._note(rejected.number, refusal_line(rejected.errors, rejected.number))
        by_destination: dict[str, list[Replacement]] = {}
        for line in chunk.lines:
            try:
                named, replacement = parse_replacement(line.number, line.record)
                name = self._destination(named)
            except InvalidRecord as error:
                self._note(line.number, refusal_line(error.errors, line.number))
            else:
                by_destination.setdefault(name, []).append(replacement)
        return by_destination

    def _refuse(self, record: NotReplayed) -> None:
        line = refusal_line(record.errors, record.position, record.id)
        self._note(record.position, line)

    def _note(self, number: int, line: str) -> None:
        self.refused += 1
        self._unreported.append((number, line))

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Report at the end of the block what it noted, even if Redis or the vendor fails."""
        try:
            yield
        finally:
            for _, line in sorted(self._unreported, key=lambda noted: noted[0]):
                click.echo(line, err=True)
            self._unreported.clear()

    def _destination(self, named: str | None) -> str:
        name = named or self._default
        if self._only not in (None, name):
            raise InvalidRecord({"destination": [f"must be {self._only}, as --destination says"]})
        try:
            return self._settings.destination(name).name
        except UnknownDestination as error:
            raise InvalidRecord({"destination": [str(error)]}) from None

    def _replayer(self, name: str) -> Replayer:
        if name not in self._replayers:
            buffer = Overview.of(self._settings, self._client, only=name).buffers[name]
            self._replayers[name] = Replayer(self._client, buffer.destination)
        return self._replayers[name]


def refusal_line(errors: Mapping[str, Any], line: int = 0, record_id: str | None = None) -> str:
    """Return a JSON object: the line or record, and the rules it breaks; never its values."""
    from uuid import UUID

    where: dict[str, Any] = {"line": line} if line else {}
    if record_id is not None:
        where["id"] = str(UUID(record_id))
    return json.dumps({**where, "errors": errors})
