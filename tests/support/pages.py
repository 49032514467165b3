"""The dashboard as a browser requests it, without a browser: pages, forms, cookies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from typing import Any

import httpx
import pytest
import redis
from starlette.types import ASGIApp

from support.gateway import PATIENT
from support.pipeline import Pipeline, PipelineFactory
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.records import pack
from worker.dashboard.audit_log import AuditLog
from worker.gateway.app import create_app
from worker.vendors.protocol import Kind

PASSWORD = "correct-horse-battery"
DESTINATION_PAGE = "/destinations/clevertap"
Headers = Mapping[str, str | bytes] | None


class Visitor:
    """A browser with its cookies; follows no redirect."""

    def __init__(self, app: ASGIApp, address: str, base_url: str) -> None:
        self.app = app
        self.address = address
        self.base_url = base_url
        self.cookies = httpx.Cookies()

    def get(self, path: str, headers: Headers = None) -> httpx.Response:
        """Request a page."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str], headers: Headers = None) -> httpx.Response:
        """Send a form unchanged."""
        return self.request("POST", path, data=dict(form), headers=headers)

    def token(self, path: str) -> str:
        """Return the token in the forms of a page."""
        return field(self.get(path).text, "token")

    def send(
        self, path: str, *, seen: str | None = None, headers: Headers = None, **form: str
    ) -> httpx.Response:
        """Send a form to ``path`` with the token of the page ``seen``, by default the same one."""
        return self.post(path, {"token": self.token(seen or path), **form}, headers)

    def sign_in(self, user: str = "operator", password: str = PASSWORD) -> httpx.Response:
        """Submit the sign-in form."""
        return self.send("/login", user=user, password=password)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request; the pages run in threads, so each request may have its own loop."""
        return asyncio.run(self._request(method, path, options))

    async def _request(self, method: str, path: str, options: Mapping[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, client=(self.address, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url=self.base_url, cookies=self.cookies
        ) as client:
            response = await client.request(method, path, **options)
            self.cookies = client.cookies
            return response


def field(html: str, name: str) -> str:
    """Return the value of the first hidden field of that name."""
    found = re.search(rf'name="{name}" value="([^"]*)"', html)
    assert found, f"no field {name}"
    return unescape(found[1])


def links(html: str, prefix: str) -> list[str]:
    """Return the targets of the links that begin with ``prefix``; each once, in order."""
    return list(dict.fromkeys(re.findall(rf'href="({re.escape(prefix)}[^"]*)"', html)))


def text_of(html: str) -> str:
    """Return the text of a page, or of a part of one."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))).strip()


def rows(html: str, *columns: str) -> list[dict[str, str]]:
    """Return the rows of the first table that has these columns, each as {column: text}."""
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        head, _, body = table.partition("</thead>")
        names = _cells(head)
        if set(columns) <= set(names):
            found = re.findall(r"<tr>.*?</tr>", body, re.DOTALL)
            return [dict(zip(names, _cells(row), strict=True)) for row in found]
    return []


def _cells(html: str) -> list[str]:
    return [text_of(each) for each in re.findall(r"<t[hd]\b.*?</t[hd]>", html, re.DOTALL)]


def facts(html: str) -> dict[str, str]:
    """Return the named values of a page; of values with one name, the first."""
    found = re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", html, re.DOTALL)
    return {text_of(name): text_of(value) for name, value in reversed(found)}


def heading(html: str) -> str:
    """Return the text of a page's heading."""
    return text_of(html.partition("<h1>")[2].partition("</h1>")[0])


def group_path(visitor: Visitor) -> str:
    """Return the path of the only group of dead letters."""
    (found,) = links(visitor.get("/dead-letters").text, "/dead-letters/")
    return found


def record_paths(visitor: Visitor) -> list[str]:
    """Return the paths of the records of the only group."""
    return links(visitor.get(group_path(visitor)).text, "/records/")


def audit_actions(client: redis.Redis) -> list[tuple[str, str, int]]:
    """Return who did what to how many, the newest first."""
    return [(each.user, each.action, each.count) for each in AuditLog(client).latest()]


def profile_bytes(number: int) -> bytes:
    """Return a stored profile with the id and the identity of a number."""
    body = b'{"type":"profile","identity":"a%d","profileData":{}}' % number
    return pack(f"{number:032x}", "", "", body)


def add_dead_letter(
    client: redis.Redis,
    record: bytes,
    *,
    destination: str = "clevertap",
    kind: str = "profile",
    entry: str = "*",
    **changed: Any,
) -> None:
    """Store a dead letter, as the script `settle` does."""
    fields: Any = {"reason": "refused", "code": 516, "error": "No.", "attempts": 1, **changed}
    client.xadd(keys.dead(destination, kind), {"record": record, **fields}, id=entry)
    client.hincrby(keys.counters(destination), f"{kind}:accepted", 1)


RefuseProfiles = Callable[..., Pipeline]


@pytest.fixture
def refuse_profiles(pipeline_of: PipelineFactory, vendor: LoopbackVendor) -> RefuseProfiles:
    """Makes dead letters of destination clevertap: profiles that the vendor refuses."""

    def make(names: Sequence[str], code: int = 516) -> Pipeline:
        pipeline = pipeline_of(name="clevertap")
        for name in names:
            vendor.prescribe(name, code)
        pipeline.accept_profiles(names)
        pipeline.deliver()
        assert pipeline.status().kinds[Kind.PROFILE].dead >= len(names)
        return pipeline

    return make


VisitorFactory = Callable[..., Visitor]


@pytest.fixture
def visitor_of(redis_url: str, vendor: LoopbackVendor) -> VisitorFactory:
    """Makes visitors of a dashboard, with the settings and address that a test needs."""

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
    """A visitor who has not signed in."""
    return visitor_of()


@pytest.fixture
def operator(visitor: Visitor) -> Visitor:
    """A visitor who has signed in."""
    assert visitor.sign_in().status_code == 303
    return visitor


@pytest.fixture
def colleague(visitor_of: VisitorFactory) -> Visitor:
    """Another visitor who has signed in, at another gateway."""
    visitor = visitor_of("192.0.2.2")
    assert visitor.sign_in().status_code == 303
    return visitor
