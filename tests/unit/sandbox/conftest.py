"""A sandbox of the test's own, without a server."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from support.in_process import client_of
from support.sandbox import ACCOUNT, KEY
from worker.sandbox.server import create_app


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """Speaks to it with the right credentials of both vendors."""
    with client_of(create_app(), ACCOUNT | KEY) as opened:
        yield opened
