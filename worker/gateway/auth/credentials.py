"""Read a request's credentials, in the forms of the vendors' clients. Pure.

Our key is always the secret part: CleverTap's passcode, Bloomreach's API secret or access token,
or a bearer token. The public part (account id, API key id) only names an account.
"""

from __future__ import annotations

import base64
import hmac
from typing import NamedTuple

from worker.settings.destination import Destination


class Credentials(NamedTuple):
    """A public part, which may be empty, and a secret one."""

    public: str
    secret: str


def bearer(authorization: str) -> str:
    """Return the key of `Authorization: Bearer KEY`; empty for anything else."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def bloomreach(authorization: str) -> Credentials | None:
    """Return the key of `Basic base64(ID:KEY)`, `Token KEY` or `Bearer KEY`, or None.

    Some clients have a setting for one word only, so `Basic base64(KEY:)` works too.
    """
    scheme, _, value = authorization.partition(" ")
    scheme, value = scheme.lower(), value.strip()
    if scheme in {"token", "bearer"} and value:
        return Credentials("", value)
    if scheme != "basic":
        return None
    try:
        public, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        return None
    if not secret:
        public, secret = "", public
    return Credentials(public, secret) if colon and secret else None


def are_the_vendors(presented: Credentials, destination: Destination) -> bool:
    """Return whether these are the destination's own credentials at its vendor.

    They are compared in constant time; a secret that is not configured equals nothing.
    """
    public, secret = destination.account.gateway_credentials()
    own = Credentials(presented.public if public is None else public, secret)
    same = [hmac.compare_digest(_bytes(a), _bytes(b)) for a, b in zip(presented, own, strict=True)]
    return all(same) and bool(secret)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
