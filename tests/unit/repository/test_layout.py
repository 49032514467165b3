"""The layout of worker/, its tests and its pages: few entries, small modules, true names."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.environment import ROOT
from support.repository import anchors, relative

WORKER = ROOT / "worker"
MODULES = sorted(WORKER.rglob("*.py"))
UNIT = ROOT / "tests" / "unit"
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
MOST_ENTRIES = 18
MOST_LINES_OF_A_MODULE = 350
MOST_LINES_OF_A_FUNCTION = 50
# Unit tests of something other than one module.
NOT_OF_A_MODULE = {
    "repository": "the repository as a whole",
    "chaos": "tests/chaos",
    "cli/test_menu.py": "worker/cli/__init__.py",
    "dashboard/test_style.py": "the templates and assets",
    "sandbox/test_docs.py": "docs/sandbox.md",
    "vendors/clevertap/test_docs.py": "docs/destinations/clevertap.md",
    "vendors/clevertap/test_schema_invariants.py": "the schema with random records",
}
# Names that the layout replaced by the field's words: of modules, of classes, and of anything.
OLD_MODULES = set(
    """
    acceptance address audit batching beat bootstrap causes census checking confirming conservation
    control desk door edited ending entrance environ_secrets exchange exits export_bar filters
    flow flower_door foreign_settings foreground front gates heads held_file intake key_ring
    letter_groups meanings mended_lines one_cause one_record orders outgoing parts
    patience places process_settings prompt questions ratchet reach reader reception record_text
    redis_door redis_words refusals relief replays retry sample screen sending setting_values sieve
    spaced_json stand steer tallies throttle times trail uploads vendor_opinion verdicts
    """.split()  # noqa: SIM905
)
OLD_CLASSES = re.compile(
    r"^(?:class|from \S+ import) .*\b(?:Account|Adapted|Asked|Census|Deed|Desk|Door|Ending|Front"
    r"|HungUp|Judge|Lesson|Line|Meaning|OnItsWay|Once|Order|Places|Prompt|Reception|Recovered|Seen|Sheet"
    r"|Shown|Stand|Step|Tried|Turn|Visit|Whereabouts|Wishes|Word)\b"
)
OLD_NAMES = re.compile(
    r"\b(?:count_try|embedded_redis|keep_order|places_to_wait|unticked|work_when_full)\b"
)
TEXTS = {".py", ".lua", ".md", ".toml", ".env", ".yml", ".html"}


def test_worker_stays_under_20000_lines() -> None:
    """More than that, and a newcomer no longer reads it: take something out first."""
    assert sum(len(path.read_text().splitlines()) for path in MODULES) < 20_000


def test_worker_entries_are_few() -> None:
    """`ls worker/` fits on half a screen: the listing is the first page of the documentation."""
    shown = {path.name for path in WORKER.iterdir()} - {"__init__.py", "__pycache__", "py.typed"}
    assert len(shown) <= MOST_ENTRIES, sorted(shown)


def test_worker_modules_are_short() -> None:
    """No module is longer than a few screens."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_worker_functions_are_short() -> None:
    """No function, its docstring included, is longer than a screen."""
    lengths = {
        f"{relative(path)}:{each.name}": (each.end_lineno or each.lineno) - each.lineno + 1
        for path in MODULES
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES_OF_A_FUNCTION} == {}


def test_unit_tests_name_a_module() -> None:
    """tests/unit/<package>/test_<module>.py tests worker/<package>/<module>.py, or the package."""
    strays = []
    for path in sorted(UNIT.rglob("test_*.py")):
        name = path.relative_to(UNIT)
        if {name.parts[0], name.as_posix()} & NOT_OF_A_MODULE.keys():
            continue
        module = WORKER / name.parent / path.name.removeprefix("test_")
        package = module.with_suffix("") / "__init__.py"
        if not module.exists() and not package.exists():
            strays.append(relative(path))
    assert strays == []


def lines_with(pattern: re.Pattern[str], *folders: str) -> list[str]:
    """Every line of the folders' texts that matches, with its place."""
    return [
        f"{relative(path)}:{number}: {line.strip()[:80]}"
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in TEXTS and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]


def test_old_names_do_not_return() -> None:
    """No module, class, function or page has a name that the layout replaced."""
    assert [relative(path) for path in MODULES if path.stem in OLD_MODULES] == []
    assert lines_with(OLD_CLASSES, "worker", "tests") == []
    assert lines_with(OLD_NAMES, "worker", "tests", "docs", "config") == []


def test_floors_in_architecture_are_those_that_are_enforced() -> None:
    """The drawing in docs/architecture.md has the layers of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        each for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"
    )
    section = (ROOT / "docs" / "architecture.md").read_text().split("## The floors")[1]
    drawing = section.split("    cli", 1)[1].split("\n\n")[0]
    drawn = [re.split(r"\s{3,}", line.strip())[0] for line in ("cli" + drawing).splitlines()]
    assert drawn == contract["layers"]


def test_readme_lists_the_entries_of_worker() -> None:
    """The section "Find your way" has one line for each entry of worker/."""
    tree = (ROOT / "README.md").read_text().split("    worker/\n")[1].split("\n\n")[0]
    listed = [line.split()[0].rstrip("/") for line in tree.splitlines()]
    shown = {path.name for path in WORKER.iterdir()} - {"__pycache__", "py.typed"}
    assert sorted(listed) == sorted(shown)


def named_files(text: str) -> Iterator[str]:
    """Yield the paths of modules and scripts that a page names, as `package/module.py`."""
    yield from re.findall(r"(?<![\w/.<*-])(?:worker/)?((?:\w+/)+\w+\.(?:py|lua))\b", text)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages_name_files_that_exist(page: Path) -> None:
    """Every module, script or test that a page names is there."""
    roots = (ROOT, WORKER, WORKER / "monitoring" / "metrics")
    named = set(named_files(page.read_text()))
    assert [each for each in sorted(named) if not any((r / each).exists() for r in roots)] == []


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages_link_to_what_exists(page: Path) -> None:
    """Every relative link leads to a file, and its anchor to a heading there."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []
