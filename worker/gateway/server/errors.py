"""The error that ends a request as a whole: nothing was enqueued, unless its text says so."""

from __future__ import annotations

import math


class HttpError(Exception):
    """The HTTP status and text to answer with; each vendor's endpoint gives them its own shape.

    ``retry_after_s`` is rounded up to whole seconds. ``close`` ends the connection, for a body
    that is not read to its end.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        retry_after_s: float | None = None,
        allow: str = "",
        close: bool = False,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers: list[tuple[bytes, bytes]] = []
        if retry_after_s is not None:
            seconds = max(1, math.ceil(retry_after_s))
            self.headers.append((b"retry-after", str(seconds).encode()))
        if allow:
            self.headers.append((b"allow", allow.encode()))
        if close:
            self.headers.append((b"connection", b"close"))
