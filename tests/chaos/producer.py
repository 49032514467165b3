"""A web app under test: it sends events and profile updates and records every result.

Each line on its standard input is a number of records to send; at the end of the input it writes
its account, and ends.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker import BufferFull, BufferUnavailable, Producer

from .ledger import EVENT_NAME, SEQUENCE, key_of

MOST_PER_CALL = 100
AGAIN_AFTER_S = 0.05
IDENTITIES_SHARE = 0.1  # so that an identity has ten updates


class WebApp:
    """Sends records, and knows whether each was accepted, or may have been."""

    def __init__(self, index: int, seed: int, events: int, profiles: int) -> None:
        self._producer = Producer.from_env()
        self._rng = random.Random(seed)
        self._index = index
        self._left = {"event": events, "profile": profiles}
        self._identities = max(1, int(profiles * IDENTITIES_SHARE))
        self._sequences: Counter[str] = Counter()
        self.accepted: list[str] = []
        self.unsure: list[str] = []
        self.refusals: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """Return the number of records still to send."""
        return sum(self._left.values())

    def send(self, number: int) -> None:
        """Send this many records, one or several per call."""
        while number > 0 and self.left:
            (kind,) = self._rng.choices(list(self._left), list(self._left.values()))
            size = min(self._rng.choice((1, 1, MOST_PER_CALL)), number, self._left[kind])
            self._left[kind] -= size
            number -= size
            self._send_until_answered([self._record(kind) for _ in range(size)])

    def _record(self, kind: str) -> dict[str, Any]:
        if kind == "event":
            self._sequences["events"] += 1
            identity = f"e{self._index}-{self._sequences['events']}"
            return {
                "type": "event",
                "identity": identity,
                "evtName": EVENT_NAME,
                "evtData": {"N": 1},
            }
        identity = f"p{self._index}-{self._rng.randrange(self._identities)}"
        self._sequences[identity] += 1
        data = {SEQUENCE: self._sequences[identity]}
        return {"type": "profile", "identity": identity, "profileData": data}

    def _send_until_answered(self, records: list[dict[str, Any]]) -> None:
        """Repeat records that were certainly not accepted, never those that may have been."""
        keys = [key_of(record) for record in records]
        while True:
            try:
                if len(records) == 1:
                    self._producer.send(records[0])
                else:
                    result = self._producer.send_many(records)
                    assert result.accepted == len(records), "our own records must be valid"
            except BufferUnavailable as error:
                self.refusals["unavailable"] += 1
                if error.sent:
                    self.unsure += keys
                    return
            except BufferFull:
                self.refusals["full"] += 1
            else:
                self.accepted += keys
                return
            time.sleep(AGAIN_AFTER_S)


def _allowances() -> Iterator[int]:
    for line in sys.stdin:
        yield int(line)


def main(index: str, seed: str, events: str, profiles: str, account: str) -> None:
    """Send as many as standard input requests, and finally the rest."""
    app = WebApp(int(index), int(seed), int(events), int(profiles))
    for allowance in _allowances():
        app.send(allowance)
    app.send(app.left)
    counts = {"accepted": app.accepted, "unsure": app.unsure, "refusals": app.refusals}
    Path(account).write_text(json.dumps(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
