"""Check lines without sending them: against the schema, and by the vendor if asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

from worker.dead_letters.replay_check import CheckBatch, vendor_verdicts
from worker.errors import InvalidRecord
from worker.producer.encoder import RecordEncoder
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome, Verdict

from ..console.json_lines import Chunk, Errors, InputLine, Tally


class RecordChecker:
    """Checks chunks as a producer would, and counts their lines in ``tally`` as `send` would.

    With ``check_batch``, it also asks the vendor about the lines that pass.
    """

    def __init__(
        self, encoder: RecordEncoder, destination: Destination, check_batch: CheckBatch | None
    ) -> None:
        self.tally = Tally()
        self._encoder = encoder
        self._destination = destination
        self._check_batch = check_batch

    def take(self, chunk: Chunk) -> None:
        """Check a chunk; VendorError if the vendor is asked and does not answer."""
        with self.tally.reporting(chunk):
            valid = list(valid_lines(chunk.lines, self._encoder, self._destination, self.tally))
            if self._check_batch is None:
                self.tally.accepted += len(valid)
                return
            valid.sort(key=itemgetter(1))  # a batch has one kind
            for line, verdict in vendor_verdicts(valid, self._destination, self._check_batch):
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
