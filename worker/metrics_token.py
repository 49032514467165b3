"""The token that readers of the metrics must show."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .errors import SettingsError
from .setting_values import Secret


def metrics_token(environ: Mapping[str, str] | None = None) -> Secret:
    """INGEST_METRICS_TOKEN, or what is in the file that INGEST_METRICS_TOKEN_FILE names; empty when
    there is neither. SettingsError when the file cannot be read, or holds nothing."""
    environ = os.environ if environ is None else environ
    if value := environ.get("INGEST_METRICS_TOKEN"):
        return Secret(value)
    path = environ.get("INGEST_METRICS_TOKEN_FILE")
    if not path:
        return Secret("")
    try:
        token = Secret(Path(path).read_text(encoding="utf-8").strip())
    except OSError as error:
        raise SettingsError(
            f"INGEST_METRICS_TOKEN_FILE: cannot read the file: {error.strerror}"
        ) from error
    if not token.reveal():
        raise SettingsError("INGEST_METRICS_TOKEN_FILE: the file is empty")
    return token
