"""The Lua scripts as source: their headers, what they need, and how they are put together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from support.environment import ROOT
from worker.buffer.scripts import is_out_of_memory, needs, script

LUA = ROOT / "worker" / "buffer" / "lua"
SCRIPTS = sorted(LUA.glob("*.lua"))
INCLUDES = sorted((LUA / "includes").glob("*.lua"))
FUNCTIONS = {path.stem for path in INCLUDES}
ARGUMENT = re.compile(r"^-- ARGV\[(\d+)(\.\.\.)?\]  \S", re.MULTILINE)


def by_stem(path: Path) -> str:
    """Name a test's row."""
    return path.stem


def split_header(path: Path) -> tuple[str, str]:
    """Return the comment that a file begins with, and its code."""
    lines = path.read_text().splitlines()
    code = next(at for at, line in enumerate(lines) if not line.startswith("--"))
    return "\n".join(lines[:code]), "\n".join(lines[code:])


def called_functions(code: str) -> set[str]:
    """Return the functions of `includes/` that code calls, comments and strings left out."""
    plain = re.sub(r"'[^']*'|--.*", "", code)
    return set(re.findall(r"(?<![.:\w])(\w+)\(", plain)) & FUNCTIONS


@pytest.mark.parametrize("path", SCRIPTS, ids=by_stem)
def test_script_header_names_keys_arguments_and_result(path: Path) -> None:
    """Each argument has a line with its number; none is read that the header does not have."""
    header, code = split_header(path)
    assert "\n-- KEYS[1]  " in header
    assert "\n-- Returns  " in header
    arguments = ARGUMENT.findall(header)
    if not arguments:
        assert "\n-- ARGV     none\n" in header
    assert [int(number) for number, _ in arguments] == list(range(1, len(arguments) + 1))
    assert all(not rest for _, rest in arguments[:-1])
    open_ended = bool(arguments and arguments[-1][1])
    read = {int(number) for number in re.findall(r"ARGV\[(\d+)", code)}
    assert open_ended or all(number <= len(arguments) for number in read)


@pytest.mark.parametrize("path", [*SCRIPTS, *INCLUDES], ids=by_stem)
def test_needs_line_names_exactly_the_functions_called(path: Path) -> None:
    """A reviewer sees in the header which functions a script uses, and none is loaded in vain."""
    header, code = split_header(path)
    wanted = needs(header)
    called = called_functions(code)
    if path in INCLUDES:
        called.discard(path.stem)
    assert sorted(wanted) == sorted(called)


@pytest.mark.parametrize("path", INCLUDES, ids=by_stem)
def test_include_defines_one_function_and_says_what_it_does(path: Path) -> None:
    """One function a file, of the file's name, below a comment."""
    header, code = split_header(path)
    assert re.findall(r"^local function (\w+)", code, re.MULTILINE) == [path.stem]
    assert header.splitlines()[0].startswith("-- ")
    assert not header.startswith("-- needs:")


@pytest.mark.parametrize("path", SCRIPTS, ids=by_stem)
def test_script_text_defines_each_function_once_before_its_first_use(path: Path) -> None:
    """What is loaded into Redis holds what is needed, and nothing else."""
    text = script(path.stem).text
    defined = re.findall(r"^local function (\w+)", text, re.MULTILINE)
    included = [name for name in defined if name in FUNCTIONS]
    assert len(included) == len(set(included))
    assert text.endswith(path.read_text())
    for name in included:
        before = text[: text.index(f"local function {name}(")]
        assert name not in called_functions(before)


def test_each_include_is_needed_by_a_script() -> None:
    """No function is left that no script uses."""
    loaded = "".join(script(path.stem).text for path in SCRIPTS)
    assert {name for name in FUNCTIONS if f"local function {name}(" in loaded} == FUNCTIONS


def test_each_script_is_run_by_the_package() -> None:
    """A script that the package runs by name has a file, and each file is run."""
    source = "".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    stems = {path.stem for path in SCRIPTS}
    run = set(re.findall(r"(?:\bscript|_run)\(\s*\"(\w+)\"", source))
    queued = set(re.findall(r"(?:return |append\(\(|\[\()\"(\w+)\", ", source)) & stems
    assert run | queued == stems


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (ResponseError("Error running script: -OOM command not allowed when used memory > "
                       "'maxmemory'."), True),
        (ResponseError("WRONGTYPE Operation against a key"), False),
        (ConnectionError("refused"), False),
    ],
)  # fmt: skip
def test_is_out_of_memory_sees_through_a_scripts_error(error: Exception, is_full: bool) -> None:
    """Redis 7 raises the error itself; Redis 6.2 wraps it, and a transaction quotes it."""
    assert is_out_of_memory(error) is is_full
