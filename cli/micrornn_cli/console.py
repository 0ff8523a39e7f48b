"""Where things are printed: results on stdout, progress on stderr; JSON; and how numbers are written for people.

out, err         the consoles; they and Rich's Text and Table are there when they are first asked for: `--help` is
                 quicker without Rich
write_json       a line of JSON on stdout
show_command     what to type next
facts, columns   tables: names and what they are; a head and rows below it
program          what is typed to run this command again
count, duration  numbers for people
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shutil
import sys
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

import click

from micrornn.printable import shell_word

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Table
    from rich.text import Text as Text

    out: Console
    err: Console


def __getattr__(name: str) -> Any:
    if name not in ("out", "err", "Table", "Text"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module("micrornn_cli.terminal"), name)
    return found


def facts(rows: Mapping[str, Any]) -> Table:
    """A bold name and what it is, line by line."""
    from micrornn_cli.terminal import Table, Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in rows.items():
        table.add_row(name, Text(words) if isinstance(words, str) else words)
    return table


def show_command(what: str, command: str) -> None:
    """A command to type, in a line of its own below `what` it does."""
    from micrornn_cli.terminal import Text, out

    out.print(Text(f"\n{what}:", "bold"))
    out.print(Text("  " + command.replace("micrornn", program(), 1)), soft_wrap=True)


def columns(*titles: str, right: Container[str] = (), wrap: Container[str] = (), style: str = "bold") -> Table:
    """A table of such columns without lines around it. `right`: those of numbers; `wrap`: those that may be broken."""
    from micrornn_cli.terminal import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=style)
    for title in titles:
        table.add_column(title, justify="right" if title in right else "left", no_wrap=title not in wrap)
    return table


def write_json(value: Any) -> None:
    """One line of JSON on stdout. JSON knows no NaN and no infinity: they become null."""
    click.echo(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def program() -> str:
    """What to type to run this command again: `make train` leaves it in .venv/bin, which is on nobody's PATH."""
    here = sys.argv[0]
    if os.path.basename(here) != "micrornn" or shutil.which("micrornn"):
        return "micrornn"
    try:
        return shell_word(os.path.relpath(here))
    except OSError:  # the working folder was deleted meanwhile
        return shell_word(here)


def typed_command() -> str:
    """The command as it was typed."""
    return " ".join(["micrornn", *map(shell_word, sys.argv[1:])])


def count(n: float) -> str:
    """12,345 up to a hundred thousand, then 1.2 M, 3.4 G."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if n >= size:
            return f"{n / size:.{1 if n < 100 * size else 0}f}{unit}"
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """4.2 s, 1:05 min, 2:03 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    if seconds >= 3600:
        return f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{minutes}:{int(seconds % 60):02d} min"
