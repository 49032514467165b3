"""Flower's configuration: always with a login, and on loopback by default.

By default Flower has no login, and anyone who can connect to it can stop workers (CVE-2022-30034).
Two of its pages are open by design and show neither records nor secrets: /metrics and /healthcheck.
Task arguments need no masking: they are batch ids.
"""

import os

from worker.errors import SettingsError
from worker.settings.third_party import flower_logins


def _logins() -> list[str]:
    """Return the logins, each `name:password`, from FLOWER_BASIC_AUTH or its file."""
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
# Use another address only behind TLS; a container has to listen on its network.
address = os.environ.get("FLOWER_ADDRESS") or "127.0.0.1"
# A task is a batch: 10,000 of them are up to ten million records and take some 20 MB here.
max_tasks = 10_000
# In containers, restarted workers get new names; forget the old ones after five minutes.
purge_offline_workers = 300
