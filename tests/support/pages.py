"""The dashboard as a person's browser asks for it, without a browser: pages, forms, cookies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from html import unescape
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from support.gateway import PATIENT
from support.vendor import LoopbackVendor
from worker.gateway.app import create_app

PASSWORD = "correct-horse-battery"
Headers = Mapping[str, str | bytes] | None


class Visitor:
    """Somebody with a browser; follows no redirect by itself."""

    def __init__(self, app: ASGIApp, address: str, base_url: str) -> None:
        self.app = app
        self.address = address
        self.base_url = base_url
        self.cookies = httpx.Cookies()

    def get(self, path: str, headers: Headers = None) -> httpx.Response:
        """Ask for a page."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str], headers: Headers = None) -> httpx.Response:
        """Send a form as it is."""
        return self.ask("POST", path, data=dict(form), headers=headers)

    def token(self, path: str) -> str:
        """The token in the forms of a page."""
        return field(self.get(path).text, "token")

    def send(
        self, path: str, *, seen: str | None = None, headers: Headers = None, **form: str
    ) -> httpx.Response:
        """Send a form to ``path`` as the page ``seen`` has it, which is the same one usually."""
        return self.post(path, {"token": self.token(seen or path), **form}, headers)

    def sign_in(self, user: str = "operator", password: str = PASSWORD) -> httpx.Response:
        """Try to."""
        return self.send("/login", user=user, password=password)

    def ask(self, method: str, path: str, **told: Any) -> httpx.Response:
        """One request; what the pages do runs in threads, so each may have a loop of its own."""
        return asyncio.run(self._ask(method, path, told))

    async def _ask(self, method: str, path: str, told: Mapping[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(self.address, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url=self.base_url, cookies=self.cookies
        ) as client:
            answer = await client.request(method, path, **told)
            self.cookies = client.cookies
            return answer


def field(html: str, name: str) -> str:
    """The value of the first hidden field of that name."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, f"no field {name}"
    return unescape(found[1])


def links(html: str, beginning: str) -> list[str]:
    """Where the links go whose address begins so; each once, in order."""
    return list(dict.fromkeys(re.findall(rf'href="({re.escape(beginning)}[^"]*)"', html)))


VisitorFactory = Callable[..., Visitor]


@pytest.fixture
def visitor_of(redis_url: str, vendor: LoopbackVendor) -> VisitorFactory:
    """Makes visitors of a dashboard, with settings and an address as the test needs them."""

    def make(
        address: str = "127.0.0.1", base_url: str = "http://testserver", **environ: str
    ) -> Visitor:
        env = {
            "REDIS_URL": redis_url,
            "CLEVERTAP_ACCOUNT_ID": "ACCOUNT-1",
            "CLEVERTAP_PASSCODE": "PASS-PASS-PASS",
            "CLEVERTAP_BASE_URL": vendor.base_url,
            "INGEST_DASHBOARD_PASSWORD": PASSWORD,
            **PATIENT,
            **environ,
        }
        return Visitor(create_app(env), address, base_url)

    return make


@pytest.fixture
def visitor(visitor_of: VisitorFactory) -> Visitor:
    """Somebody who has not signed in."""
    return visitor_of()


@pytest.fixture
def operator(visitor: Visitor) -> Visitor:
    """Somebody who has."""
    assert visitor.sign_in().status_code == 303
    return visitor
