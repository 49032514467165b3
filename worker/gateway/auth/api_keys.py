"""The producers' keys for the gateway: each has a name and can be revoked on its own.

A key is 256 random bits, and Redis holds only its SHA-256, in one hash by name. A slow, salted hash
protects passwords that people choose; 256 random bits cannot be guessed, and every request would
pay for a slow hash. Presented keys are hashed before the look-up, so its time reveals nothing of a
key; the digest found is compared in constant time nevertheless.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import cast

import orjson
import redis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.buffer.keys import PREFIX
from worker.errors import IngestError

from ..server.endpoint import HttpError

TABLE = f"{PREFIX}gateway:keys"
KEY_PREFIX = "ingest_"  # so that a scanner for leaked secrets can find one
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class KeyNameError(IngestError):
    """A key of that name exists already, does not exist, or the name is not valid."""


@dataclass(frozen=True, slots=True)
class ProducerKey:
    """A stored key; ``destinations`` is empty when it may send to all of them."""

    name: str
    digest: bytes
    created_s: int
    destinations: frozenset[str] = frozenset()

    def may_send_to(self, destination: str) -> bool:
        """Return whether the key's holder may enqueue for that destination."""
        return not self.destinations or destination in self.destinations


def digest(key: str) -> bytes:
    """Return the 64 hex digits that Redis stores of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest().encode()


def read_table(table: Mapping[bytes, bytes]) -> dict[bytes, ProducerKey]:
    """Return the keys by digest; skip entries that are not valid."""
    found = {}
    for name, raw in table.items():
        try:
            entry = orjson.loads(raw)
            key = ProducerKey(
                name=name.decode(),
                digest=entry["digest"].encode(),
                created_s=int(entry["created_s"]),
                destinations=frozenset(map(str, entry["destinations"])),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        found[key.digest] = key
    return found


def find(keys: Mapping[bytes, ProducerKey], presented: str) -> ProducerKey | None:
    """Return the key that was presented, or None."""
    presented_digest = digest(presented)
    key = keys.get(presented_digest)
    if key is None or not hmac.compare_digest(key.digest, presented_digest):
        return None
    return key


class KeyTable:
    """Manages the keys, for operators; raises RedisError when Redis is unavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def create(self, name: str, destinations: frozenset[str] = frozenset()) -> str:
        """Make a key and return it, this once only; KeyNameError if the name is taken."""
        if not _NAME.fullmatch(name):
            rule = "a key's name has letters, digits, '.', '_' and '-', at most 63"
            raise KeyNameError(f"{name!r}: {rule}")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        entry = {
            "digest": digest(key).decode(),
            "created_s": int(time.time()),
            "destinations": sorted(destinations),
        }
        if not self._client.hsetnx(TABLE, name, orjson.dumps(entry).decode()):
            raise KeyNameError(f"key {name!r} exists already: revoke it first")
        return key

    def all(self) -> list[ProducerKey]:
        """Return all keys, by name."""
        table: dict[bytes, bytes] = self._client.hgetall(TABLE)  # type: ignore[assignment] # bytes
        return sorted(read_table(table).values(), key=lambda each: each.name)

    def revoke(self, name: str) -> None:
        """Make a key invalid, at every gateway within seconds; KeyNameError if there is none."""
        if not self._client.hdel(TABLE, name):
            raise KeyNameError(f"there is no key {name!r}")


FRESH_S = 2.0
# An unknown key may be new, so the table is read again, but no more often than this.
UNKNOWN_FRESH_S = 0.25
RETRY_S = 1.0


class KeyCache:
    """Finds keys for one event loop, in a table that is read again every two seconds.

    The table is small (one key per web app), so one HGETALL serves every look-up until the next. A
    revoked key is rejected after at most two seconds; a new one is accepted at its first use.
    """

    def __init__(self, client: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._keys: Mapping[bytes, ProducerKey] = {}
        self._read_at = self._failed_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, presented: str) -> ProducerKey | None:
        """Return the presented key, or None; HttpError 503 when the table cannot be read."""
        if self._clock() - self._read_at > FRESH_S:
            await self._read(FRESH_S)
        key = find(self._keys, presented)
        if key is None and self._clock() - self._read_at > UNKNOWN_FRESH_S:
            await self._read(UNKNOWN_FRESH_S)
            key = find(self._keys, presented)
        return key

    async def _read(self, fresh_s: float) -> None:
        """Read the table; requests that wait meanwhile share the outcome, a failure too.

        If each of a hundred tried a silent Redis on its own, the last would wait for minutes.
        """
        arrived = self._clock()
        async with self._reading:
            if self._clock() - self._read_at <= fresh_s:
                return
            if self._failed_at >= arrived:
                raise _unavailable()
            started = self._clock()
            try:
                table = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(TABLE))
            except RedisError as error:
                self._failed_at = self._clock()
                raise _unavailable() from error
            self._keys, self._read_at = read_table(table), started


def _unavailable() -> HttpError:
    return HttpError(503, "Redis is unavailable: nothing was accepted", retry_after_s=RETRY_S)
