"""The command `ingest`: a table of commands, each loaded when it is called.

`ingest --help` loads none of them, and none of them loads a library before it needs it, so help and
shell completion answer at once. A command is a module of `commands`; one that is not installed
does not appear.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from worker.errors import IngestError, UnknownDestination

from .exit_codes import Failure, Misuse

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is, and its line in the menu; `attribute` is the click command there."""

    module: str
    attribute: str
    summary: str

    @property
    def path(self) -> str:
        """The module's full name."""
        return f"{__name__}.commands.{self.module}"


COMMANDS: Mapping[str, Entry] = {
    "up": Entry("up", "up", "Run the whole system in the foreground."),
    "send": Entry("send", "send", "Put JSON Lines into the buffer."),
    "check": Entry("send", "check", "Validate JSON Lines, and send nothing."),
    "status": Entry("status", "status", "Show where every record is."),
    "wait": Entry("wait", "wait", "Wait until nothing is on its way any more."),
    "dlq": Entry("dlq", "dlq", "Look at, replay, purge and export dead letters."),
    "trace": Entry("trace", "trace", "Tell where one record is, and what became of it."),
    "metrics": Entry("metrics", "metrics", "Print Prometheus' metrics, or serve them."),
    "pause": Entry("pause_resume", "pause", "Stop a destination's deliveries."),
    "resume": Entry("pause_resume", "resume", "Start a destination's deliveries again."),
    "export": Entry("export", "export", "Download a vendor's events as JSON Lines."),
    "count": Entry("count", "count", "Ask the vendor for an event's count."),
    "reconcile": Entry(
        "reconcile", "reconcile", "Compare our deliveries with the vendor's counts."
    ),
    "gateway-key": Entry(
        "gateway_keys", "gateway_key", "Create, list and revoke the HTTP gateway's keys."
    ),
    "settings": Entry("settings", "settings", "Show every setting and where it came from."),
    "sandbox": Entry("sandbox", "sandbox", "Run the local stand-in of both vendors."),
}


class Menu(click.Group):
    """The commands of `COMMANDS`; what they raise on purpose becomes a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands whose modules are installed, in the table's order."""
        del ctx
        return [name for name, entry in COMMANDS.items() if find_spec(entry.path) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command; None when there is none of that name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        entry = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(entry.path), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the menu out of the table, so that no command is loaded for it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in self.list_commands(ctx)])

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Read the command line; --help and --version write, and end, in it."""
        try:
            return super().make_context(*args, **more)
        except OSError as error:
            tell_full_output(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its expected errors become one line on standard error."""
        try:
            return super().invoke(ctx)
        except UnknownDestination as error:
            raise Misuse(str(error)) from error
        except IngestError as error:
            raise Failure(str(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            tell_full_output(error)
            tell_file_error(error)
            tell_redis_error(error)
            raise


def tell_full_output(error: Exception) -> None:
    """Raise a Failure if there is no room for what was written, to standard output or a file.

    Standard output is given up then: Python would try to write the rest once more when the process
    ends, and complain of it.
    """
    if not isinstance(error, OSError) or error.errno not in _NO_ROOM:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise Failure(f"cannot write: {error.strerror}") from error


def tell_file_error(error: Exception) -> None:
    """Raise a Failure if the error is a file's or folder's: one that is missing, or not ours."""
    if isinstance(error, OSError) and isinstance(error.filename, str | os.PathLike):
        raise Failure(f"{os.fspath(error.filename)}: {error.strerror}") from error


def tell_redis_error(error: Exception) -> None:
    """Raise a Failure if the error is Redis'; anything else is a bug, and keeps its traceback.

    Redis' client is imported here and not above: by the time it can have failed, it is loaded.
    """
    from redis.exceptions import RedisError

    if isinstance(error, RedisError):
        from .redis_errors import in_words

        raise Failure(f"Redis: {in_words(error)}") from error


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
    """Take single events and profiles, and upload them in full batches, losing none."""


def main() -> NoReturn:
    """The console script: run a command, and end the process with its exit code."""
    ingest(prog_name="ingest")
    raise AssertionError("click ends the process")
