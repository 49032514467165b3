"""The exit codes of `ingest`, and the errors that lead to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

OK = 0  # done, without a complaint
FAILED = 1  # not done: a timeout, records left, Redis or a vendor out of reach
REJECTED = 2  # a record or the command line broke a rule
DIFFERENT = 3  # reconcile: our count differs from the vendor's


class Failure(click.ClickException):
    """The command could not do its work; the message is one line without a secret."""

    exit_code = FAILED


class Misuse(click.ClickException):
    """The command line makes no sense; reported like a wrong option."""

    exit_code = REJECTED


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Raise a Failure that names the extra if an import in the block fails."""
    try:
        yield
    except ImportError as error:
        raise Failure(f"needs the extra `{name}` ({error.name} is not installed)") from error


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Raise a Failure with the reason if the block cannot listen at that address."""
    try:
        yield
    except OSError as error:
        # The resolver's errors have numbers of their own, for which the system has no text.
        known = isinstance(error, socket.gaierror)
        why = error.strerror if known else os.strerror(error.errno or 0)
        raise Failure(f"cannot listen on {host} port {port}: {why}") from error
