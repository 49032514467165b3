"""Lines that are checked and not sent: against the schema, and by the vendor where asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from worker.errors import InvalidRecord, SettingsError
from worker.producer.encoder import RecordEncoder
from worker.settings.destination import Destination
from worker.vendors.protocol import Outcome, Verdict

from ..console.json_lines import Chunk, Line, Rejection, Tally

Ask = Callable[[str, Sequence[bytes]], list[Verdict]]


class Checking:
    """Checks chunks at a producer's desk, and counts their lines in ``account`` as `send` would.

    With ``ask``, records that pass are gathered into batches and put to the vendor.
    """

    def __init__(
        self, encoder: RecordEncoder, destination: Destination, ask: Ask | None = None
    ) -> None:
        self.account = Tally()
        self._encoder = encoder
        self._destination = destination
        self._ask = ask
        self._batches: dict[str, _Batch] = {}

    def take(self, chunk: Chunk) -> None:
        """Check a chunk; VendorError when the vendor is asked and does not answer."""
        self.account.reject(chunk.rejected)
        try:
            self._check(chunk)
        finally:
            self.account.tell()

    def _check(self, chunk: Chunk) -> None:
        for line in chunk.lines:
            try:
                prepared = self._encoder.prepare(self._destination, line.record)
            except InvalidRecord as invalid:
                self.account.reject([Rejection(line.number, invalid.errors, line.record)])
                continue
            if self._ask is None:
                self.account.accepted += 1
            else:
                self._gather(self._ask, prepared.kind, line, prepared.body)

    def finish(self) -> None:
        """Put to the vendor what does not fill a batch."""
        if self._ask is not None:
            for kind in list(self._batches):
                self._put(self._ask, kind)
            self.account.tell()

    def _gather(self, ask: Ask, kind: str, line: Line, body: bytes) -> None:
        batch = self._batches.setdefault(kind, _Batch())
        if batch.lines and batch.size + len(body) > self._destination.batch_max_bytes:
            batch = self._put(ask, kind)
        batch.add(line, body)
        if len(batch.lines) >= self._destination.kinds[kind].batch_records:
            self._put(ask, kind)

    def _put(self, ask: Ask, kind: str) -> _Batch:
        """Ask about a batch; returns the empty one that follows it."""
        batch = self._batches[kind]
        self._batches[kind] = following = _Batch()
        if batch.lines:
            verdicts = zip(batch.lines, ask(kind, batch.bodies), strict=True)
            refused = [each for each in verdicts if each[1].outcome is not Outcome.DELIVERED]
            self.account.accepted += len(batch.lines) - len(refused)
            self.account.reject(_rejection(line, verdict) for line, verdict in refused)
        return following


class _Batch:
    """Records of one kind that are asked about together; ``size`` is in bytes."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.bodies: list[bytes] = []
        self.size = 0

    def add(self, line: Line, body: bytes) -> None:
        self.lines.append(line)
        self.bodies.append(body)
        self.size += len(body)


def _rejection(line: Line, verdict: Verdict) -> Rejection:
    return Rejection(line.number, refusal(verdict), line.record)


def refusal(verdict: Verdict) -> Mapping[str, Sequence[str]]:
    """What the vendor has against a record, told like a broken rule."""
    code = f"code {verdict.code}: " if verdict.code is not None else ""
    return {"vendor": [f"{code}{verdict.error}"]}


@contextmanager
def asking(destination: Destination) -> Iterator[Ask]:
    """The vendor's own opinion, as long as the block runs; SettingsError without its secrets."""
    from worker.delivery.dry_run import dry_run

    if not destination.enabled:
        raise SettingsError(f"{destination.name}: not enabled, so the vendor cannot be asked")
    with dry_run(destination, destination.request_timeout_s) as asked:
        yield asked.verdicts
