"""A vendor with all the failures of a vendor's worst days at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from zlib import crc32

from support import fault_scripts
from support.vendor import (
    MISCELLANEOUS,
    RESTRICTED_EVENT,
    Exchange,
    LoopbackVendor,
    Play,
    Record,
    failure,
    upload_response,
)

from .ledger import Ledger, key_of

LIMIT = 6  # concurrent requests that it accepts
LATENCY_S = 0.3
# Out of a thousand records, and always the same ones, as with a real vendor.
REFUSED, SPOILING = 4, 0.2
AGAIN_SHARE = 0.01  # of all attempts, per record
NONSENSE = b'{"status": "success", "processed": 1'


def _is_one_of(record: Record, of_a_thousand: float, salt: bytes) -> bool:
    return crc32(salt + key_of(record).encode()) % 1_000_000 < of_a_thousand * 1000


def _is_spoilt(records: Sequence[Record]) -> bool:
    """Return whether one of them makes the vendor reject all of them."""
    return any(_is_one_of(record, SPOILING, b"spoils") for record in records)


def _as_it_should(exchange: Exchange) -> None:
    vendor, records = exchange.vendor, exchange.records()
    if exchange.noted.under_way > LIMIT:
        exchange.answer(429, failure(429, "Too many concurrent requests"))
        return
    if _is_spoilt(records):
        exchange.answer(400, failure(400, "Payload is not valid"))
        return
    # Accept first, respond later: a worker killed in between has to send it again.
    answer = vendor.take(records, dry_run=exchange.noted.dry_run)
    exchange.wait(random.uniform(0, LATENCY_S))
    exchange.answer(200, answer)


_PLAYS: dict[Play, float] = {
    _as_it_should: 78,
    fault_scripts.status(500): 2,
    fault_scripts.status(503): 2,
    fault_scripts.status(429, headers={"Retry-After": "1"}): 0.5,
    fault_scripts.status(401): 0.2,
    fault_scripts.reset_before_reading: 2,
    fault_scripts.reset_after_half: 2,
    fault_scripts.reset_after_all: 2,
    fault_scripts.half_an_answer: 2,
    fault_scripts.half_a_refusal(500): 1,
    fault_scripts.body(NONSENSE, takes=True): 1,
    fault_scripts.body(b"<html>502 Bad Gateway</html>"): 1,
    fault_scripts.silence: 0.5,
    fault_scripts.silence_after_taking: 0.5,
}


class HostileVendor(LoopbackVendor):
    """Chooses at random how each request fails, and what happens to each of its records."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        super().__init__()
        self._ledger = ledger
        self._rng = random.Random(seed)
        self._choice = threading.Lock()
        self.usual = self._meet

    def _meet(self, exchange: Exchange) -> None:
        with self._choice:
            (play,) = self._rng.choices(list(_PLAYS), list(_PLAYS.values()))
        play(exchange)

    def take(self, records: Sequence[Record], *, dry_run: bool = False) -> bytes:
        """Accept most records, refuse a few for good, and ask for a few again."""
        with self._choice:
            codes = [self._code(record) for record in records]
        if not dry_run and not _is_spoilt(records):
            self._ledger.enter(records, codes)
        return upload_response(records, codes)

    def _code(self, record: Record) -> int | None:
        if _is_one_of(record, REFUSED, b"refused"):
            return RESTRICTED_EVENT
        return MISCELLANEOUS if self._rng.random() < AGAIN_SHARE else None
