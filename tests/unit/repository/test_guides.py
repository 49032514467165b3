"""The guides and the examples that they show."""

from __future__ import annotations

import re

from support.environment import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def test_guides_show_the_examples_verbatim() -> None:
    """Each code block of a guide is in an example, word for word."""
    sources = "\n".join(path.read_text() for path in sorted(EXAMPLES.rglob("*.py")))
    guides = sorted((ROOT / "docs" / "guides").glob("*.md"))
    assert guides
    for guide in guides:
        for block in re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL):
            assert block in sources, f"{guide.name} shows what no example has:\n{block}"
