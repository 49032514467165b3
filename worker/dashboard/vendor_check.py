"""A dry run with the vendor, for a person who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.dead_letters.replay_check import CheckBatch
from worker.settings.destination import Destination

# For each of four tries: a person waits before an empty page, where a delivery has all the time.
TIMEOUT_S = 10.0


@contextmanager
def vendor_check(destination: Destination) -> Iterator[CheckBatch]:
    """Open a dry run with the vendor; SettingsError if the destination has no secrets.

    The vendor's side is imported on first use: a gateway that only accepts records needs no HTTP
    client.
    """
    from worker.delivery.dry_run import dry_run

    with dry_run(destination, min(destination.request_timeout_s, TIMEOUT_S)) as opened:
        yield opened.verdicts
