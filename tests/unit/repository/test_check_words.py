"""The word check of `make lint`: what it reports, and what it lets pass."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from support.environment import ROOT


@pytest.fixture(scope="module")
def check_words() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("check_words", ROOT / "scripts/check_words.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It tells more.", [(1, "tells")]),
        ("one\ntwo\ndef _told():", [(3, "told")]),
        ("Nothing\nNobody asked.", [(2, "Nobody")]),
        ("The file is no JSON.", [(1, "file is no JSON")]),
        ("There is no reason, and it is no longer used.", []),
        ("at = file.tell()", []),
        ("amendment, toldest, foretell", []),
    ],
)
def test_findings_of_a_text_have_line_and_word(
    check_words: ModuleType, text: str, found: list[tuple[int, str]]
) -> None:
    """Words are found in prose and names, but not inside other words or as methods."""
    assert list(check_words.findings(text)) == found


def test_texts_of_the_project_exclude_environments_and_data(check_words: ModuleType) -> None:
    """The check covers the code and the pages, and nothing that was installed or recorded."""
    checked = {path.relative_to(ROOT).as_posix() for path in check_words.texts(check_words.top())}
    assert {"README.md", "worker/errors.py", ".ci/run", "config/alerts.yml"} <= checked
    assert not [path for path in checked if path.startswith((".venv", "var/", "requirements"))]
