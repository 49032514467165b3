"""One suite of CleverTap's upload API for both stand-ins: the sandbox, and the tests' own vendor.

The expectations come from the vendor's pages and from recorded responses, not from either server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import httpx
import pytest

from support import fault_scripts
from support.reading import breaks_off
from support.vendor import LoopbackVendor
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import Outcome, Response

ACCOUNT, PASSCODE = "SBX-LOCAL-DEV", "sandbox-passcode"
HEADERS = {"X-CleverTap-Account-Id": ACCOUNT, "X-CleverTap-Passcode": PASSCODE}
EMPTY_FAILURE = '{ "status" : "fail" , "processed" : 0 , "unprocessed" : [ ]}'

pytestmark = pytest.mark.integration


class Server(Protocol):
    """A stand-in for the vendor, as the suite controls it."""

    url: str

    def refuse_record(self, identity: str, code: int) -> None:
        """Answer records of this identity with this code."""

    def refuse_next(self, status: int, error: str, retry_after: str | None = None) -> None:
        """Refuse the next request as a whole."""

    def break_next(self, *, kept: bool, half: bool = False) -> None:
        """Break the next request's connection, before or within its response."""

    def fail_next_without_records(self) -> None:
        """Answer the next request with a failure that names no record."""

    def accepted(self) -> int:
        """Return the number of records kept."""


class SandboxServer:
    """`ingest sandbox`."""

    def __init__(self, sandbox: Running) -> None:
        self.url, self._state = sandbox.url, sandbox.state

    def refuse_record(self, identity: str, code: int) -> None:
        self._state.faults.add({"match": {"identity": identity}, "code": code})

    def refuse_next(self, status: int, error: str, retry_after: str | None = None) -> None:
        rule = {"status": status, "error": error, "times": 1}
        self._state.faults.add(rule | ({"retry_after": retry_after} if retry_after else {}))

    def break_next(self, *, kept: bool, half: bool = False) -> None:
        kind = "truncate" if half else "drop"
        self._state.faults.add({"kind": kind, "apply": kept, "times": 1})

    def fail_next_without_records(self) -> None:
        self._state.faults.add({"kind": "empty", "times": 1})

    def accepted(self) -> int:
        return self._state.ledger.kept


class LoopbackServer:
    """The tests' own vendor."""

    def __init__(self, vendor: LoopbackVendor) -> None:
        self.url, self._vendor = vendor.base_url, vendor

    def refuse_record(self, identity: str, code: int) -> None:
        self._vendor.prescribe(identity, always=code)

    def refuse_next(self, status: int, error: str, retry_after: str | None = None) -> None:
        headers = {"Retry-After": retry_after} if retry_after else None
        self._vendor.script(fault_scripts.status(status, error, headers))

    def break_next(self, *, kept: bool, half: bool = False) -> None:
        after = fault_scripts.half_an_answer if half else fault_scripts.reset_after_all
        self._vendor.script(after if kept else breaks_off)

    def fail_next_without_records(self) -> None:
        self._vendor.script(
            fault_scripts.body({"status": "fail", "processed": 0, "unprocessed": []})
        )

    def accepted(self) -> int:
        return self._vendor.taken.total()


@contextmanager
def sandbox_server(limit: int = 15, latency_s: float = 0.0) -> Iterator[Server]:
    """Start the sandbox."""
    settings = SandboxSettings(upload_concurrency=limit, latency_ms=latency_s * 1000)
    with running(settings) as sandbox:
        yield SandboxServer(sandbox)


@contextmanager
def loopback_server(limit: int = 15, latency_s: float = 0.0) -> Iterator[Server]:
    """Start the tests' own vendor, with the sandbox's credentials."""
    with LoopbackVendor() as vendor:
        vendor.limit, vendor.latency_s = limit, latency_s
        vendor.credentials = (ACCOUNT, PASSCODE)
        yield LoopbackServer(vendor)


Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(params=[sandbox_server, loopback_server], ids=["sandbox", "loopback"])
def start(request: pytest.FixtureRequest) -> Start:
    """Start either server."""
    started: Start = request.param
    return started


@pytest.fixture
def server(start: Start) -> Iterator[Server]:
    """Either server, without latency."""
    with start() as started:
        yield started


def event(identity: str = "i0") -> dict[str, Any]:
    """Return a valid event."""
    return {"identity": identity, "type": "event", "evtName": "Product viewed", "evtData": {"n": 1}}


def upload(
    server: Server, *records: Any, dry_run: str = "", headers: Mapping[str, str] = HEADERS
) -> httpx.Response:
    """Upload the records."""
    url = f"{server.url}/1/upload" + (f"?dryRun={dry_run}" if dry_run else "")
    return httpx.post(url, json={"d": records}, headers=headers, timeout=60)


def test_upload_of_valid_records_returns_the_recorded_success(server: Server) -> None:
    """Bytes and content type are the recorded ones, and every record is kept."""
    response = upload(server, event("a"), event("b"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json;charset=utf-8"
    assert response.text == '{ "status" : "success" , "processed" : 2 , "unprocessed" : [ ]}'
    assert server.accepted() == 2


@pytest.mark.parametrize("bad", [(1,), (2,), (1, 3), (1, 2, 3)])
def test_upload_with_refused_records_names_each_by_position(
    server: Server, bad: tuple[int, ...]
) -> None:
    """HTTP stays 200; each entry has its code, its position from 1, and the record."""
    for position in bad:
        server.refuse_record(f"i{position}", 513)
    response = upload(server, *(event(f"i{position}") for position in (1, 2, 3)))
    body = response.json()
    assert response.status_code == 200
    assert response.text.startswith(f'{{ "status" : "{body["status"]}" , "processed" : ')
    assert body["status"] == ("fail" if len(bad) == 3 else "partial")
    assert body["processed"] == 3 - len(bad) == server.accepted()
    for position, entry in zip(bad, body["unprocessed"], strict=True):
        assert (entry["status"], entry["code"]) == ("fail", 513)
        assert entry["error"].endswith(f"Skipped record number : {position}")
        assert entry["record"] == event(f"i{position}")


def test_upload_of_any_mixture_adds_up(server: Server, rng: random.Random) -> None:
    """Processed and unprocessed are all the records, whichever are refused."""
    bad = set(rng.sample(range(300), rng.randrange(300)))
    for number in bad:
        server.refuse_record(f"i{number}", 555)
    body = upload(server, *(event(f"i{number}") for number in range(300))).json()
    positions = [int(entry["error"].rpartition(":")[2]) for entry in body["unprocessed"]]
    assert positions == [number + 1 for number in sorted(bad)]
    assert body["processed"] + len(positions) == 300
    assert body["processed"] == server.accepted()


def test_upload_response_is_read_record_by_record(server: Server) -> None:
    """The worker's adapter finds the verdict of every record in either server's response."""
    server.refuse_record("i1", 513)
    server.refuse_record("i2", 555)
    response = upload(server, *(event(f"i{number}") for number in range(4)))
    found = CleverTap(server.url, ACCOUNT, PASSCODE).read(
        "event", 4, Response(response.status_code, response.headers, response.content)
    )
    outcomes = [verdict.outcome for verdict in found.verdicts]
    assert outcomes == [Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRY, Outcome.DELIVERED]


def test_dry_run_validates_and_keeps_nothing(server: Server) -> None:
    """dryRun=1 has the response of an upload without its effect; dryRun=0 is an upload."""
    server.refuse_record("bad", 513)
    body = upload(server, event(), event("bad"), dry_run="1").json()
    assert (body["status"], body["processed"]) == ("partial", 1)
    assert body["unprocessed"][0]["code"] == 513
    assert server.accepted() == 0
    upload(server, event(), dry_run="0")
    assert server.accepted() == 1


def test_upload_of_mixed_kinds_is_accepted(server: Server) -> None:
    """Events, profiles and tokens may share a request."""
    profile = {"identity": "a", "type": "profile", "profileData": {"Name": "Ada"}}
    token = {"type": "token", "objectId": "x1", "tokenData": {"id": "t", "type": "fcm"}}
    assert upload(server, event(), profile, token).json()["processed"] == 3
    assert server.accepted() == 3


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"X-CleverTap-Account-Id": ""}, "12 digit account ID mandatory"),
        ({"X-CleverTap-Account-Id": "else"}, "Account ID is not valid"),
        ({"X-CleverTap-Passcode": "else"}, "Passcode Invalid"),
    ],
)
def test_upload_with_wrong_credentials_is_refused(
    server: Server, headers: dict[str, str], error: str
) -> None:
    """Each has its text, and none the lists of an upload's response."""
    response = upload(server, event(), headers=HEADERS | headers)
    assert response.status_code == 401
    assert response.text == f'{{ "status" : "fail" , "error" : "{error}" , "code" : 401}}'
    assert server.accepted() == 0


@pytest.mark.parametrize(
    "body",
    [b"nonsense", b'{"d": 5}', b"[]", b'{"d": [' + b"1," * 1000 + b"1]}"],
    ids=["not JSON", "not a list", "not an object", "1001 records"],
)
def test_upload_of_a_malformed_request_is_refused(server: Server, body: bytes) -> None:
    """Nothing of it is kept, and the response names no record."""
    response = httpx.post(f"{server.url}/1/upload", content=body, headers=HEADERS, timeout=60)
    assert response.status_code == 400
    assert response.text == '{ "status" : "fail" , "error" : "Malformed request" , "code" : 400}'
    assert server.accepted() == 0


def test_upload_above_the_concurrency_limit_is_refused(start: Start) -> None:
    """One request more than the limit is answered 429, and nothing of it is kept."""
    with start(limit=2, latency_s=0.5) as server, ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda at: upload(server, event(f"i{at}")), range(6)))
        refused = [each for each in responses if each.status_code == 429]
        assert 0 < len(refused) <= 4
        assert {each.text for each in refused} == {
            '{ "status" : "fail" , "error" : "Too many concurrent requests" , "code" : 429}'
        }
        assert server.accepted() == 6 - len(refused)


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500, 503])
def test_refused_request_keeps_nothing_and_the_next_is_accepted(
    server: Server, status: int
) -> None:
    """The body has status, error and code; there are no counts to be read for records."""
    server.refuse_next(status, "Not now", retry_after="2")
    response = upload(server, event())
    assert response.status_code == status
    assert response.json() == {"status": "fail", "error": "Not now", "code": status}
    assert response.headers["retry-after"] == "2"
    assert server.accepted() == 0
    assert upload(server, event()).json()["status"] == "success"


@pytest.mark.parametrize(("kept", "half"), [(True, False), (False, False), (True, True)])
def test_broken_connection_does_not_show_what_was_kept(
    server: Server, kept: bool, half: bool
) -> None:
    """Without a whole response the records may be kept or not; the next request is whole."""
    server.break_next(kept=kept, half=half)
    with pytest.raises(httpx.TransportError):
        upload(server, event())
    assert server.accepted() == int(kept)
    assert upload(server, event()).status_code == 200


def test_failure_without_records_is_possible(server: Server) -> None:
    """HTTP 200 with `fail` and no record named, as clients have met it; nothing is kept."""
    server.fail_next_without_records()
    assert upload(server, event()).text == EMPTY_FAILURE
    assert server.accepted() == 0
