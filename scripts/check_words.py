"""Check the project's texts for words that plain English does not need; part of `make lint`.

Each has a shorter, more exact word: report, return or log for tell; fix for mend; again for anew.
Prints `path:line: word` for each and exits with 1 when there are any. Takes files and folders, by
default all of the project's.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Also as a part of a name (`_told`), but not a method of another object (`file.tell`).
WORD = re.compile(
    r"(?<![A-Za-z.])(?:told|tells?|whose|nobody|somebody|mend(?:s|ed)?|lest|anew)(?![A-Za-z])",
    re.IGNORECASE,
)
# "X is no Y" is "X is not a Y"; "there is no Y", "is no longer" and "is no faster" are fine.
IS_NO = re.compile(
    r"(\b\w+[\s#>*-]+)?\bis\s+no\s+(?!\w+er\b|more|less|need|reason)[a-z]+", re.IGNORECASE
)
SUFFIX = re.compile(r"|\.(conf|css|env|html|js|json|lua|md|py|toml|ya?ml)")
NOT_OURS = {"LICENSE", "build", "dist", "requirements", "var"}
# What may have them, and why.
ALLOWED = {
    "scripts/check_words.py": "names them",
    "tests/unit/repository/test_check_words.py": "tests the check",
    "tests/unit/repository/test_layout.py": "lists old names",
}


def top() -> Iterator[Path]:
    """Yield the files and folders of the project's own."""
    for path in sorted(ROOT.iterdir()):
        if path.name == ".ci" or not (path.name.startswith(".") or path.name in NOT_OURS):
            yield path


def texts(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield every file to check."""
    for path in paths:
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file() and SUFFIX.fullmatch(each.suffix) and "__pycache__" not in each.parts:
                yield each


def findings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the word of each finding in a text."""
    found = [(match.start(), match[0]) for match in WORD.finditer(text)]
    for match in IS_NO.finditer(text):
        before = (match[1] or "").split()
        if not before or before[0].lower() != "there":
            found.append((match.end(), " ".join(match[0].split())))
    for at, word in sorted(found):
        yield text.count("\n", 0, at) + 1, word


def main() -> int:
    """Print what was found and return the exit code."""
    code = 0
    for path in texts([Path(each) for each in sys.argv[1:]] or top()):
        name = path.resolve().relative_to(ROOT).as_posix()
        if name in ALLOWED:
            continue
        for line, word in findings(path.read_text(encoding="utf-8")):
            print(f"{name}:{line}: {word}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
