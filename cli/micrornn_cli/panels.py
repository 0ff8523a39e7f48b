"""Draws a measure in a terminal: what was measured on what, its panels, and the verdict in words.

view(measure, panels)    all of it, as wide as the terminal: two pictures side by side where there is room
brief(measures)          the verdicts of several, in short
draw(panel, ...)         one panel
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from micrornn.inspect.kinds import ALL
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.panels import Coloured, Heat, Lines, Panel, Rows, Slides, subject
from micrornn.printable import cells, standing, visible
from micrornn_cli import heat
from micrornn_cli.axes import heading
from micrornn_cli.chart import chart

WIDEST = 200  # columns that are used at most
TWO = 150  # from so many on, two pictures share them
NARROWEST = 24  # with fewer, lines wrap
LEVELS = {"bad": "bold red", "mild": "bold yellow", "open": "bold blue", "good": "bold green", "plain": "bold cyan"}
BARS = "▁▂▃▄▅▆▇█"


def view(measure: Measure, panels: Sequence[Panel], console: Console) -> None:
    """Print all of a measure."""
    width = max(NARROWEST, min(console.width, WIDEST))
    colour = console.color_system is not None and not console.no_color
    console.print(title(measure))
    for drawn in _pages(panels, width, colour):
        console.print(drawn, soft_wrap=True)
    console.print(verdicts(measure.verdicts))


def brief(measures: Sequence[Measure], console: Console) -> None:
    """Print the verdicts, one in a line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for measure in measures:
        for verdict in measure.verdicts:
            table.add_row(measure.what.replace("_", " "), _kind(verdict), Text(visible(verdict.short)))
    beside = {verdict.beside for measure in measures for verdict in measure.verdicts if verdict.beside}
    for words in sorted(beside):
        table.add_row("", "", Text(visible(words), "dim"))
    console.print(Text("In short", "bold"))
    console.print(table)


def title(measure: Measure) -> Text:
    """One line: what, of which run, on which text."""
    text = Text().append(measure.what.replace("_", " "), "bold")
    return text.append("  " + visible(subject(measure)) + "\n", "dim")


def _pages(panels: Sequence[Panel], width: int, colour: bool) -> Iterator[RenderableType]:
    """The panels, one below the other; on a wide terminal, two pictures are side by side."""
    half, waiting = (width - 4) // 2, list[RenderableType]()
    for panel in chain.from_iterable(one.ends() if isinstance(one, Slides) else [one] for one in panels):
        paired = width >= TWO and isinstance(panel, Lines | Heat)
        drawn = draw(panel, half if paired else min(width, 120), colour)
        if paired and waiting:
            pair = Table.grid(padding=(0, 4, 0, 0))
            pair.add_column(width=half, no_wrap=True)
            pair.add_column(width=half, no_wrap=True)
            pair.add_row(waiting.pop(), drawn)
            yield pair
        elif paired:
            waiting.append(drawn)
        else:
            yield from waiting
            waiting.clear()
            yield drawn
    yield from waiting


def draw(panel: Lines | Heat | Rows | Coloured, width: int, colour: bool) -> RenderableType:
    """One panel in so many columns."""
    if isinstance(panel, Rows):
        return _rows(panel, width)
    if isinstance(panel, Lines):
        out = chart(panel, width, max(8, min(16, width // 7)), colour)
    elif isinstance(panel, Heat):
        out = heat.heat(panel, width, max(8, min(20, width // 5)), colour)
    else:
        out = _coloured(panel, width, colour)
    return _noted(out, panel.note, width)


def _noted(out: Text, note: str, width: int) -> Text:
    if note:
        for line in Text(visible(note), "italic dim").wrap(Console(width=width, file=None), width):
            out.append_text(line).append("\n")
    return out


def _rows(panel: Rows, width: int) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", width=None)
    for n, name in enumerate(panel.columns):
        numeric = n > 0 and all(row[n][:1].isdigit() or row[n][:1] in "-+" for row in panel.rows if row[n])
        table.add_column(Text(visible(name)), justify="right" if numeric else "left", overflow="fold")
    for row in panel.rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    title = heading(panel.title, "", width)
    title.right_crop(1)
    return Group(title, table, _noted(Text(""), panel.note, width))


def _coloured(panel: Coloured, width: int, colour: bool) -> Text:
    """The text, with the colour of its number behind each token; without colours, with a bar below it."""
    out = heading(panel.title, panel.value_label, width)
    line, under, used = Text(), "", 0

    def flush() -> None:
        nonlocal line, under, used
        out.append_text(line).append("\n")
        if not colour:
            out.append(under + "\n", "dim")
        line, under, used = Text(), "", 0

    for token, value in zip(panel.tokens, np.asarray(panel.values, float)):
        shown = visible(token)
        if used and used + cells(shown) > width:
            flush()
        shown = shown if used else standing(shown)  # a combining mark needs a letter in its line
        size = cells(shown)
        at = (float(np.clip(value, -1, 1)) + 1) / 2 if np.isfinite(value) else 0.5
        ground = heat.colour_of(at, True)
        letters = "white" if abs(at - 0.5) > 0.4 else "black"  # both ends are dark
        line.append(shown, Style(color=letters, bgcolor=ground) if colour else "")
        under += BARS[min(int(at * len(BARS)), len(BARS) - 1)] * size
        used += size
        if "\n" in token:
            flush()
    if used:
        flush()
    key = Text()
    if colour:
        key.append("-1 ", "dim")
        for n in range(16):
            key.append("█", Style(color=heat.colour_of(n / 15, True)))
        key.append(" 1", "dim")
    else:
        key.append(f"the bars: -1 {BARS} 1", "dim")
    return out.append_text(key).append("\n")


def verdicts(found: Sequence[Verdict]) -> RenderableType:
    """Kind, words, and what to do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for verdict in found:
        words = Text(visible(verdict.words))
        if verdict.advice:
            words.append("\n→ ", "bold").append(visible(verdict.advice))
        table.add_row(_kind(verdict), words)
    return table


def _kind(verdict: Verdict) -> Text:
    return Text(verdict.kind, LEVELS[ALL[verdict.kind].level])
