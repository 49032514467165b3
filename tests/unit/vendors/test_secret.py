"""A credential shows itself only when asked."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from typing import Any

import pytest

from support.reading import DAY, NAME, account, breaks_off, says
from support.vendor import LoopbackVendor
from worker.errors import CredentialsRefused
from worker.readback.counts import count
from worker.vendors.bloomreach.upload import Bloomreach
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import DELIVERED, Response, UploadResult
from worker.vendors.secret import Secret
from worker.vendors.transport import Transport


def test_secret_is_hidden_in_every_way_of_printing() -> None:
    """Format, repr and str are masked; reveal is the one way in, also after a copy."""
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {secret!s:>9} {secret:>9}"
    assert copy.deepcopy(secret).reveal() == "s3cret"
    assert not str(Secret(""))


PASSCODE, KEY, API_SECRET = "ABC-DEF-GHIJ", "k3y-of-the-project", "s3cret-of-the-project"
BASIC = b64encode(f"{KEY}:{API_SECRET}".encode()).decode()
CLEVERTAP = CleverTap("https://api.clevertap.com", "TEST-ACC-OUNT", PASSCODE)
BLOOMREACH = Bloomreach("https://api.exponea.com", "project", KEY, API_SECRET)


def response(body: Any, status: int = 200) -> Response:
    """An answer with this JSON."""
    return Response(status, {}, json.dumps(body).encode())


def test_read_whole_refusal_hides_the_passcode() -> None:
    """The words stay, the passcode does not, in whatever case it comes back."""
    for quoted in (PASSCODE, PASSCODE.lower()):
        refused = response({"status": "fail", "error": f"Invalid Credentials {quoted}!"}, 401)
        assert CLEVERTAP.read("event", 3, refused).error == "Invalid Credentials ***!"
        assert CLEVERTAP.read_probe(refused).error == "Invalid Credentials ***!"


def test_read_records_refusal_hides_the_passcode() -> None:
    """The verdicts of single records are treated alike; those without a text stay as they are."""
    entry = {"status": "fail", "code": 513, "error": f"{PASSCODE}. Skipped record number : 2"}
    refused = response({"status": "partial", "processed": 1, "unprocessed": [entry]})
    first, second = CLEVERTAP.read("event", 2, refused).verdicts
    assert first is DELIVERED
    assert second.error == "***."


@pytest.mark.parametrize("quoted", [KEY, API_SECRET, BASIC])
def test_read_bloomreach_refusal_hides_key_and_secret(quoted: str) -> None:
    """The key, the secret, and both as they stand in the header."""
    refused = response({"success": False, "errors": [f"no: {quoted}"]}, 400)
    assert BLOOMREACH.read("event", 1, refused).error == "no: ***"
    result = {"success": False, "errors": [f"no: {quoted}"], "command_id": "1"}
    (verdict,) = BLOOMREACH.read("event", 1, response({"results": [result]})).verdicts
    assert verdict.error == "no: ***"


def test_read_public_access_refusal_hides_the_token() -> None:
    """Without a secret the key is the credential."""
    public = Bloomreach("https://api.exponea.com", "project", KEY)
    refused = response({"errors": f"access key not found: {KEY}"}, 401)
    assert public.read("event", 1, refused).error == "access key not found: ***"


def test_hidden_secret_cut_off_is_hidden() -> None:
    """A long text is cut, and what is left of a secret at its end goes too."""
    for filler in range(270, 305):
        refused = response({"error": "x" * filler + PASSCODE + "y" * 50}, 401)
        error = CLEVERTAP.read("event", 1, refused).error
        assert PASSCODE[:4] not in error
        assert error.endswith(("***...", "y...", "x...", "xABC...", "xAB...", "xA...", "***"))


def test_count_refused_hides_the_passcode(vendor: LoopbackVendor) -> None:
    """The errors of `ingest export`, `count` and `reconcile` are treated alike."""
    vendor.usual = says({"status": "fail", "error": f"Invalid Credentials {PASSCODE}"}, 401)
    to = account(
        vendor.base_url,
        account=CleverTapAccount(account_id="TEST-ACC-OUNT", passcode=Secret(PASSCODE)),
    )
    with pytest.raises(CredentialsRefused, match=r"Invalid Credentials \*\*\* \(HTTP 401\)"):
        count(NAME, DAY, DAY, destination=to)


def test_send_response_that_is_not_http_hides_the_passcode(vendor: LoopbackVendor) -> None:
    """The transport's own texts quote what came instead of an answer."""

    def play(exchange: Any) -> None:
        exchange.body(exchange.head())
        exchange.send(f"HTTP/1.1 200 OK\r\n{PASSCODE}\r\n\r\n".encode())
        exchange.hang_up()

    vendor.script(play, breaks_off)
    transport = Transport(vendor.base_url, timeout_s=5)
    for _ in range(2):
        answer = transport.send(CLEVERTAP.probe())
        assert isinstance(answer, UploadResult)
        assert PASSCODE not in answer.error
    transport.close()
