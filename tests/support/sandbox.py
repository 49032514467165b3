"""What the sandbox's tests have in common: credentials, records, a validator, and a ledger."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import orjson

from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.ledger import AccountTime, Ledger, LedgerRecord
from worker.sandbox.settings import SandboxSettings

ACCOUNT = {"X-CleverTap-Account-Id": "SBX-LOCAL-DEV", "X-CleverTap-Passcode": "sandbox-passcode"}
PROJECT = "/track/v2/projects/sandbox-project"
KEY = {"Authorization": "Basic " + base64.b64encode(b"sandbox-key:sandbox-secret").decode()}
DAYS = {"from": 20200101, "to": 20991231}

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


def events(*numbers: int, name: str = "Product viewed") -> dict[str, Any]:
    """An upload's body."""
    return {
        "d": [
            {"identity": "a", "type": "event", "evtName": name, "evtData": {"n": n, "Price": n}}
            for n in numbers
        ]
    }


def reported(client: httpx.Client, vendor: str = "clevertap") -> dict[str, Any]:
    """What the sandbox says it took."""
    counts: dict[str, Any] = client.get("/sandbox/ledger").json()["vendors"][vendor]
    return counts
