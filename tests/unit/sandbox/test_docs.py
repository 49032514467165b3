"""The sandbox's page in the documentation, held against the code."""

from __future__ import annotations

import dataclasses
import re

from support.environment import ROOT
from worker.sandbox.faults import KINDS
from worker.sandbox.server import create_app
from worker.sandbox.settings import SandboxSettings

PAGE = (ROOT / "docs" / "sandbox.md").read_text()


def test_settings_are_documented() -> None:
    """The page names every setting, and none that does not exist."""
    table = PAGE.split("## Settings")[1].split("##")[0]
    first_column = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = set(re.findall(r"`(\w+)`", " ".join(first_column)))
    assert named == {field.name for field in dataclasses.fields(SandboxSettings)}


def test_fault_kinds_are_documented() -> None:
    """Each kind of fault has its line."""
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) >= set(KINDS)


def test_admin_routes_are_documented() -> None:
    """Each of the sandbox's own addresses is on the page."""
    routes = create_app().routes()
    missing = [path for path in routes if path.startswith("/sandbox") and path not in PAGE]
    assert not missing
