"""An analytics SDK with the usual design: a bounded queue in memory and a thread that posts.

A stand-in, so that nothing has to be installed; it does, per call, what the common ones do: it
checks the types of its arguments, copies and cleans the properties, adds an id, a time and the
library's name, and puts the message into the queue without waiting. Its thread measures each
message's size by serialising it, and posts a hundred of them at a time. A message that finds the
queue full is dropped, and what is in the queue when the process ends is lost.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from datetime import UTC, date, datetime
from numbers import Number
from typing import Any
from uuid import uuid4

_BATCH, _MOST_BYTES, _FLUSH_S = 100, 500 * 1024, 0.5


def _clean(value: Any) -> Any:
    if isinstance(value, str | bool | Number) or value is None:
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_clean(inner) for inner in value]
    return str(value)


class MemorySdk:
    """One client and its thread."""

    def __init__(self, port: int, size: int) -> None:
        self.queue: queue.Queue[dict[str, Any]] = queue.Queue(size)
        self.dropped = 0
        self._running = True
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def track(self, identity: str, name: str, properties: dict[str, Any]) -> bool:
        """Enqueue one event; return False if the queue was full and the event is lost."""
        for value, kind in ((identity, str), (name, str), (properties, dict)):
            if not isinstance(value, kind):
                raise TypeError(f"a {kind.__name__} is needed")
        message = {
            "messageId": str(uuid4()),
            "timestamp": datetime.now(tz=UTC).isoformat(),
            "context": {"library": {"name": "memory-sdk", "version": "1"}},
            "type": "track",
            "userId": identity,
            "event": name,
            "properties": properties,
        }
        try:
            self.queue.put_nowait(_clean(message))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def _next(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        ends, size = time.monotonic() + _FLUSH_S, 0
        while len(items) < _BATCH and size < _MOST_BYTES:
            try:
                items.append(self.queue.get(timeout=max(0.0, ends - time.monotonic())))
            except queue.Empty:
                break
            size += len(json.dumps(items[-1]))
        return items

    def _run(self) -> None:
        while self._running or not self.queue.empty():
            if not (items := self._next()):
                continue
            body = json.dumps({"batch": items, "sentAt": datetime.now(tz=UTC).isoformat()})
            headers = {"Content-Type": "application/json"}
            self._connection.request("POST", "/1/upload", body, headers)
            self._connection.getresponse().read()
            for _ in items:
                self.queue.task_done()

    def join(self) -> None:
        """Wait until everything is posted, and end the thread."""
        self._running = False
        self._thread.join()
        self._connection.close()
