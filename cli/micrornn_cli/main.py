"""The `micrornn` command: finds a subcommand, runs it, and turns a user's mistake into a line and an exit code.

Each command is in a module of its own, which is imported when the command is run. So `micrornn --help` imports neither
numba nor numpy.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import click

from micrornn.errors import MicrornnError
from micrornn.printable import printable
from micrornn_cli.arguments import Group, tell_unknown
from micrornn_cli.exits import Exit, code_of
from micrornn_cli.flags import flags
from micrornn_cli.signals import Ended, guarded
from micrornn_cli.streams import open_closed, silence_unread, unread

TRACEBACK = "MICRORNN_TRACEBACK"  # the variable that asks for all of a fault
MOST_LINE = 500  # characters of a line of a message: Click repeats a value whole, however long it is

# name -> its line in `micrornn --help`; the command is the function of that name in micrornn_cli/NAME.py
COMMANDS = {
    "train": "Train a recurrent network on a text or another task; without FILES, on Python's own sources.",
    "sample": "Let a trained model write.",
    "predict": "A trained network answers on new input, from files or standard input.",
    "eval": "Every metric of a trained network, next to simple baselines; for text, bits per character.",
    "inspect": "See where the gradient goes: how far back it reaches, what truncation costs, what blew up.",
    "advise": "Which batch_size, num_steps and learning rate? Measured, on your text and this machine.",
    "recipe": "Well-known trainings with all their constants, and the result to expect.",
    "compare": "Train several settings side by side, same data and seeds; which can be told apart?",
    "gradcheck": "Are the gradients right? Analytic against numeric, to ten decimals.",
    "tape": "Print the tape of a three-step network: every op, value and gradient.",
    "cell": "A recurrent cell from its equation to its derivative; `cell list` lists them.",
    "learn": "A course in six pages: autograd, time, gradients; with exercises that are checked.",
    "warmup": "Compile the kernels now, so that no command has to wait for it later.",
    "bench": "How fast is this machine with it: layers, training, sampling, start-up.",
    "info": "What is here: versions, processor, threads, devices, caches.",
}


class Passed(Exception):
    """Carries an error past Click, which would handle EOFError as a Ctrl-C and a broken pipe as a failure."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


class Commands(Group):
    """A group whose commands are imported only when they are needed."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (EOFError, OSError) as error:
            raise Passed(error) from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(importlib.import_module(f"micrornn_cli.{name}"), name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="micrornn")
def cli() -> None:
    """Train small recurrent networks, and see how far back the gradient goes.

    \b
    Example:
      micrornn train                 learn Python's own sources, then write some
      micrornn train book.txt        learn a text of yours
      micrornn sample runs/NAME      let the trained model write
    """
    tell_unknown(list(os.environ))


def main(arguments: Sequence[str] | None = None) -> Any:
    """The entry point. Errors go to stderr in one or two lines; the exit codes are in exits.py."""
    open_closed()
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal cannot show is no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    warnings.showwarning = lambda message, *_: _tell(f"Warning: {message}")
    try:
        with guarded():
            code = cli.main(arguments, standalone_mode=False)
            sys.stdout.flush()
            sys.stderr.flush()
    except Exception as error:
        code = _told(error)
    except KeyboardInterrupt:
        code = _told(click.exceptions.Abort())
    except Ended as end:
        code = 128 + end.number
    silence_unread()  # or Python complains when it flushes the streams at the end
    sys.exit(int(code or 0))


def _told(error: Exception) -> int:
    """Print an error in a line or two, and return its exit code."""
    error = error.error if isinstance(error, Passed) else error
    if isinstance(error, click.exceptions.Abort) or _interrupted(error):  # whoever typed Ctrl-C knows
        return Exit.INTERRUPTED
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        _tell(shown.getvalue().removesuffix("\n"))
        return error.exit_code
    if isinstance(error, MicrornnError):
        _tell(f"Error: {error}")
        return code_of(error)
    if isinstance(error, MemoryError):
        _tell("Error: not enough memory for these sizes; make them smaller")
        return Exit.USAGE
    if unread(error):
        return Exit.UNREAD
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        _tell(f"Error: {str(place)[:200]}{error.strerror or error}")
        return Exit.CHECKPOINT
    if os.environ.get(TRACEBACK):
        _tell("".join(traceback.format_exception(error)))
    what = " ".join(str(error).split())
    at = traceback.extract_tb(error.__traceback__)[-1]
    _tell(
        f"Error: a fault of micrornn's own: {type(error).__name__}{': ' if what else ''}{what[:200]} "
        f"({os.path.basename(at.filename)}:{at.lineno}).\n"
        f"Please report it, with what {TRACEBACK}=1 prints more and with `micrornn info`"
    )
    return Exit.FAULT


def _interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C caused the error: during an import, Python turns it into a RuntimeError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _tell(message: str) -> None:
    """Print to stderr. A name in the message may contain anything, and must neither control the terminal nor fill
    it."""
    lines = (
        line if len(line) <= MOST_LINE else f"{line[:200]} ... {line[-200:]}" for line in flags(message).split("\n")
    )
    with contextlib.suppress(OSError, ValueError):  # nobody reads that either
        click.echo(printable("\n".join(lines)), err=True)
