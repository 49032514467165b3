"""The vendor's own opinion of records, asked for by a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from worker.dead_letters.replay_check import CheckBatch
from worker.errors import SettingsError
from worker.settings.destination import Destination

# For one try of four: a person waits before an empty page, where a delivery has all the time.
PATIENCE_S = 10.0


def askable(destination: Destination) -> bool:
    """Whether its vendor has a dry run at all; Bloomreach would keep what it is asked about."""
    return destination.account.has_dry_run


@contextmanager
def ask_vendor(destination: Destination) -> Iterator[CheckBatch]:
    """Asks as long as the block runs; SettingsError when the destination has no secrets.

    The vendor's side is imported when it is first asked: a gateway that only takes records in
    needs no HTTP client.
    """
    from worker.delivery.dry_run import dry_run

    if not destination.enabled:
        raise SettingsError(
            f"{destination.name} is not enabled here, so the vendor cannot be asked"
        )
    with dry_run(destination, min(destination.request_timeout_s, PATIENCE_S)) as asked:
        yield asked.verdicts
