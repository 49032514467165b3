"""The ways a response can fail: scripts for requests to `support.vendor`."""

from __future__ import annotations

from collections.abc import Mapping

from support.vendor import Exchange, Play, Record, failure, rendered


def status(code: int, error: str = "No.", headers: Mapping[str, str] | None = None) -> Play:
    """A whole answer of this status, in the vendor's shape; no record is taken."""

    def play(exchange: Exchange) -> None:
        exchange.records()
        exchange.answer(code, failure(code, error), headers)

    return play


def body(content: bytes | Record, *, takes: bool = False) -> Play:
    """A 200 with this body; ``takes`` when the vendor took the records all the same."""

    def play(exchange: Exchange) -> None:
        records = exchange.records()
        if takes:
            exchange.vendor.take(records)
        exchange.answer(200, content)

    return play


def reset_before_reading(exchange: Exchange) -> None:
    """The connection is reset, nothing was read."""
    exchange.reset()


def reset_after_half(exchange: Exchange) -> None:
    """The connection is reset when half of the body was read."""
    exchange.body(exchange.head() // 2)
    exchange.reset()


def reset_after_all(exchange: Exchange) -> None:
    """The records are taken, the connection is reset before a word of it."""
    exchange.vendor.take(exchange.records())
    exchange.reset()


def half_an_answer(exchange: Exchange) -> None:
    """The records are taken, and the answer breaks off in its middle."""
    answer = rendered(200, exchange.vendor.take(exchange.records()))
    exchange.send(answer[: len(answer) - 10])
    exchange.hang_up()


def half_a_refusal(code: int) -> Play:
    """The status is sent, and the body breaks off."""

    def play(exchange: Exchange) -> None:
        exchange.records()
        exchange.send(rendered(code, failure(code, "No."))[:-5])
        exchange.hang_up()

    return play


def byte_by_byte(pause_s: float) -> Play:
    """The records are taken, and the answer comes a byte at a time."""

    def play(exchange: Exchange) -> None:
        for byte in rendered(200, exchange.vendor.take(exchange.records())):
            exchange.send(bytes([byte]))
            exchange.wait(pause_s)

    return play


def read_slowly(chunk: int, pause_s: float) -> Play:
    """The request is read so many bytes at a time."""

    def play(exchange: Exchange) -> None:
        missing = exchange.head()
        while missing > 0 and not exchange.vendor.closing.is_set():
            missing -= len(exchange.body(min(chunk, missing)))
            exchange.wait(pause_s)

    return play


def silence(exchange: Exchange) -> None:
    """The request is read and never answered; no record is accepted."""
    exchange.records()
    exchange.silence()


def silence_after_taking(exchange: Exchange) -> None:
    """The records are accepted, but there is no response."""
    exchange.vendor.take(exchange.records())
    exchange.silence()


def redirect(code: int, to: str) -> Play:
    """Sent elsewhere."""
    return status(code, "Moved", {"Location": f"{to}/1/upload"})


def too_large_early(exchange: Exchange) -> None:
    """413 on the headers alone; the body is left unread, and the connection closed."""
    exchange.head()
    exchange.answer(413, failure(413, "Request Entity Too Large"), {"Connection": "close"})
    exchange.hang_up()
