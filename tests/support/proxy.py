"""A TCP proxy on loopback that can stop forwarding without a word, or swallow one answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

CHUNK = 65536


class _Pair:
    """One connection from a client, and ours to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.frozen = False
        self.swallow = False

    def cut(self) -> None:
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Forwards one port to another, from construction to `close`."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._pairs: list[_Pair] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._watched: bytes | None = None
        self.swallowed = threading.Event()
        self._frozen_for_all = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of a Redis behind it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def freeze(self, *, newcomers: bool = False) -> None:
        """Forward nothing more on the connections there are; with ``newcomers`` on none.

        Neither side notices, as if a cable had been pulled.
        """
        with self._lock:
            self._frozen_for_all = newcomers
            for pair in self._pairs:
                pair.frozen = True

    def thaw(self) -> None:
        """Forward on new connections again; those that were frozen stay so."""
        self._frozen_for_all = False

    def swallow_answer_to(self, request: bytes) -> None:
        """Let the next request that holds these bytes pass, and cut instead of answering it."""
        self.swallowed.clear()
        self._watched = request

    def close(self) -> None:
        """End all."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.cut()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                pair.frozen = self._frozen_for_all
                self._pairs.append(pair)
            for source, forward in ((client, self._ask), (server, self._answer)):
                pump = threading.Thread(
                    target=self._pump, args=(pair, source, forward), daemon=True
                )
                self._threads.append(pump)
                pump.start()

    @staticmethod
    def _pump(pair: _Pair, source: socket.socket, forward: Callable[[_Pair, bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not pair.frozen:
                    forward(pair, data)
        if not pair.frozen:
            pair.cut()
        source.close()

    def _ask(self, pair: _Pair, data: bytes) -> None:
        with self._lock:
            if self._watched is not None and self._watched in data:
                self._watched, pair.swallow = None, True
        pair.server.sendall(data)

    def _answer(self, pair: _Pair, data: bytes) -> None:
        if pair.swallow:
            self.swallowed.set()
            pair.cut()
        else:
            pair.client.sendall(data)
