"""The sandbox's page: what it shows, and its forms."""

from __future__ import annotations

import httpx

from support.sandbox import events


def test_page_escapes_record_content(client: httpx.Client) -> None:
    """No tag of a record's content reaches the page, and no script runs."""
    client.post("/1/upload", json=events(1, name="<script>alert(1)</script>"))
    client.post("/sandbox/faults", json={"kind": "nonsense", "path": "<b>bold</b>"})
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "not the vendors" in page.text


def test_page_buttons_set_faults(client: httpx.Client) -> None:
    """A form sets a fault and returns to the page; other sites are refused."""
    form = {"rule": '{"kind": "http", "status": 503, "times": 1}'}
    assert client.post("/sandbox/faults", data=form).headers["location"] == "/"
    assert client.post("/1/upload", json=events(1)).status_code == 503
    foreign = {"Origin": "http://elsewhere.example"}
    assert client.post("/sandbox/faults", data=form, headers=foreign).status_code == 403
    client.post("/sandbox/faults", data={"clear": "all"})
    assert client.get("/sandbox/faults").json() == []
