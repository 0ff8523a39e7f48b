"""The `micrornn` command: finds a subcommand, runs it, and turns a user's mistake into one line and an exit code.

Each command lives in a module of its own that is imported when it is run, so that `micrornn --help` imports
neither numba nor numpy.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from micrornn.errors import MicrornnError
from micrornn.printable import printable
from micrornn_cli.exits import Exit, code_of

# name -> its line in `micrornn --help`; the command is the function of that name in micrornn_cli/NAME.py
COMMANDS = {
    "train": "Train a recurrent network on text; with no arguments, on Python's own sources.",
    "sample": "Let a trained model write.",
    "eval": "Loss, bits per character and perplexity of a trained model on a text.",
    "inspect": "See where the gradient goes: how far back it reaches, what truncation costs, what blew up.",
    "advise": "Which batch_size, num_steps and learning rate? Measured, on your text and this machine.",
    "gradcheck": "Are the gradients right? Analytic against numeric, to ten decimals.",
    "tape": "Print the tape of a three-step network: every op, value and gradient.",
    "warmup": "Compile the kernels now, so that no command has to wait for it later.",
    "bench": "How fast is this machine with it: layers, training, sampling, start-up.",
    "info": "What is here: versions, processor, threads, devices, caches.",
}


class Commands(click.Group):
    """A group whose commands are imported only when they are needed."""

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


def main(arguments: Sequence[str] | None = None) -> Any:
    """The entry point. Errors go to stderr in one or two lines; the exit codes are in exits.py."""
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal cannot show is no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        code = Exit.INTERRUPTED
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        _tell(shown.getvalue().removesuffix("\n"))
        code = error.exit_code
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except MicrornnError as error:
        _tell(f"Error: {error}")
        code = code_of(error)
    except MemoryError:
        click.echo("Error: not enough memory for these sizes; make them smaller", err=True)
        code = Exit.USAGE
    except BrokenPipeError:  # `micrornn sample ... | head`: nobody reads on, and that is fine
        sys.stderr.close()
        code = Exit.OK
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _tell(f"Error: {str(place)[:200]}{error.strerror or error}")
        code = Exit.FAILED
    sys.exit(int(code or 0))


def _tell(message: str) -> None:
    """On stderr; a name in it may hold anything, and must not steer the terminal."""
    click.echo(printable(message), err=True)
