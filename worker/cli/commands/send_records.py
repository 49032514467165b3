"""Lines on their way into the buffer, and an exact account of them when they cannot all go in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

import click

from worker.connections.backoff import backoff
from worker.errors import BufferError, BufferFull, BufferUnavailable, InvalidRecord
from worker.producer.encoder import RecordEncoder
from worker.producer.producer import Producer
from worker.settings.destination import Destination

from ..console.json_lines import Chunk, Line, Rejection, Tally
from ..console.line_numbers import LineNumbers
from ..exit_codes import Failure

# A buffer is freed a batch at a time; a Redis that restarts takes seconds.
_FIRST_WAIT_S, _MOST_WAIT_S = 0.1, 2.0


class Sending:
    """Sends chunks, and counts their lines in ``account``. ``patient`` waits for room."""

    def __init__(
        self,
        producer: Producer,
        encoder: RecordEncoder,
        destination: Destination,
        *,
        patient: bool,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.account = Tally()
        self._producer = producer
        self._encoder = encoder
        self._destination = destination
        self._patient = patient
        self._sleep = sleep
        self._told_of_waiting = False

    def take(self, chunk: Chunk) -> None:
        """Send a chunk; Failure, with the lines that are left, when it cannot be sent whole."""
        self.account.reject(chunk.rejected)
        try:
            self._send_all(chunk)
        except KeyboardInterrupt:
            raise Failure(_told("interrupted", [], chunk.lines, chunk.last)) from None
        finally:
            self.account.tell()

    def _send_all(self, chunk: Chunk) -> None:
        """Send a chunk, in smaller and smaller parts when the buffer has no room for all of it."""
        lines, size, waits = list(chunk.lines), max(1, len(chunk.lines)), 0
        while lines:
            part, rest = lines[:size], lines[size:]
            try:
                self._send(part)
            except BufferError as error:
                left, unknown = self._sort_out(part, error)
                lines = left + rest
                if isinstance(error, BufferFull) and size > 1:
                    size //= 2
                    continue
                if unknown or not self._patient:
                    raise Failure(_told(_why(error), lines, unknown, chunk.last)) from error
                self._wait(error, backoff(waits, _FIRST_WAIT_S, _MOST_WAIT_S))
                waits += 1
            else:
                lines, size, waits = rest, size * 2, 0

    def _wait(self, error: BufferError, wait_s: float) -> None:
        """Wait for room."""
        if not self._told_of_waiting:
            click.echo(f"{_why(error)}; waiting", err=True)
            self._told_of_waiting = True
        self._sleep(wait_s)

    def finish(self) -> None:
        """Nothing is kept between chunks."""

    def _send(self, lines: Sequence[Line]) -> None:
        records = [line.record for line in lines]
        result = self._producer.send_many(records, destination=self._destination.name)
        self.account.accepted += result.accepted
        self.account.reject(
            Rejection(lines[each.position].number, each.error.errors, lines[each.position].record)
            for each in result.rejections
        )

    def _sort_out(self, lines: Sequence[Line], error: BufferError) -> tuple[list[Line], list[Line]]:
        """Of lines that were sent in part: those not accepted, and those that may have been.

        A call takes the records of one kind, all or none, and kinds go in the order in which they
        first appear: so the number accepted tells which.
        """
        kinds: dict[str, list[Line]] = {}
        for line in lines:
            try:
                prepared = self._encoder.prepare(self._destination, line.record)
                kinds.setdefault(prepared.kind, []).append(line)
            except InvalidRecord as invalid:
                self.account.reject([Rejection(line.number, invalid.errors, line.record)])
        in_order = [line for kind in kinds.values() for line in kind]
        left = in_order[len(error.accepted) :]
        self.account.accepted += len(error.accepted)
        lost: list[Line] = []
        if isinstance(error, BufferUnavailable) and error.sent and left:
            size = _size_of_first_call(kinds, len(error.accepted))
            lost, left = list(islice(left, size)), left[size:]
        return sorted(left, key=_number), sorted(lost, key=_number)


def _size_of_first_call(kinds: dict[str, list[Line]], accepted: int) -> int:
    """How many records the call had whose answer was lost: those of the first kind not accepted."""
    for lines in kinds.values():
        if accepted < len(lines):
            return len(lines) - accepted
        accepted -= len(lines)
    return 0


def _number(line: Line) -> int:
    return line.number


def _why(error: BufferError) -> str:
    """The error, and what Redis said, if it was Redis."""
    from redis.exceptions import RedisError

    from ..redis_errors import in_words

    cause = error.__cause__
    return f"{error}: {in_words(cause)}" if isinstance(cause, RedisError) else str(error)


def _told(error: object, left: Sequence[Line], unknown: Sequence[Line], last: int) -> str:
    """What happened, and how to go on with what is left."""
    numbers = [line.number for line in left]
    if not unknown:
        rest = LineNumbers.of(numbers, last + 1)
        return f"{error}. Not sent yet, and to be sent with --lines: {rest}"
    maybe = [line.number for line in unknown]
    everything = LineNumbers.of(sorted(numbers + maybe), last + 1)
    return (
        f"{error}. Lines {LineNumbers.of(maybe)} may have been accepted or not. To go on, use "
        f"--lines {LineNumbers.of(numbers, last + 1)} without them, "
        f"or --lines {everything} with them, which may double them"
    )
