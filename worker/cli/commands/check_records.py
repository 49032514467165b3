"""Check lines without sending them: against the schema, and by the vendor if asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from worker.dead_letters.replay_check import CheckBatch, vendor_verdicts
from worker.errors import InvalidRecord
from worker.producer.encoder import RecordEncoder
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome, Verdict

from ..console.json_lines import Chunk, InputLine, RejectedLine, Tally


class RecordChecker:
    """Checks chunks as a producer would, and counts their lines in ``tally`` as `send` would.

    With ``check_batch``, it also asks the vendor about the lines that pass.
    """

    def __init__(
        self,
        encoder: RecordEncoder,
        destination: Destination,
        check_batch: CheckBatch | None = None,
    ) -> None:
        self.tally = Tally()
        self._encoder = encoder
        self._destination = destination
        self._check_batch = check_batch

    def take(self, chunk: Chunk) -> None:
        """Check a chunk; VendorError if the vendor is asked and does not answer."""
        self.tally.reject(chunk.rejected)
        try:
            valid = list(self._valid(chunk.lines))
            if self._check_batch is None:
                self.tally.accepted += len(valid)
            else:
                self._ask_vendor(valid, self._check_batch)
        finally:
            self.tally.report()

    def _valid(self, lines: Sequence[InputLine]) -> Iterator[tuple[InputLine, str, bytes]]:
        """Yield the lines that pass the schema, with kind and body as they would be sent."""
        for line in lines:
            try:
                prepared = self._encoder.prepare(self._destination, line.record)
            except InvalidRecord as invalid:
                self.tally.reject([RejectedLine(line.number, invalid.errors, line.record)])
            else:
                yield line, prepared.kind, prepared.body

    def _ask_vendor(
        self, valid: list[tuple[InputLine, str, bytes]], check_batch: CheckBatch
    ) -> None:
        valid.sort(key=itemgetter(1))  # a batch has one kind
        for line, verdict in vendor_verdicts(valid, self._destination, check_batch):
            if verdict.outcome is Outcome.DELIVERED:
                self.tally.accepted += 1
            else:
                rejected = RejectedLine(line.number, vendor_errors(verdict), line.record)
                self.tally.reject([rejected])


def vendor_errors(verdict: Verdict) -> Mapping[str, Sequence[str]]:
    """Return what the vendor has against a record, in the form of broken rules."""
    code = f"code {verdict.code}: " if verdict.code is not None else ""
    return {"vendor": [f"{code}{verdict.error}"]}
