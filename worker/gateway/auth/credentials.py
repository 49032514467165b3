"""What a request shows to be let in, in the forms of the vendors' clients. Pure.

Ours is always the secret part: CleverTap's passcode, Bloomreach's API secret or access token, or
a bearer token. The public part (account id, API key id) only names an account.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from worker.settings.destination import Destination


@dataclass(frozen=True, slots=True)
class Credentials:
    """A public part, which may be empty, and a secret one."""

    public: str
    secret: str


def bearer(authorization: str) -> str:
    """The key of `Authorization: Bearer KEY`; empty when it is something else."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def bloomreach(authorization: str) -> Credentials | None:
    """The key of `Basic base64(ID:KEY)`, `Token KEY` or `Bearer KEY`; None when there is none.

    Some clients can only be given one word: `Basic base64(KEY:)` is taken too.
    """
    scheme, _, value = authorization.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme in {"token", "bearer"} and value:
        return Credentials("", value)
    if scheme != "basic":
        return None
    try:
        public, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    if not colon:
        return None
    if not secret:
        public, secret = "", public
    return Credentials(public, secret) if secret else None


def are_the_vendors(shown: Credentials, destination: Destination) -> bool:
    """Whether these are the credentials that we ourselves use at the destination's vendor."""
    public, secret = destination.account.gateway_credentials()
    return _same(shown, shown.public if public is None else public, secret)


def _same(shown: Credentials, public: str, secret: str) -> bool:
    """Compare in constant time; what is not configured is like nothing."""
    publics = hmac.compare_digest(_bytes(shown.public), _bytes(public))
    secrets = hmac.compare_digest(_bytes(shown.secret), _bytes(secret))
    return publics and secrets and bool(secret)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
