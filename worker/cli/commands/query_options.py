"""What commands that ask the vendor have in common: their options, and how refusals are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from worker.errors import InvalidQuery

from .. import options
from ..exit_codes import Misuse

DAY = "YYYYMMDD"

which_account = options.destination("The account to ask; default: the default destination.")


@contextmanager
def told_like_an_option() -> Iterator[None]:
    """A question that cannot be asked is told like a wrong option."""
    try:
        yield
    except InvalidQuery as error:
        raise Misuse(str(error)) from error


def from_and_to(command: Callable[..., None]) -> Callable[..., None]:
    """The two options of every question."""
    command = click.option(
        "--to",
        "last",
        required=True,
        metavar=DAY,
        help="Last day, included, in the account's zone.",
    )(command)
    return click.option(
        "--from", "first", required=True, metavar=DAY, help="First day, in the account's zone."
    )(command)


def say(text: str) -> None:
    """Tell a person on standard error, where no program reads."""
    click.echo(text, err=True)
