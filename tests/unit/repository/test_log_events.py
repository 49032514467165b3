"""Operators find every log event in docs/operations.md, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from support.environment import ROOT

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
}


def logged() -> Iterator[tuple[str, str]]:
    """Yield event and level of each call of a logger in worker/."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = ast.unparse(node.func.value).rpartition(".")[2]
                if name in ("log", "_log", "logger") and node.func.attr in LEVELS:
                    yield event_of(path, node.args[0]), LEVELS[node.func.attr]


def event_of(path: Path, argument: ast.expr) -> str:
    """Return the phrase that names an event: its text up to a colon or semicolon."""
    text = argument.value if isinstance(argument, ast.Constant) else None
    assert isinstance(text, str), f"{path}:{argument.lineno}: an event is a constant phrase"
    return re.split("[:;]|[.]$", text)[0]


def documented() -> dict[str, set[str]]:
    """Return the levels of each event of the table."""
    section = (ROOT / "docs" / "operations.md").read_text().partition("## Log events\n")[2]
    rows = re.findall(
        r"^\| `([^`]+)` \| ([a-z, ]+) \|", section.partition("\n## ")[0], re.MULTILINE
    )
    assert len(rows) == len(dict(rows)), "an event is listed once"
    return {event: set(levels.split(", ")) for event, levels in rows}


def test_operations_lists_every_log_event() -> None:
    """Each event of the code is in the table with its levels, and the table has no other."""
    found: dict[str, set[str]] = {}
    for event, level in logged():
        found.setdefault(event, set()).add(level)
    assert found == documented()
