"""Lines of `dlq export` that a person mended, on their way back into the buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from worker.dead_letters.replay import NotReplayed, Replacement, Replayer, parse_replacement
from worker.dead_letters.replay_check import vendor_verdicts
from worker.errors import InvalidRecord, UnknownDestination
from worker.monitoring.overview import Overview
from worker.settings.settings import Settings
from worker.vendors.protocol import Outcome

from ..clients import operator
from ..console.json_lines import Chunk
from .check_records import asking, refusal


class MendedLines:
    """Replays or checks chunks of lines of a file.

    ``tell`` hears of records that stay, ``refuse`` of unusable lines; of both when a chunk is done,
    in the order of its lines.

    A line names its destination; one that names none belongs to ``destination`` or the default
    one. With ``destination``, lines of others are refused.
    """

    def __init__(
        self,
        destination: str | None,
        tell: Callable[[NotReplayed], object],
        refuse: Callable[[int, Mapping[str, object]], object],
    ) -> None:
        self._settings = Settings.from_env()
        self._client = operator(self._settings)
        self._only = destination
        self._default = self._settings.destination(destination).name
        self._tell_now = tell
        self._refuse_now = refuse
        self._untold: list[tuple[int, Callable[[], object]]] = []
        self._replays: dict[str, Replayer] = {}

    def replay(self, chunk: Chunk) -> int:
        """Replay a chunk; returns how many records were put back."""
        with self._telling():
            return sum(
                self._of(destination).replay_edited(read, self._tell)
                for destination, read in self._read(chunk).items()
            )

    def check(self, chunk: Chunk) -> int:
        """Ask the vendor about a chunk, and put nothing back; returns how many would pass.

        VendorError when it does not answer.
        """
        with self._telling():
            return sum(
                self._check(destination, read) for destination, read in self._read(chunk).items()
            )

    def _check(self, name: str, read: list[Replacement]) -> int:
        destination, passed = self._settings.destination(name), 0
        found = self._of(name).candidates(read, self._tell)
        found.sort(key=lambda candidate: candidate.kind)  # a batch has one kind
        if not found:
            return 0
        with asking(destination) as ask:
            for each, verdict in vendor_verdicts(found, destination, ask):
                if verdict.outcome is Outcome.DELIVERED:
                    passed += 1
                else:
                    self._tell(NotReplayed(each.id, refusal(verdict), each.position))
        return passed

    def _read(self, chunk: Chunk) -> Mapping[str, list[Replacement]]:
        """The chunk's usable lines, by the destination that they name."""
        for rejection in chunk.rejected:
            self._refuse(rejection.number, rejection.errors)
        by_destination: dict[str, list[Replacement]] = {}
        for line in chunk.lines:
            try:
                named, read = parse_replacement(line.number, line.record)
                destination = self._destination(named)
            except InvalidRecord as error:
                self._refuse(line.number, error.errors)
            else:
                by_destination.setdefault(destination, []).append(read)
        return by_destination

    def _tell(self, kept: NotReplayed) -> None:
        self._untold.append((kept.position, partial(self._tell_now, kept)))

    def _refuse(self, number: int, errors: Mapping[str, object]) -> None:
        self._untold.append((number, partial(self._refuse_now, number, errors)))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell at the end what was noted, by line; also when Redis or the vendor goes away."""
        try:
            yield
        finally:
            for _, now in sorted(self._untold, key=lambda noted: noted[0]):
                now()
            self._untold.clear()

    def _destination(self, named: str | None) -> str:
        name = named or self._default
        if self._only not in (None, name):
            raise InvalidRecord({"destination": [f"must be {self._only}, as --destination says"]})
        try:
            return self._settings.destination(name).name
        except UnknownDestination as error:
            raise InvalidRecord({"destination": [str(error)]}) from None

    def _of(self, destination: str) -> Replayer:
        if destination not in self._replays:
            seen = Overview.of(self._settings, self._client, only=destination)
            known = seen.buffers[destination].destination
            self._replays[destination] = Replayer(self._client, known)
        return self._replays[destination]
