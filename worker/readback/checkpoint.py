"""How far an export to a file has come: a small file beside it, replaced as a whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InvalidQuery
from ..vendors.clevertap.reads import cursor_in
from .export import CursorLoop


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first ``size`` bytes of the file hold ``records`` events: all those before ``cursor``.

    ``cursor`` is None at the end of the export. ``query`` identifies the export; ``loop``
    (``trail`` in the file) detects a loop of cursors across restarts.
    """

    query: Mapping[str, Any]
    cursor: str | None
    size: int = 0
    records: int = 0
    loop: CursorLoop = field(default_factory=CursorLoop)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint in a file, None without one; InvalidQuery if it is damaged."""
        try:
            return cls._read(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidQuery(
                f"{path} is not a valid checkpoint; remove it to start the export again"
            ) from error
        except OSError as error:
            raise InvalidQuery(f"cannot read {path}: {error.strerror}") from error

    @classmethod
    def _read(cls, content: dict[str, Any]) -> Checkpoint:
        """Build a checkpoint from parsed JSON; raise if a part has another type."""
        loop = CursorLoop(**content.get("trail", {}))
        found = cls(**{key: content[key] for key in content if key != "trail"}, loop=loop)
        cursor_in(content, "cursor")
        numbers = (found.size, found.records, loop.steps, loop.span)
        if any(type(each) is not int or each < 0 for each in numbers):
            raise ValueError("not a whole number")
        if type(content["query"]) is not dict or type(loop.mark) is not str:
            raise TypeError("a part has another type")
        return found

    def save(self, path: Path) -> None:
        """Write it to disk; a crash leaves either this checkpoint or the one before."""
        fresh = path.with_name(path.name + ".new")
        content = asdict(self)
        content["trail"] = content.pop("loop")
        with fresh.open("wb") as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Write to disk that a file was created, removed or renamed."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
