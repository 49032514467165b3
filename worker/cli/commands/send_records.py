"""Send lines into the buffer, with an exact account of what is left; or only check them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import click
from redis.exceptions import RedisError

from worker.connections.backoff import backoff
from worker.dead_letters.replay_check import CheckBatch, vendor_verdicts
from worker.errors import BufferError, BufferFull, BufferUnavailable, InvalidRecord
from worker.producer.encoder import RecordEncoder
from worker.producer.producer import Producer
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome, Verdict

from ..clients import describe_redis_error
from ..console.json_lines import Chunk, Errors, InputLine, LineNumbers, Tally
from ..exit_codes import Failure

# A buffer is freed a batch at a time; a Redis that restarts takes seconds.
_FIRST_WAIT_S, _MOST_WAIT_S = 0.1, 2.0


@dataclass
class RecordSender:
    """Sends chunks, and counts their lines in ``tally``. ``patient`` waits for room."""

    producer: Producer
    encoder: RecordEncoder
    destination: Destination
    patient: bool
    sleep: Callable[[float], object] = time.sleep
    tally: Tally = field(default_factory=Tally)
    _announced_waiting: bool = False

    def take(self, chunk: Chunk) -> None:
        """Send a chunk; Failure, with the lines that are left, if it cannot be sent whole."""
        with self.tally.reporting(chunk):
            try:
                self._send_all(chunk)
            except KeyboardInterrupt:
                raise Failure(_how_to_resume("interrupted", chunk.lines, [], chunk.last)) from None

    def _send_all(self, chunk: Chunk) -> None:
        """Send a chunk, in smaller and smaller parts if the buffer has no room for all of it."""
        lines, size, waits = list(chunk.lines), max(1, len(chunk.lines)), 0
        while lines:
            part, rest = lines[:size], lines[size:]
            try:
                self._send(part)
            except BufferError as error:
                left, uncertain = self._sort_out(part, error)
                lines = left + rest
                if isinstance(error, BufferFull) and size > 1:
                    size //= 2
                    continue
                if uncertain or not self.patient:
                    why = _describe(error)
                    raise Failure(_how_to_resume(why, lines, uncertain, chunk.last)) from error
                if not self._announced_waiting:
                    click.echo(f"{_describe(error)}; waiting", err=True)
                    self._announced_waiting = True
                self.sleep(backoff(waits, _FIRST_WAIT_S, _MOST_WAIT_S))
                waits += 1
            else:
                lines, size, waits = rest, size * 2, 0

    def _send(self, lines: Sequence[InputLine]) -> None:
        records = [line.record for line in lines]
        result = self.producer.send_many(records, destination=self.destination.name)
        self.tally.accepted += result.accepted
        for each in result.refusals:
            self.tally.reject(lines[each.position], each.error.errors)

    def _sort_out(
        self, lines: Sequence[InputLine], error: BufferError
    ) -> tuple[list[InputLine], list[InputLine]]:
        """Split partly sent lines into those not accepted and those that may have been.

        A call takes the records of one kind, all or none, and kinds go in the order in which they
        first appear: so the number accepted identifies them.
        """
        by_kind: dict[str, list[tuple[str, InputLine]]] = {}
        for line, kind, _ in valid_lines(lines, self.encoder, self.destination, self.tally):
            by_kind.setdefault(kind, []).append((kind, line))
        in_order = [each for found in by_kind.values() for each in found]
        left = in_order[len(error.accepted) :]
        self.tally.accepted += len(error.accepted)
        lost = isinstance(error, BufferUnavailable) and error.sent
        uncertain = {kind for kind, _ in left[:1] if lost}  # of the call without an answer
        left.sort(key=lambda each: each[1].number)
        return (
            [line for kind, line in left if kind not in uncertain],
            [line for kind, line in left if kind in uncertain],
        )


def _describe(error: BufferError) -> str:
    """Return the error, and what Redis answered if it was Redis."""
    if isinstance(error.__cause__, RedisError):
        return f"{error}: {describe_redis_error(error.__cause__)}"
    return str(error)


def _how_to_resume(
    why: str, left: Sequence[InputLine], uncertain: Sequence[InputLine], last: int
) -> str:
    """Return what happened, and the --lines to continue with."""
    numbers = [line.number for line in left]
    rest = LineNumbers.of(numbers, last + 1)
    if not uncertain:
        return f"{why}. Not sent yet; to send the rest, use --lines: {rest}"
    maybe = [line.number for line in uncertain]
    everything = LineNumbers.of(sorted(numbers + maybe), last + 1)
    return (
        f"{why}. Lines {LineNumbers.of(maybe)} may or may not have been accepted. To continue, use "
        f"--lines {rest} without them, or --lines {everything} with them, which may duplicate them"
    )


@dataclass
class RecordChecker:
    """Checks chunks by the schema, and counts lines in ``tally`` as if they were sent.

    With ``check_batch``, it also asks the vendor about the lines that pass.
    """

    encoder: RecordEncoder
    destination: Destination
    check_batch: CheckBatch | None
    tally: Tally = field(default_factory=Tally)

    def take(self, chunk: Chunk) -> None:
        """Check a chunk; VendorError if the vendor is asked and does not answer."""
        with self.tally.reporting(chunk):
            valid = list(valid_lines(chunk.lines, self.encoder, self.destination, self.tally))
            if self.check_batch is None:
                self.tally.accepted += len(valid)
                return
            valid.sort(key=itemgetter(1))  # a batch has one kind
            for line, verdict in vendor_verdicts(valid, self.destination, self.check_batch):
                if verdict.outcome is Outcome.DELIVERED:
                    self.tally.accepted += 1
                else:
                    self.tally.reject(line, vendor_errors(verdict))


def valid_lines(
    lines: Iterable[InputLine], encoder: RecordEncoder, destination: Destination, tally: Tally
) -> Iterator[tuple[InputLine, str, bytes]]:
    """Yield the lines that pass the schema, with kind and body to send; reject the others."""
    for line in lines:
        try:
            prepared = encoder.prepare(destination, line.record)
        except InvalidRecord as invalid:
            tally.reject(line, invalid.errors)
        else:
            yield line, prepared.kind, prepared.body


def vendor_errors(verdict: Verdict) -> Errors:
    """Return what the vendor has against a record, in the form of broken rules."""
    code = f"code {verdict.code}: " if verdict.code is not None else ""
    return {"vendor": [f"{code}{verdict.error}"]}
