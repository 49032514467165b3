"""The sandbox's settings from the environment."""

from __future__ import annotations

import pytest

from worker.sandbox.settings import SandboxSettings


def test_from_env_reads_each_field_by_type() -> None:
    """Each field has a variable, read as the type of its default."""
    environ = {
        "INGEST_SANDBOX_UPLOAD_CONCURRENCY": "3",
        "INGEST_SANDBOX_LATENCY_MS": "12.5",
        "INGEST_SANDBOX_CLOSE_CONNECTIONS": "yes",
        "INGEST_SANDBOX_DISCARDED_EVENTS": "Old, Older",
        "INGEST_SANDBOX_PASSCODE": "ours",
    }
    settings = SandboxSettings.from_env(environ)
    assert settings.upload_concurrency == 3
    assert settings.latency_ms == 12.5
    assert settings.close_connections is True
    assert settings.discarded_events == ("Old", "Older")
    assert settings.passcode == "ours"


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("INGEST_SANDBOX_LATENCY_MS", "fast", "must be a number, 0 or more, not 'fast'"),
        ("INGEST_SANDBOX_LATENCY_MS", "nan", "must be a number, 0 or more, not 'nan'"),
        ("INGEST_SANDBOX_MAX_RECORDS", "1.5", "must be a whole number, 0 or more, not '1.5'"),
        ("INGEST_SANDBOX_KEEP_REQUESTS", "-1", "must be a whole number, 0 or more, not '-1'"),
        (
            "INGEST_SANDBOX_TIME_ZONE",
            "Mars/Base",
            "must be a time zone, as in Europe/Prague, not 'Mars/Base'",
        ),
        (
            "INGEST_SANDBOX_TIME_ZONE",
            "../zone",
            "must be a time zone, as in Europe/Prague, not '../zone'",
        ),
        ("INGEST_SANDBOX_NESTED_OBJECTS", "maybe", "must be true or false, not 'maybe'"),
    ],
)
def test_from_env_invalid_value_names_the_variable(variable: str, value: str, rule: str) -> None:
    """The error names the variable and what it must be."""
    with pytest.raises(ValueError, match=f"^{variable}: {rule}$"):
        SandboxSettings.from_env({variable: value})
