"""What the worker needs to know of a vendor: how to ask, and what its answers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .verdicts import Answer, Request, Response


class Vendor(Protocol):
    """A vendor's upload API. Pure: it builds requests and reads responses, and sends nothing."""

    base_url: str

    def upload(self, kind: str, bodies: Sequence[bytes], *, dry_run: bool = False) -> Request:
        """The request for one batch; ``bodies`` are joined as they are."""

    def read(self, kind: str, size: int, response: Response) -> Answer:
        """What the response says of the ``size`` records sent: a verdict for each, or one for all.

        Total: no response, however odd, raises.
        """

    def probe(self) -> Request:
        """A harmless request that tells whether our credentials and address are taken."""

    def read_probe(self, response: Response) -> Answer:
        """What the probe's response says; ANSWERED means that deliveries may go on."""
