"""The dashboard's style sheet, scripts and templates: legible in both schemes, self-contained."""

from __future__ import annotations

import re
from itertools import product

import pytest

from support.environment import ROOT

FOLDER = ROOT / "worker" / "dashboard"
STYLE = (FOLDER / "assets" / "dashboard.css").read_text()
TEXT, SURFACE = ("ink", "dim", "mark", "bad"), ("page", "card", "soft")
# Foreground and background: text on surfaces, and notes and badges on theirs.
PAIRS = [
    *product(TEXT, SURFACE),
    *(("ink", f"{name}-soft") for name in ("good", "warn", "bad")),
    *((name, f"{name}-soft") for name in ("good", "warn", "bad")),
    ("on-mark", "mark"),
    ("card", "bad"),
]


def scheme(number: int) -> dict[str, str]:
    """Return the colours of the light scheme (0) or the dark one (1)."""
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[number]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", block))


def luminance(colour: str) -> float:
    """Return the relative luminance as WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_style_has_enough_contrast_for_text_and_curves(number: int) -> None:
    """Contrast of 4.5 for text and 3 for what is drawn: WCAG's level AA."""
    colours = scheme(number)
    assert {
        pair: contrast(colours[pair[0]], colours[pair[1]])
        for pair in PAIRS
        if contrast(colours[pair[0]], colours[pair[1]]) < 4.5
    } == {}
    drawn = ("accepted", "delivered", "failed", "waiting", "mark")
    assert [name for name in drawn if contrast(colours[name], colours["card"]) < 3] == []


def test_assets_and_templates_name_no_other_site() -> None:
    """The only address is the name of SVG's namespace."""
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in {".html", ".css", ".js", ".svg"}:
            text = path.read_text().replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|@import|url\(|//[a-z]", text), path.name


def test_templates_escape_every_value() -> None:
    """Nothing is marked as safe, and escaping is never switched off."""
    for path in sorted(FOLDER.rglob("*.html")):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text()), path.name
