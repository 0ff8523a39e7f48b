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
    """What is printed, with signs in place of all characters that would control the terminal. Text in columns was made
    visible before; this is for names that nobody thought of, such as of a run, a file or a parameter."""

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
        """Rich would end the command with exit code 1; main.py gives it the right one."""
        raise  # the BrokenPipeError that is being handled


def _console(**how: Any) -> Console:
    console = _Console(highlight=False, **how)
    console.push_render_hook(_Everything())
    return console


out = _console(soft_wrap=False)
err = _console(stderr=True)
