"""The vendor's own opinion of records, asked for by a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.dead_letters.replay_check import Ask
from worker.errors import SettingsError
from worker.settings import Destination


@contextmanager
def ask_vendor(destination: Destination) -> Iterator[Ask]:
    """Asks as long as the block runs; SettingsError when the destination has no secrets.

    The vendor's side is imported when it is first asked: a gateway that only takes records in
    needs no HTTP client.
    """
    from worker.bootstrap import vendor_of
    from worker.destinations.transport import Transport
    from worker.dry_run import DryRun

    if not destination.enabled:
        raise SettingsError(
            f"{destination.name} is not enabled here, so the vendor cannot be asked"
        )
    vendor = vendor_of(destination)
    transport = Transport(vendor.base_url, timeout_s=destination.request_timeout_s, connections=1)
    try:
        yield DryRun(vendor, transport).verdicts
    finally:
        transport.close()
