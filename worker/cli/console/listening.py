"""What commands that listen have in common: where they do, and why they sometimes cannot."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..exit_codes import Failure

ANY_PORT = click.IntRange(0, 65535)  # 0 stands for a free one
HOST = "127.0.0.1"


@contextmanager
def extra(name: str) -> Iterator[None]:
    """A Failure that names the extra, where imports in the block need it and it is missing."""
    try:
        yield
    except ImportError as error:
        raise Failure(f"needs the extra `{name}` ({error.name} is not installed)") from error


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """A Failure, in words, for an address that cannot be listened at."""
    try:
        yield
    except OSError as error:
        # A name that is not found has a number of the resolver's, and no text of the system's.
        unknown = isinstance(error, socket.gaierror)
        why = str(error.strerror) if unknown else os.strerror(error.errno or 0)
        raise Failure(f"cannot listen on {host} port {port}: {why}") from error
