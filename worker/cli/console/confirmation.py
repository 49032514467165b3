"""Commands that ask a person before they move anything, and what they do where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from ..exit_codes import Misuse

yes_option = click.option("--yes", "-y", is_flag=True, help="Don't ask.")


def has_person() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def must_be_able_to_ask(yes: bool) -> None:
    """A wrong use where nobody is there and nobody said --yes: before any work is done."""
    if not yes and not has_person():
        raise Misuse("nobody can be asked here: add --yes to go ahead without a question")


def confirm(question: str) -> None:
    """Go on, or end with exit code 1; the question is no output, so it goes to standard error."""
    click.confirm(question, err=True, abort=True)


def confirm_letters(question: str, count: Callable[[], int], *, yes: bool) -> None:
    """Ask ``question``, with so many dead letters in its gap; of nothing, nobody is asked.

    They are counted for the question alone: that may take a while.
    """
    if not yes and (number := count()):
        confirm(question.format(so_many_letters(number)))


def so_many_letters(number: int) -> str:
    """So many dead letters, in words."""
    return f"{number} dead letter{'' if number == 1 else 's'}"
