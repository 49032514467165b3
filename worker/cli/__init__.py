"""The command `ingest`: a table of commands, each loaded when it is called.

`ingest --help` loads none of them, and none of them loads a large library before it needs it, so
help and shell completion answer at once.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from worker.errors import IngestError, InvalidQuery, UnknownDestination

from .exit_codes import Failure, Misuse

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: Each command's module in `commands`, and its line in the menu.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("up", "Run the whole system in the foreground."),
    "send": ("send", "Put JSON Lines into the buffer."),
    "check": ("send", "Validate JSON Lines without sending them."),
    "status": ("status", "Show where the records are."),
    "wait": ("status", "Wait until everything is delivered or dead."),
    "dlq": ("dlq", "List, replay, purge and export dead letters."),
    "trace": ("trace", "Show where one record is."),
    "metrics": ("metrics", "Print or serve Prometheus metrics."),
    "pause": ("pause_resume", "Pause a destination's deliveries."),
    "resume": ("pause_resume", "Resume a destination's deliveries."),
    "export": ("export", "Download events from the vendor as JSON Lines."),
    "count": ("counts", "Ask the vendor how often an event occurred."),
    "reconcile": ("counts", "Compare delivered events with the vendor's counts."),
    "gateway-key": ("gateway_keys", "Create, list and revoke keys of the HTTP gateway."),
    "settings": ("settings", "Show every setting and where it comes from."),
    "sandbox": ("sandbox", "Run a local stand-in for both vendors."),
}


class Menu(click.Group):
    """The commands of `COMMANDS`, in its order; expected errors become a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; return None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the menu from the table, so that no command is loaded for it."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete from the table as well: this runs at each press of the key."""
        found = [name for name in COMMANDS if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=COMMANDS[name][1]) for name in found]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; --help and --version print, and end, here."""
        with _expected_errors():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its expected errors become one line on standard error."""
        with _expected_errors():
            return super().invoke(ctx)


@contextmanager
def _expected_errors() -> Iterator[None]:
    """Raise a Failure or Misuse for expected errors; others are bugs, and keep their tracebacks."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except (InvalidQuery, UnknownDestination) as error:
        raise Misuse(str(error)) from error
    except IngestError as error:
        raise Failure(str(error)) from error
    except OSError as error:
        if error.errno in _NO_ROOM:
            _give_up_stdout()
            raise Failure(f"cannot write: {error.strerror}") from error
        if isinstance(error.filename, str | os.PathLike):
            raise Failure(f"{os.fspath(error.filename)}: {error.strerror}") from error
        raise
    except Exception as error:
        from redis.exceptions import RedisError  # not above: by the time it can fail, it is loaded

        from .clients import describe_redis_error

        if isinstance(error, RedisError):
            raise Failure(f"Redis: {describe_redis_error(error)}") from error
        raise


def _give_up_stdout() -> None:
    """Send what is left to nowhere: Python would try it again at exit, and report the error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=Menu,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Exit codes:
  0  done
  1  failed: a timeout, records left, Redis or a vendor out of reach
  2  a record was rejected, or the command line was wrong
  3  reconcile found a difference""",
)
@click.version_option(package_name="ingestion-worker", prog_name="ingest")
def ingest() -> None:
    """Buffer events and profiles, and upload them to the vendors in batches, without loss."""


def main() -> NoReturn:
    """Run a command, and end the process with its exit code."""
    ingest(prog_name="ingest")
    raise AssertionError("click ends the process")
