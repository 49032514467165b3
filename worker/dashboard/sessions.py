"""Who is signed in: a signed cookie, and the tokens that go with its forms.

The signing key is made of a random secret in Redis, which all gateways share, and the password: a
new password, or `DEL 'ingest:{:dashboard}:secret'`, ends every session. Whoever has a cookie but
not the secret cannot even try passwords against it.
"""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_bytes, token_urlsafe

import orjson
import redis

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script

from .settings import DashboardSettings

_SECRET = f"{DASHBOARD}:secret"
_SECRET_FRESH_S = 30.0  # so long another gateway's new secret may be unknown here


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in: whose, its random id, and when it ends (epoch seconds)."""

    user: str
    id: str
    ends_s: int


class Sessions:
    """Makes, reads and ends sessions. RedisError when Redis is away: then nobody is let in."""

    def __init__(
        self,
        client: redis.Redis,
        settings: DashboardSettings,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._secret = b""
        self._read_at = float("-inf")

    def knows(self, user: str, password: str) -> bool:
        """Whether these are the ones set, in a time that tells nothing of either."""
        right_user = hmac.compare_digest(_digest(user), _digest(self._settings.user))
        right = hmac.compare_digest(_digest(password), _digest(self._settings.password.reveal()))
        return right_user & right & self._settings.on

    def begin(self) -> str:
        """A new session's cookie."""
        ends_s = int(self._now() + self._settings.session_s)
        payload = orjson.dumps([self._settings.user, token_urlsafe(18), ends_s])
        return f"{_text(payload)}.{self._sign('session', payload)}"

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie; None when it is none of ours, is over, or was ended."""
        told, _, signature = cookie.partition(".")
        try:
            payload = urlsafe_b64decode(told + "=" * (-len(told) % 4))
        except ValueError:
            return None
        if not _same(signature, self._sign("session", payload)):
            return None
        session = Session(*orjson.loads(payload))
        if session.ends_s <= self._now() or session.user != self._settings.user:
            return None
        ended = self._client.exists(f"{DASHBOARD}:ended:{session.id}")
        return None if ended else session

    def end(self, session: Session) -> None:
        """End it, also for those who copied its cookie."""
        left_s = max(1, int(session.ends_s - self._now()))
        script("end_session").run(self._client, DASHBOARD, session.id, left_s)

    def form_token(self, owner: str) -> str:
        """What a form must bring back; ``owner`` is the session's id, or the sign-in page's."""
        return self._sign("form", owner.encode())

    def is_form_token(self, owner: str, token: str) -> bool:
        """Whether a form was made by us, for this owner."""
        return _same(token, self.form_token(owner))

    def _sign(self, use: str, payload: bytes) -> str:
        key = hmac.digest(self._shared(), self._settings.password.reveal().encode(), "sha256")
        return _text(hmac.digest(key, use.encode() + b"\n" + payload, "sha256"))

    def _shared(self) -> bytes:
        """The secret in Redis, made by whoever comes first."""
        if self._now() - self._read_at > _SECRET_FRESH_S:
            found = self._client.get(_SECRET)
            if found is None:
                self._client.set(_SECRET, token_bytes(32), nx=True)
                found = self._client.get(_SECRET)
            self._secret = bytes(found)  # type: ignore[arg-type] # a blocking client, and it is set
            self._read_at = self._now()
        return self._secret


def _digest(text: str) -> bytes:
    """Of one length, whatever the text's: only such are compared in constant time."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_digest(one), _digest(other))


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
