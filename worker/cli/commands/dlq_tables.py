"""Tables of dead letters; they leave out the records themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from rich.table import Table
from rich.text import Text

from worker.dead_letters.groups import LetterGroup
from worker.dead_letters.letters import DeadLetter, iso

from ..console.terminal import plain_table


def letters_table(letters: Iterable[DeadLetter]) -> Table:
    """Return a table with a line for each; ids are never cut: other commands take them."""
    table = plain_table()
    table.add_column("Id", no_wrap=True, min_width=36)
    for heading in ("Destination", "Kind", "Event", "Code"):
        table.add_column(heading)
    table.add_column("Error", overflow="fold")
    table.add_column("Attempts", justify="right")
    table.add_column("Failed at", no_wrap=True)
    for letter in letters:
        table.add_row(
            str(UUID(letter.id)),
            letter.destination,
            letter.kind,
            _plain(letter.name),
            _code(letter.code, letter.reason),
            _plain(letter.error),
            str(letter.attempts),
            iso(letter.failed_at_ms),
        )
    return table


def groups_table(groups: Sequence[LetterGroup]) -> Table:
    """Return a table with a line for each group, the largest first."""
    table = plain_table()
    table.add_column("Count", justify="right", style="red", no_wrap=True)
    for heading in ("Destination", "Kind", "Code", "Event"):
        table.add_column(heading)
    table.add_column("Error", overflow="fold")
    table.add_column("First", no_wrap=True)
    table.add_column("Last", no_wrap=True)
    for group in groups:
        table.add_row(
            f"{group.count:,}",
            group.destination,
            group.kind,
            _code(group.code, group.reason),
            _plain(group.event),
            _plain(group.text),
            iso(group.first_ms),
            iso(group.last_ms),
        )
    return table


def _code(code: int | None, reason: str) -> Text:
    """Return the vendor's code, or our reason if it gave none: what --code takes."""
    return Text(reason if code is None else str(code), style="yellow")


def _plain(text: str) -> Text:
    """Return a vendor's or a caller's text without what a terminal would obey."""
    return Text("".join(each if each.isprintable() else " " for each in text))
