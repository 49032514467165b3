"""The transport: every failure of the libraries below has a meaning, and none shows a secret."""

from __future__ import annotations

import gzip
import inspect
import socket
import time
from collections.abc import Callable, Sequence

import httpcore
import pytest

from support import fault_scripts
from support.pipeline import ACCOUNT, PASSCODE
from support.ports import find_free_port
from support.vendor import Exchange, LoopbackVendor, Play, rendered
from worker.vendors import transport
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import Request, Response, ResponseClass, UploadResult
from worker.vendors.transport import Transport

RAISED = [
    error
    for _, error in inspect.getmembers(httpcore, inspect.isclass)
    if issubclass(error, Exception)
]
SECRET = "s3cret-in-a-header"


def request(url: str) -> Request:
    """An upload of one record."""
    return CleverTap(url, ACCOUNT, PASSCODE).upload("event", [b'{"identity":"jack"}'])


def send(vendor: LoopbackVendor, play: Play, timeout_s: float = 5.0) -> Response | UploadResult:
    """What the transport makes of a request that meets this play."""
    vendor.script(play)
    sender = Transport(vendor.base_url, timeout_s=timeout_s)
    try:
        return sender.send(request(vendor.base_url))
    finally:
        sender.close()


def test_list_of_errors_holds_what_httpcore_raises() -> None:
    """The enumeration below finds what httpcore raises."""
    assert {httpcore.ReadError, httpcore.RemoteProtocolError, httpcore.PoolTimeout} <= set(RAISED)


@pytest.mark.parametrize("error", RAISED, ids=lambda error: error.__name__)
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
def test_send_every_error_of_httpcore_is_mapped(
    error: type[Exception], sent: bool, vendor: LoopbackVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of httpcore that raises something new fails here, and not at night."""
    sender = Transport(vendor.base_url, timeout_s=5.0)
    real = httpcore.ConnectionPool.handle_request

    def fail(pool: httpcore.ConnectionPool, outgoing: httpcore.Request) -> None:
        if sent:
            real(pool, outgoing).close()
        raise error(f"quotes {SECRET}")

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", fail)
    answer = sender.send(request(vendor.base_url))
    sender.close()
    assert isinstance(answer, UploadResult)
    assert answer.response_class is (ResponseClass.AMBIGUOUS if sent else ResponseClass.UNREACHABLE)
    assert error.__name__ in answer.error
    assert transport.FAILURES


def test_send_local_protocol_error_is_not_quoted() -> None:
    """A header that cannot be sent stands in that error's text, so the text is not kept."""
    with LoopbackVendor() as vendor:
        sender = Transport(vendor.base_url, timeout_s=2.0)
        broken = Request("POST", "/1/upload", {"X-CleverTap-Passcode": f"{SECRET}\n"}, b"{}")
        answer = sender.send(broken)
        sender.close()
    assert isinstance(answer, UploadResult)
    assert answer.response_class is ResponseClass.UNREACHABLE
    assert SECRET not in answer.error
    assert vendor.requests == []


def test_send_unknown_host_is_unreachable() -> None:
    """A host that cannot be resolved, or is not a host name, has received nothing."""
    for host in ("nowhere.invalid", "a" * 70 + ".invalid"):
        sender = Transport(f"http://{host}", timeout_s=5.0)
        answer = sender.send(request(f"http://{host}"))
        sender.close()
        assert isinstance(answer, UploadResult)
        assert answer.response_class is ResponseClass.UNREACHABLE


def test_send_tries_every_address_of_a_name(
    vendor: LoopbackVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name's addresses, those that refuse cost nothing while another one answers."""
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, vendor.port))
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", _resolving(found))
    sender = Transport(f"http://several.invalid:{vendor.port}", timeout_s=5.0)
    answer = sender.send(request(vendor.base_url))
    sender.close()
    assert isinstance(answer, Response)
    assert answer.status == 200


def _resolving(found: Sequence[object]) -> Callable[..., Sequence[object]]:
    real = socket.getaddrinfo

    def resolve(host: str, *rest: object, **named: object) -> Sequence[object]:
        if host == "several.invalid":
            return found
        return list(real(host, *rest, **named))  # type: ignore[arg-type] # passed through

    return resolve


def test_send_closed_port_is_unreachable() -> None:
    """A refused connection has received nothing."""
    url = f"http://127.0.0.1:{find_free_port()}"
    sender = Transport(url, timeout_s=2.0)
    answer = sender.send(request(url))
    assert isinstance(answer, UploadResult)
    assert answer.response_class is ResponseClass.UNREACHABLE


def compressed(status: int) -> Play:
    """An answer that says it is compressed, and is not."""

    def play(exchange: Exchange) -> None:
        exchange.records()
        exchange.send(rendered(status, b"not gzip", {"Content-Encoding": "gzip"}))

    return play


@pytest.mark.parametrize("status", [200, 401, 503])
def test_send_broken_compression_keeps_the_status(vendor: LoopbackVendor, status: int) -> None:
    """What cannot be decompressed is an answer without words, and its status still counts."""
    answer = send(vendor, compressed(status))
    assert isinstance(answer, Response)
    assert (answer.status, answer.content) == (status, b"")


def test_send_response_that_is_not_http_is_ambiguous(vendor: LoopbackVendor) -> None:
    """The other side read the whole request and answered in another protocol."""

    def play(exchange: Exchange) -> None:
        exchange.records()
        exchange.send(b"220 mail.example ESMTP\r\n")
        exchange.hang_up()

    answer = send(vendor, play)
    assert isinstance(answer, UploadResult)
    assert answer.response_class is ResponseClass.AMBIGUOUS


def test_stop_by_ends_requests_in_flight(vendor: LoopbackVendor) -> None:
    """A worker that is stopping waits no longer for a response than it may."""
    sender = Transport(vendor.base_url, timeout_s=60.0)

    def play(exchange: Exchange) -> None:
        exchange.records()
        sender.stop_by(0.2)
        exchange.silence()

    vendor.script(play)
    began_s = time.monotonic()
    answer = sender.send(request(vendor.base_url))
    assert time.monotonic() - began_s < 20
    assert isinstance(answer, UploadResult)
    assert answer.response_class is ResponseClass.AMBIGUOUS


def folded(content: bytes) -> Play:
    """A success that is compressed without being asked."""

    def play(exchange: Exchange) -> None:
        exchange.records()
        exchange.send(rendered(200, gzip.compress(content), {"Content-Encoding": "gzip"}))

    return play


def test_send_compressed_response_is_read(vendor: LoopbackVendor) -> None:
    """A proxy on the way may do so: the words are the vendor's."""
    answer = send(vendor, folded(b'{"status":"success"}'))
    assert isinstance(answer, Response)
    assert (answer.status, answer.content) == (200, b'{"status":"success"}')


@pytest.mark.parametrize("play", [fault_scripts.body(b"x" * 2000), folded(b"x" * 2000)])
def test_send_response_above_the_limit_is_dropped(
    vendor: LoopbackVendor, monkeypatch: pytest.MonkeyPatch, play: Play
) -> None:
    """An answer above the size we are ready for, once unfolded, is read as one without words."""
    monkeypatch.setattr(transport, "MAX_ANSWER_BYTES", 1000)
    answer = send(vendor, play)
    assert isinstance(answer, Response)
    assert (answer.status, answer.content, answer.too_large) == (200, b"", True)
