"""The repository's files, as its tests name and read them."""

from __future__ import annotations

import re
from pathlib import Path

from support.environment import ROOT


def relative(path: Path) -> str:
    """Return a path as it is shown in a test's name."""
    return str(path.relative_to(ROOT))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}
