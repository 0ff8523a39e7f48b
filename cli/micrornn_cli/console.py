"""Where things are printed: results on stdout, progress on stderr; JSON; and how numbers are written for people."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.measure import Measurement
from rich.segment import Segment

from micrornn.printable import printable, shell_word


class _Printable:
    """What is printed, with signs in place of all that would steer the terminal. Whatever is laid out in columns is
    made visible before that; this is for what nobody thought of: a run's name, a file's, a parameter's."""

    def __init__(self, inside: Any):
        self.inside = inside

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        for segment in console.render(self.inside, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self.inside)


class _Everything(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Printable(one) for one in renderables]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the command with 1; main.py knows what a reader that is gone means."""
        raise  # the BrokenPipeError that is being handled


def _console(**how: Any) -> Console:
    console = _Console(highlight=False, **how)
    console.push_render_hook(_Everything())
    return console


out = _console(soft_wrap=False)
err = _console(stderr=True)


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
