"""The menu of commands: complete, quick to show, and true about exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from support.environment import environment
from worker.cli import COMMANDS, Menu, exit_codes, ingest

HEAVY = ("celery", "httpx", "marshmallow", "redis", "rich", "starlette")


def commands() -> list[str]:
    """The names in the menu."""
    return ingest.list_commands(click.Context(ingest))


@pytest.mark.parametrize("name", commands())
def test_every_command_loads_and_has_help(name: str) -> None:
    """The menu's table leads to a command of that name, with a help text and documented options."""
    command = ingest.get_command(click.Context(ingest), name)
    assert command is not None
    assert command.name == name
    assert command.help
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert all(option.help for option in options), name


def test_the_menu_lists_every_command_of_the_table() -> None:
    """No command is missing because its module is not where the table says."""
    assert commands() == list(COMMANDS)


def test_the_menu_loads_nothing_heavy() -> None:
    """`ingest --help` answers at once: it imports neither a command nor a large library."""
    code = (
        "import sys, json, worker.cli\n"
        "try: worker.cli.ingest(['--help'])\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & set(HEAVY)
    assert not loaded & {f"worker.cli.commands.{module}" for module, _ in COMMANDS.values()}


def test_shell_completion_loads_nothing_heavy() -> None:
    """The completion that the README sets up runs this at each press of the key."""
    code = (
        "import sys, json, worker.cli\n"
        "try: worker.cli.ingest(prog_name='ingest')\n"
        "except SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    asked = {"_INGEST_COMPLETE": "bash_complete", "COMP_WORDS": "ingest s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment(asked),
    )
    *found, modules = done.stdout.splitlines()
    assert found == ["plain,send", "plain,status", "plain,settings", "plain,sandbox"]
    assert not set(json.loads(modules)) & set(HEAVY)


def test_the_menu_documents_the_exit_codes() -> None:
    """The help's table of exit codes is that of the constants."""
    menu = ingest.get_help(click.Context(ingest))
    constants = {value for name, value in vars(exit_codes).items() if name.isupper()}
    assert constants == {0, 1, 2, 3}
    assert all(f"\n    {code}  " in menu for code in constants)


def test_a_bug_keeps_its_traceback() -> None:
    """Only expected errors become one line; anything else keeps its traceback."""

    @click.command
    def broken() -> None:
        raise ZeroDivisionError

    menu = Menu("menu")
    menu.get_command = lambda ctx, cmd_name: broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        menu.main(["broken"], standalone_mode=False)
