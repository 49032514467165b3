"""The commands of the system's processes: those of the checkout's Procfile, or built in.

An installed package has no Procfile; `BUILT_IN` replaces it, and a test compares the two.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

BUILT_IN: Mapping[str, str] = {
    "web": "python -m worker.gateway",
    "worker": "celery -A worker.app worker --loglevel=INFO --without-gossip --without-mingle",
    "beat": "celery -A worker.app beat --loglevel=INFO",
    # The checkout's config/flower.py takes care of the login; without it, Flower itself reads
    # FLOWER_BASIC_AUTH, which `ingest up` always sets.
    "flower": "celery -A worker.app flower --address=127.0.0.1",
}
CHECKOUT = Path(__file__).parents[2]


def commands(folder: Path = CHECKOUT) -> dict[str, list[str]]:
    """Return the commands by name, split, ready to run from any directory."""
    try:
        lines = read((folder / "Procfile").read_text(encoding="utf-8"))
    except OSError:
        lines = dict(BUILT_IN)
    return {name: _runnable(line, folder) for name, line in lines.items()}


def read(text: str) -> dict[str, str]:
    """Return a Procfile's commands by name; ignore lines that are not `name: command`."""
    named = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): command.strip() for name, colon, command in named if colon}


def _runnable(line: str, folder: Path) -> list[str]:
    """Use this Python and its celery, and find the files named beside the Procfile."""
    words = shlex.split(line)
    for at, word in enumerate(words):
        option, equals, value = word.rpartition("=")
        if "/" in value and (folder / value).is_file():
            words[at] = f"{option}{equals}{folder / value}"
    prefix = {"celery": [sys.executable, "-m", "celery"], "python": [sys.executable]}
    return [*prefix.get(words[0], words[:1]), *words[1:]]
