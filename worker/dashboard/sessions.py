"""Sessions: a signed cookie for each, and the tokens that go with its forms.

The signing key comes from a random secret in Redis, which all gateways share, and the password: a
new password, or `DEL 'ingest:{:dashboard}:secret'`, ends every session. A cookie without the secret
is of no use for guessing the password offline.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_bytes, token_urlsafe

import redis
from itsdangerous import BadData, Signer, URLSafeSerializer

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script

from .settings import DashboardSettings

_SECRET = f"{DASHBOARD}:secret"
_SECRET_FRESH_S = 30.0  # another gateway's new secret may be unknown here for this long


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in user, the session's random id, and when it ends (epoch seconds)."""

    user: str
    id: str
    ends_s: int


class Sessions:
    """Starts, reads and ends sessions; raises RedisError when Redis is away, so no one gets in."""

    def __init__(
        self, client: redis.Redis, settings: DashboardSettings, now: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._secret = b""
        self._read_at = float("-inf")

    def is_password(self, user: str, password: str) -> bool:
        """Check user and password in constant time."""
        given = _digest(user) + _digest(password)
        right = _digest(self._settings.user) + _digest(self._settings.password.reveal())
        return hmac.compare_digest(given, right) and self._settings.on

    def start(self) -> str:
        """Return the cookie of a new session."""
        ends_s = int(self._now() + self._settings.session_s)
        return self._cookies().dumps([self._settings.user, token_urlsafe(18), ends_s])

    def read(self, cookie: str) -> Session | None:
        """Return a cookie's session; None if it was forged, has expired or was ended."""
        try:
            session = Session(*self._cookies().loads(cookie))
        except BadData:
            return None
        if session.ends_s <= self._now() or session.user != self._settings.user:
            return None
        ended = self._client.exists(f"{DASHBOARD}:ended:{session.id}")
        return None if ended else session

    def end(self, session: Session) -> None:
        """End a session, also for copies of its cookie."""
        left_s = max(1, int(session.ends_s - self._now()))
        script("end_session").run(self._client, DASHBOARD, session.id, left_s)

    def form_token(self, owner: str) -> str:
        """Return the token of a form; ``owner`` is the session's id or the sign-in form's."""
        return self._forms().get_signature(owner).decode()

    def is_form_token(self, owner: str, token: str) -> bool:
        """Check that a form was made here, for this owner."""
        return self._forms().verify_signature(owner, token)

    def _cookies(self) -> URLSafeSerializer:
        signed = {"key_derivation": "hmac", "digest_method": sha256}
        return URLSafeSerializer(self._key(), salt="session", signer_kwargs=signed)

    def _forms(self) -> Signer:
        return Signer(self._key(), salt="form", key_derivation="hmac", digest_method=sha256)

    def _key(self) -> bytes:
        """Return the signing key; the first process to need the secret in Redis creates it."""
        if self._now() - self._read_at > _SECRET_FRESH_S:
            found = self._client.get(_SECRET)
            if found is None:
                self._client.set(_SECRET, token_bytes(32), nx=True)
                found = self._client.get(_SECRET)
            self._secret = bytes(found)  # type: ignore[arg-type] # a blocking client, and it is set
            self._read_at = self._now()
        return hmac.digest(self._secret, self._settings.password.reveal().encode(), "sha256")


def _digest(text: str) -> bytes:
    """Hash a text, because only values of one length are compared in constant time."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
