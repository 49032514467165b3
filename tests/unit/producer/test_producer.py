"""What producers refuse before they connect."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from worker import AsyncProducer, Producer
from worker.errors import SettingsError


@pytest.mark.parametrize("made", [Producer.from_env, AsyncProducer.from_env])
@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://:hidden@h:6379",
        "redis://:hid/den@h:1",
        "redis://:hidden@h:port/0",
        "redis+sentinel://:hidden@h:1",
        "redis+cluster://:hidden@h:1?socket_timeout=soon",
    ],
)
def test_from_env_with_a_malformed_address_raises_without_quoting_it(
    made: Callable[[dict[str, str]], object], url: str
) -> None:
    """The error names REDIS_URL and an example, and shows nothing of the address."""
    with pytest.raises(SettingsError, match="REDIS_URL: not an address") as raised:
        made({"REDIS_URL": url})
    text = "".join(traceback.format_exception(raised.value))
    assert "looks like redis" in text
    assert not any(part in text for part in ("hidden", "'hid'"))
