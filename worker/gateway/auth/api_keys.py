"""The keys that producers show the gateway: several, each with a name, revocable one by one.

A key is 256 random bits. Redis holds its SHA-256 alone, in one hash by name. A slow hash with a
salt protects words that people choose, which can be guessed; nobody guesses 256 random bits, and a
slow hash would be paid for with every request. Presented keys are hashed before they are looked up,
so the time of a look-up tells nothing of a key; what is found is compared in constant time all the
same.
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
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class KeyNameError(IngestError):
    """A producer's key of that name exists already, does not exist, or cannot be named so."""


@dataclass(frozen=True, slots=True)
class ProducerKey:
    """What is known of a key; ``destinations`` is empty when it may send to all of them."""

    name: str
    digest: bytes
    created_s: int
    destinations: frozenset[str] = frozenset()

    def may_send_to(self, destination: str) -> bool:
        """Whether the key's holder may enqueue for that destination."""
        return not self.destinations or destination in self.destinations


def digest(key: str) -> bytes:
    """What Redis keeps of a key: 64 hex digits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest().encode()


def read_table(table: Mapping[bytes, bytes]) -> dict[bytes, ProducerKey]:
    """The keys by digest; entries that are none of ours are passed over."""
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


def find(keys: Mapping[bytes, ProducerKey], shown: str) -> ProducerKey | None:
    """The key that was shown, or None."""
    shown_digest = digest(shown)
    key = keys.get(shown_digest)
    if key is None or not hmac.compare_digest(key.digest, shown_digest):
        return None
    return key


class KeyTable:
    """An operator's hands on the keys; RedisError when Redis is away."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def create(self, name: str, destinations: frozenset[str] = frozenset()) -> str:
        """Make a key and return it: it is known now and never again. KeyNameRefused if taken."""
        if not _NAME.fullmatch(name):
            raise KeyNameError(
                f"{name!r}: a key's name is of letters, digits, '.', '_' and '-', 63 at most"
            )
        key = KEY_PREFIX + secrets.token_urlsafe(_BYTES)
        entry = {
            "digest": digest(key).decode(),
            "created_s": int(time.time()),
            "destinations": sorted(destinations),
        }
        if not self._client.hsetnx(TABLE, name, orjson.dumps(entry).decode()):
            raise KeyNameError(f"there is a key {name!r} already: revoke it first")
        return key

    def all(self) -> list[ProducerKey]:
        """All keys, by name."""
        table: dict[bytes, bytes] = self._client.hgetall(TABLE)  # type: ignore[assignment] # bytes
        return sorted(read_table(table).values(), key=lambda each: each.name)

    def revoke(self, name: str) -> None:
        """Make a key invalid, at every gateway within seconds. KeyNameRefused if there is none."""
        if not self._client.hdel(TABLE, name):
            raise KeyNameError(f"there is no key {name!r}")
