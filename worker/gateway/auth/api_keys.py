"""The producers' keys for the gateway: each has a name and can be revoked on its own.

A key is 256 random bits, and Redis holds only its SHA-256, in one hash by name. A slow, salted hash
protects passwords that people choose; 256 random bits cannot be guessed, and every request would
pay for a slow hash. Presented keys are hashed before the look-up, so its time reveals nothing of a
key; the digest found is compared in constant time nevertheless.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
import redis

from worker.buffer.keys import PREFIX
from worker.errors import IngestError

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
