"""What `ingest` ends with; `ingest --help` shows the same table."""

from __future__ import annotations

import click

OK = 0  # done, and nothing to complain of
FAILED = 1  # not done: a timeout, records left, Redis or a vendor out of reach
REJECTED = 2  # a record broke a rule, or the command line did
DIFFERENT = 3  # reconcile: our count and the vendor's are not the same


class Failure(click.ClickException):
    """What was asked for could not be done; the message is one line, without a secret."""

    exit_code = FAILED


class Misuse(click.ClickException):
    """What was asked for makes no sense: told like a wrong option."""

    exit_code = REJECTED
