"""Flower's configuration: never without a login, and on loopback unless told otherwise.

Flower has no login of its own accord, and whoever reaches it can stop workers (CVE-2022-30034).
Two of its pages stay open by its design, and show neither records nor secrets: /metrics and
/healthcheck. Task arguments need no masking: they are batch ids.
"""

import os

from worker.errors import SettingsError
from worker.settings.third_party import flower_logins


def _logins() -> list[str]:
    """The logins, `name:password` each: of FLOWER_BASIC_AUTH, or of the file for it."""
    try:
        logins = flower_logins(os.environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from error
    if not logins:
        raise SystemExit(
            "Flower does not start without a login: "
            "set FLOWER_BASIC_AUTH to name:password, or FLOWER_BASIC_AUTH_FILE to a file with it"
        )
    return logins


basic_auth = _logins()
# Other addresses are for those who put TLS in front; a container has to listen to its network.
address = os.environ.get("FLOWER_ADDRESS") or "127.0.0.1"
# A task is a batch: 10,000 of them are up to ten million records, and some 20 MB here.
max_tasks = 10_000
# Restarted workers come back under new names in containers; the old ones go after five minutes.
purge_offline_workers = 300
