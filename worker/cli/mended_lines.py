"""Lines of `dlq export` that a person mended, on their way back into the buffer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.errors import InvalidRecord, UnknownDestination
from worker.replays import Kept, Mended, Replays, mended
from worker.settings import Settings

from .json_lines import Chunk
from .redis_door import operator


class MendedLines:
    """Replays chunks of lines; ``tell`` hears of records that stay, ``refuse`` of unusable lines.

    A line names its destination; one that names none belongs to ``destination`` or the default
    one. With ``destination``, lines of others are refused.
    """

    def __init__(
        self,
        destination: str | None,
        tell: Callable[[Kept], object],
        refuse: Callable[[int, Mapping[str, object]], object],
    ) -> None:
        self._settings = Settings.from_env()
        self._client = operator(self._settings)
        self._only = destination
        self._default = self._settings.destination(destination).name
        self._tell = tell
        self._refuse = refuse
        self._replays: dict[str, Replays] = {}

    def replay(self, chunk: Chunk) -> int:
        """Replay a chunk; returns how many records were put back."""
        for rejection in chunk.rejected:
            self._refuse(rejection.number, rejection.errors)
        by_destination: dict[str, list[Mended]] = {}
        for line in chunk.lines:
            try:
                named, read = mended(line.number, line.record)
                destination = self._destination(named)
            except InvalidRecord as error:
                self._refuse(line.number, error.errors)
            else:
                by_destination.setdefault(destination, []).append(read)
        return sum(
            self._of(destination).replay_mended(read, self._tell)
            for destination, read in by_destination.items()
        )

    def _destination(self, named: str | None) -> str:
        name = named or self._default
        if self._only not in (None, name):
            raise InvalidRecord({"destination": [f"must be {self._only}, as --destination says"]})
        try:
            return self._settings.destination(name).name
        except UnknownDestination as error:
            raise InvalidRecord({"destination": [str(error)]}) from None

    def _of(self, destination: str) -> Replays:
        if destination not in self._replays:
            settings = self._settings.destination(destination)
            self._replays[destination] = Replays(self._client, settings)
        return self._replays[destination]
