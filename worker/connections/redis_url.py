"""Where the Redis that holds the records is."""

from __future__ import annotations

from ..errors import SettingsError
from ..settings.settings import Settings
from .clients import check_address
from .embedded.server import running_url


def redis_url(settings: Settings) -> str:
    """REDIS_URL, or the address of the embedded Redis that runs here.

    SettingsError when there is neither, or when it is no address; it never shows the address,
    which may hold a password.
    """
    url = settings.redis_url.reveal() or running_url()
    if not url:
        raise SettingsError(
            "REDIS_URL: not set, and no embedded Redis runs in ./var (`ingest up` starts one)"
        )
    try:
        check_address(url)
    except SettingsError as error:
        raise SettingsError(f"REDIS_URL: {error}") from None
    return url
