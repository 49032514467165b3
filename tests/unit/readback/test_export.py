"""Exports, from prepared responses of the vendor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.reading import DAY, NAME, ScriptedVendor, account, reply
from worker.errors import CredentialsRefused, CursorExpired, InvalidQuery, VendorError
from worker.readback.export import export_events, pages_from_start
from worker.readback.export_file import ExportProgress, ExportTarget, export_to_file
from worker.readback.queries import ExportQuery
from worker.vendors.bloomreach.account import BloomreachAccount
from worker.vendors.protocol import Request, Response

QUERY = ExportQuery(NAME, int(DAY), int(DAY))
OK = {"status": "success"}
BUSY = {"status": "fail", "error": "Request still in progress, please retry later", "code": 2}
EXPIRED = {"status": "fail", "error": "Invalid cursor", "code": "CURSOR_INVALIDATED"}
CURSOR = "AfljfgIJBgBnamF5Kz8NegcBAwxhbCe%2Fbmhhe04BBAVlYjT4YG5reQEATQQrai57K2oue04FAUhnd38%3D"
ALL = b'{"event_props":{"n":0}}\n{"event_props":{"n":1}}\n'


@pytest.fixture
def vendor() -> ScriptedVendor:
    """A vendor with prepared responses."""
    return ScriptedVendor()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The file to export to."""
    return tmp_path / "out.jsonl"


def page(number: int, following: str | None = None) -> dict[str, Any]:
    """Return a page of one event."""
    return OK | {"records": [{"event_props": {"n": number}}], "next_cursor": following}


def exported(vendor: ScriptedVendor) -> Iterator[Mapping[str, Any]]:
    """Yield the events of an export."""
    for each in pages_from_start(vendor.reader(), QUERY):
        yield from each.records


def export(vendor: ScriptedVendor, out: Path, **given: Any) -> ExportProgress:
    """Export to a file."""
    return export_to_file(vendor.reader(), QUERY, ExportTarget(out), **given)


def files(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(each.name for each in folder.iterdir())


def test_export_events_persistent_failure_raises(vendor: ScriptedVendor) -> None:
    """Failures are bounded, and the error is the vendor's last one."""
    vendor.usual = reply({"status": "fail", "error": "Please try again later"}, 503)
    with pytest.raises(VendorError, match=r"failed 6 times: Please try again later \(HTTP 503\)"):
        list(exported(vendor))
    assert len(vendor.requests) == 6


def test_export_refused_credentials_leave_no_file(vendor: ScriptedVendor, out: Path) -> None:
    """401 is not repeated, and the file created for the export is removed."""
    vendor.usual = reply({"status": "fail", "error": "Account ID is not valid", "code": 401}, 401)
    with pytest.raises(CredentialsRefused, match="Account ID is not valid"):
        export(vendor, out)
    assert len(vendor.requests) == 1
    assert files(out.parent) == []


def test_export_events_invalid_page_raises(vendor: ScriptedVendor) -> None:
    """Pages of another shape and repeated cursors are errors, not the end."""
    oddities: list[dict[str, Any]] = [{"records": {}}, {"records": [1]}, page(1, CURSOR)]
    for odd in (*oddities, page(1, "a b"), {"status": "partial"}):
        vendor.script(reply(OK | {"cursor": CURSOR}), reply(OK | odd))
        with pytest.raises(VendorError):
            list(exported(vendor))
    vendor.script(reply(OK))
    with pytest.raises(VendorError, match="no cursor"):
        list(exported(vendor))


@pytest.mark.parametrize("length", [2, 7, 64])
def test_export_cursor_loop_raises_and_adds_nothing_on_resuming(
    vendor: ScriptedVendor, out: Path, length: int
) -> None:
    """A loop of any length is found; resumed, the file does not grow."""
    cursors = [f"c{at}" for at in range(3 + length)]
    following = dict(zip(cursors, [*cursors[1:], cursors[3]], strict=True))

    def respond(request: Request) -> Response:
        cursor = request.path.partition("cursor=")[2]
        body = page(1, following[cursor]) if cursor else OK | {"cursor": "c0"}
        return reply(body)

    vendor.usual = respond
    with pytest.raises(VendorError, match="form a loop"):
        export(vendor, out)
    assert len(vendor.requests) < 10 + 5 * length
    size = out.stat().st_size
    with pytest.raises(VendorError, match="form a loop"):
        export(vendor, out)
    assert out.stat().st_size == size


def test_export_keeps_integers_beyond_64_bits(vendor: ScriptedVendor, tmp_path: Path) -> None:
    """Integers of any length keep their digits; NaN and infinity become null."""
    props = '{"a":123456789012345678901234567890,"b":-18446744073709551617,"c":[1e999,%s,%s]}'
    for odd in ("NaN", "Infinity"), ("null", "null"):
        body = '{"status":"success","records":[{"event_props":' + props % odd + "}]}"
        vendor.script(reply(OK | {"cursor": "a"}), reply(body.encode()))
        found = tmp_path / "out.jsonl"
        export(vendor, found)
        expected = (props % ("null", "null")).replace("1e999", "null")
        assert found.read_bytes().decode() == '{"event_props":' + expected + "}\n"
    vendor.script(reply(OK | {"cursor": "a"}), reply(b'{"status":"success","records":[{"n":NaN}]}'))
    (event,) = exported(vendor)
    assert event == {"n": None}


def test_export_events_endless_empty_pages_raise(vendor: ScriptedVendor) -> None:
    """New cursors that never bring an event are not followed for ever."""

    def respond(_: Request) -> Response:
        fresh = f"c{len(vendor.requests)}"
        return reply(OK | {"cursor": fresh, "records": None, "next_cursor": fresh})

    vendor.usual = respond
    with pytest.raises(VendorError, match="1001 empty pages in a row"):
        list(exported(vendor))


def test_export_events_cursor_lost_before_any_event_restarts(vendor: ScriptedVendor) -> None:
    """Nothing was yielded yet, so the generator restarts on its own."""
    vendor.script(reply(OK | {"cursor": "a"}), reply(EXPIRED))
    vendor.script(reply(OK | {"cursor": "b"}), reply(page(1)))
    (event,) = exported(vendor)
    assert event["event_props"] == {"n": 1}


def test_export_events_cursor_lost_later_raises(vendor: ScriptedVendor) -> None:
    """A restart would yield events again, so the caller gets an error."""
    vendor.script(reply(OK | {"cursor": "a"}), reply(page(1, "b")), reply(EXPIRED))
    events = exported(vendor)
    assert next(events)["event_props"] == {"n": 1}
    with pytest.raises(CursorExpired, match="after 1 events"):
        next(events)


def test_export_events_bloomreach_is_refused() -> None:
    """A vendor without read-back is refused before any request."""
    other = account("http://127.0.0.1:9", account=BloomreachAccount())
    with pytest.raises(InvalidQuery, match="no read-back from bloomreach"):
        export_events(NAME, DAY, DAY, destination=other)


def test_export_cursor_expiring_midway_restarts(vendor: ScriptedVendor, out: Path) -> None:
    """Nothing of the lost export stays in the file."""
    vendor.script(reply(OK | {"cursor": "a"}), reply(page(5, "b")), reply(EXPIRED))
    vendor.script(reply(OK | {"cursor": "c"}), reply(page(0, "d")), reply(page(1)))
    assert export(vendor, out) == ExportProgress(2, len(ALL))
    assert out.read_bytes() == ALL


def test_export_cursor_always_expiring_raises(vendor: ScriptedVendor, out: Path) -> None:
    """Restarts are bounded, and the error says what to do."""
    for _ in range(4):
        vendor.script(reply(OK | {"cursor": "a"}), reply(EXPIRED))
    with pytest.raises(VendorError, match=r"lost 4 times .* ask for fewer days"):
        export(vendor, out)


def test_export_failed_first_page_leaves_nothing_behind(vendor: ScriptedVendor, out: Path) -> None:
    """Nothing stays, and a checkpoint without events blocks no other export."""
    refused = reply({"status": "fail", "error": "Not so", "code": 400}, 400)
    vendor.script(reply(OK | {"cursor": "a"}), refused)
    with pytest.raises(VendorError, match="Not so"):
        export(vendor, out)
    assert files(out.parent) == []
    empty = {"query": {"event_name": "Other"}, "cursor": "b", "size": 0, "records": 0}
    out.with_name(out.name + ".checkpoint").write_bytes(orjson.dumps(empty))
    vendor.script(reply(OK | {"cursor": "a"}), reply(page(0)))
    assert export(vendor, out).records == 1


def test_export_reports_long_waits(vendor: ScriptedVendor, out: Path) -> None:
    """A message gives the reason of a long wait."""
    vendor.script(reply(OK | {"cursor": "a"}), reply(BUSY, 200, {"retry-after": "60"}))
    vendor.script(reply(page(0)))
    said: list[str] = []
    export(vendor, out, say=said.append)
    assert said[0].startswith("Request still in progress")
    assert said[0].endswith("retrying in 60 s")
