"""Where the Redis that holds the records is."""

from __future__ import annotations

from .embedded import running_url
from .errors import SettingsError
from .settings import Settings


def redis_url(settings: Settings) -> str:
    """REDIS_URL, or the address of the embedded Redis that runs here.

    SettingsError when there is neither.
    """
    if url := settings.redis_url.reveal() or running_url():
        return url
    raise SettingsError(
        "REDIS_URL: not set, and no embedded Redis runs in ./var (`ingest up` starts one)"
    )
