"""Rich's consoles for stdout and stderr; nothing printed there can steer the terminal. console.py offers them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table as Table
from rich.text import Text as Text

from micrornn.printable import printable


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
