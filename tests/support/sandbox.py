"""What the sandbox's unit tests have in common: records, a validator, and a ledger."""

from __future__ import annotations

from typing import Any

import orjson

from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.ledger import AccountTime, Ledger, LedgerRecord
from worker.sandbox.settings import SandboxSettings

NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC

ALL = {"event_name": "Seen", "from": 20200101, "to": 20300101}

VALIDATOR = Validator(SandboxSettings())

# The profile of the recordings, its address moved to a domain reserved for examples.
PERSON = {
    "identity": 4,
    "created_at": "2018-03-21 18:21:14 +0200",
    "Name": "John Rush",
    "Email": "john@example.com",
    "Gender": "M",
    "Phone": "+35922333232",
    "Employed": "Y",
    "Education": "Graduate",
    "Married": "Y",
    "Age": "18",
}


def profile(**changes: Any) -> dict[str, Any]:
    """Return the recorded profile, with changes to its data."""
    return {
        "identity": "4",
        "ts": 1521649274,
        "type": "profile",
        "profileData": PERSON | changes,
    }


def event(**changes: Any) -> dict[str, Any]:
    """Return a valid event, with changes."""
    plain = {"identity": "4", "type": "event", "evtName": "Product viewed", "evtData": {}}
    return {**plain, **changes}


def rows(*numbers: int, name: str = "Seen", ts: int = NOON) -> list[LedgerRecord]:
    """Return events that differ by a number."""
    return [
        LedgerRecord(
            "clevertap", "event", name, ts, orjson.dumps({"evtData": {"n": n}, "identity": "a"})
        )
        for n in numbers
    ]


def ledger(keep: int = 1000) -> Ledger:
    """Return an empty ledger with days in UTC."""
    return Ledger(keep, AccountTime("UTC"))
