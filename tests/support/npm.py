"""The vendor's own Node client, installed into a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.services import require

CLIENT = "clevertap@1.3.0"  # the newest as of 2026-11
TRIES = 3


@pytest.fixture(scope="session")
def clevertap_node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which `require("clevertap")` finds CleverTap's Node client."""
    missing = "no node and npm on the PATH: install them to run the vendor's own Node client"
    require(shutil.which("node"), missing)
    npm = require(shutil.which("npm"), missing)
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text("{}")
    found = str(folder) if any(_installed(npm, folder) for _ in range(TRIES)) else None
    return require(found, "npm cannot install the vendor's Node client: it needs its registry")


def _installed(npm: Path, folder: Path) -> bool:
    command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", CLIENT]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, timeout=90, check=False, env=os.environ
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
