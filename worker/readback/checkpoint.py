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
from .cursor_loop import Trail


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first ``size`` bytes of the file hold ``records`` events: all those before ``cursor``.

    ``cursor`` is None when nothing comes after them. ``query`` is what was asked for, ``trail``
    where the cursors have led.
    """

    query: Mapping[str, Any]
    cursor: str | None
    size: int = 0
    records: int = 0
    trail: Trail = field(default_factory=Trail)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint in that file, None without one; InvalidQuery if it holds none."""
        try:
            return cls._read(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidQuery(f"{path} is not a checkpoint of ours; remove it to begin") from error
        except OSError as error:
            raise InvalidQuery(f"cannot read {path}: {error.strerror}") from error

    @classmethod
    def _read(cls, told: dict[str, Any]) -> Checkpoint:
        """Build a checkpoint from parsed JSON; raise for anything that is not one."""
        trail = Trail(**told.get("trail", {}))
        found = cls(**{**told, "trail": trail})
        cursor_in(told, "cursor")
        numbers = (found.size, found.records, trail.steps, trail.span)
        if any(type(each) is not int or each < 0 for each in numbers):
            raise ValueError("a number is none")
        if type(told["query"]) is not dict or type(trail.mark) is not str:
            raise TypeError("a part is of another type")
        return found

    def save(self, path: Path) -> None:
        """Put it on the disk; after a crash there is this one, or the one before, and whole."""
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as file:
            file.write(json.dumps(asdict(self)).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Put a file's coming, going or new name on the disk."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
