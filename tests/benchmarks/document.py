"""Update docs/benchmarks.md with the results of a run: its tables and its picture.

python -m benchmarks.document [var/bench.json]    (in tests/)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.picture import picture
from benchmarks.report import BASES, number
from benchmarks.results import Results
from benchmarks.targets import Target, targets
from support.environment import ROOT

_PAGE, _PICTURE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "benchmarks.svg"
_BEGIN, _END = "<!-- a run: begin -->", "<!-- a run: end -->"


def read(path: Path) -> Results:
    """Read the results of a run."""
    reported = json.loads(path.read_text())
    results = Results(reported["facts"])
    for each in reported["series"]:
        for value in each["values"]:
            results.add(each["section"], each["name"], each["unit"], value)
    return results


def tables(results: Results) -> str:
    """Return the targets and the figures as Markdown."""
    facts = ", ".join(f"{name} {value}" for name, value in results.facts.items())
    lines = [f"*{facts}*", "", *_verdicts(targets(results))]
    for section in dict.fromkeys(section for section, _ in results.series):
        lines += ["", f"### {section.capitalize()}", "", *_figures(section, results)]
    return "\n".join(lines)


def _verdicts(found: list[Target]) -> Iterator[str]:
    yield "| target | measured | bound | holds |"
    yield "|---|--:|--:|---|"
    for each in found:
        sign = "≥" if each.at_least else "≤"
        measured = "-" if each.value is None else number(each.value)
        word = {True: "yes", False: "**no**", None: "not measured"}[each.holds]
        yield f"| {each.text} | {measured} | {sign} {each.bound:g} | {word} |"


def _figures(section: str, results: Results) -> Iterator[str]:
    base = results.median(section, BASES.get(section, ""))
    yield "| | median | min - max | unit | ratio |"
    yield "|---|--:|--:|---|--:|"
    for each in results.series.values():
        if each.section == section:
            spread = f"{number(min(each.values))} - {number(max(each.values))}"
            ratio = f"{each.median / base:.2g}" if base and each.unit == "records/s" else ""
            yield f"| {each.name} | {number(each.median)} | {spread} | {each.unit} | {ratio} |"


def main(path: Path) -> None:
    """Write the page and the picture."""
    results = read(path)
    before, _, rest = _PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    _PAGE.write_text(f"{before}{_BEGIN}\n{tables(results)}\n{_END}{after}")
    _PICTURE.write_text(picture(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "var" / "bench.json")
