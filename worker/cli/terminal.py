"""Where text for people goes: colour and width as the terminal has them, plain text elsewhere."""

from __future__ import annotations

from rich.console import Console

# A table in a file or a pipe is read by a person or by grep: neither wants it cut at 80 columns.
_PIPE_WIDTH = 200


def standard_output() -> Console:
    """A console on standard output; made when used, so that it meets the stream of the moment."""
    return _console(Console(highlight=False, soft_wrap=False, emoji=False, markup=False))


def standard_error() -> Console:
    """The same on standard error."""
    return _console(Console(stderr=True, highlight=False, emoji=False, markup=False))


def _console(console: Console) -> Console:
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
