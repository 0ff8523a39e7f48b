"""Measures as a figure: panels in columns, verdicts in words below. Needs matplotlib, the extra `plot`.

figure     the bytes of a PNG or SVG
FORMATS    what it can write
require    MissingError, before anything is measured, where matplotlib is not installed
"""

from __future__ import annotations

import importlib.util
import io
import re
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn.errors import MissingError
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Coloured, Heat, Lines, Panel, Rows, Slides, binned, even, positive, subject
from micrornn.printable import cells, printable, visible

FORMATS = ("png", "svg")
WIDTH, LETTERS = 7.0, 84  # inches of a panel, and how many letters of the small print fit into them
DPI = 150
FINE = 600  # cells of a heat map along an axis: more than its pixels show

_NO_XML = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # may not stand in an SVG, not even escaped

STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "legend.framealpha": 0.7, "legend.edgecolor": "none", "svg.fonttype": "none", "svg.hashsalt": "micrornn",
    "font.family": ["DejaVu Sans"], "text.parse_math": False,
}  # fmt: skip
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")  # Okabe and Ito (2008)


def require() -> None:
    """MissingError with the command that installs it."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("a figure needs matplotlib, which is not installed\n  pip install 'micrornn[plot]'")


def figure(found: Sequence[tuple[Measure, Sequence[Panel]]], format: str = "png") -> bytes:
    """The panels of one or several measures, each measure with its verdicts; `format` is one of FORMATS."""
    require()
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        parts = [_flat(panels) for _, panels in found]
        columns = 1 if max(map(len, parts), default=0) < 2 else 2
        blocks = [_block(measure, panels, columns) for (measure, _), panels in zip(found, parts)]
        heights = [sum(rows) + words for rows, words, _ in blocks]
        paper: Any = Figure(figsize=(WIDTH * columns, max(1.0, sum(heights))), layout="constrained")
        places = np.atleast_1d(paper.subfigures(len(blocks), 1, height_ratios=heights))
        for place, (measure, _), panels, block in zip(places, found, parts, blocks):
            title = _wrapped(f"{measure.what.replace('_', ' ')}: {subject(measure)}", LETTERS * columns - 20)
            place.suptitle(title, x=0.02 / columns, ha="left", fontweight="bold")
            _draw_block(place, panels, columns, *block)
        out = io.BytesIO()
        with warnings.catch_warnings():  # a letter that the font lacks is drawn as a box; that is enough
            warnings.filterwarnings("ignore", "Glyph .* missing")
            paper.savefig(out, format=format, dpi=DPI, metadata={"Date": None} if format == "svg" else None)
    return _NO_XML.sub(b"?", out.getvalue()) if format == "svg" else out.getvalue()


def _flat(panels: Sequence[Panel]) -> list[Any]:
    return [part for panel in panels for part in (panel.ends() if isinstance(panel, Slides) else [panel])]


def _block(measure: Measure, panels: Sequence[Any], columns: int) -> tuple[list[float], float, str]:
    """Of one measure: the height of each row of panels, the height of its verdicts, and these as text."""
    rows = [max(map(_height, panels[n : n + columns])) for n in range(0, len(panels), columns)]
    lines = []
    for verdict in measure.verdicts:
        words = verdict.words + (f"\n→ {verdict.advice}" if verdict.advice else "")
        lines += [f"{verdict.kind}: " + _wrapped(words, LETTERS * columns - 20)]
    text = "\n".join(lines)
    return rows, 0.7 + 0.17 * (text.count("\n") + 1), text  # with room for a title


def _height(panel: Any) -> float:
    """Inches."""
    if isinstance(panel, Rows):
        return 0.7 + 0.2 * (len(panel.rows) + 1)
    if isinstance(panel, Coloured):
        return 0.7 + 0.2 * len(_lines(panel))
    if isinstance(panel, Heat):
        square = len(panel.y) > 0.6 * len(panel.x)
        return 4.2 if square else 1.6 + min(2.6, 0.25 * len(panel.y))
    return 3.4


def _draw_block(block: Any, panels: Sequence[Any], columns: int, rows: list[float], words: float, text: str) -> None:
    """Each panel has a place of its own, so that a long label of one does not squeeze the others."""
    lines = np.atleast_1d(block.subfigures(len(rows) + 1, 1, height_ratios=[*rows, words]))
    for line, start in zip(lines, range(0, len(panels), columns)):
        for place, panel in zip(np.atleast_1d(line.subfigures(1, columns)), panels[start : start + columns]):
            axes = place.add_subplot()
            axes.set_title(_wrapped(panel.title, 60))
            draw: Any = {Lines: _lines_in, Heat: _heat_in, Rows: _rows_in, Coloured: _coloured_in}[type(panel)]
            draw(axes, panel)
            if panel.note:
                place.supxlabel(_wrapped(panel.note, LETTERS), fontsize=7.5, x=0.02, ha="left")
    lines[-1].text(0.02 / columns, 0.95, text, va="top")


def _lines_in(axes: Any, panel: Lines) -> None:
    shown = False  # whether there is a point: without one, no axis has a logarithm
    for n, curve in enumerate(panel.curves):
        colour, x, y = COLOURS[n % len(COLOURS)], _drawable(curve.x, panel.log_x), _drawable(curve.y, panel.log_y)
        shown |= bool(np.isfinite(x + y).any())
        if curve.faint:
            axes.plot(x, y, color="#888888", linewidth=0.6, zorder=1)
            continue
        axes.plot(x, y, label=visible(curve.name), color=colour, linewidth=1.4, marker="o" if len(x) == 1 else "")
        if curve.low is not None and curve.high is not None:
            low, high = (_drawable(values, panel.log_y) for values in (curve.low, curve.high))
            axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    for which, log in (("x", panel.log_x), ("y", panel.log_y)):
        if log and shown:
            _by_logarithm(axes, which)
    if len(panel.curves) > 1:
        axes.legend(fontsize=8)
    _marks_in(axes, panel.marks)


def _drawable(values: np.ndarray, log: bool) -> np.ndarray:
    """NaN, which leaves a gap, for what has no place on an axis."""
    values = np.asarray(values, float)
    return np.where(np.isfinite(values) & ((values > 0) | (not log)), values, np.nan)


def _by_logarithm(axes: Any, which: str) -> None:
    """Ticks as plain numbers: matplotlib's own are formulas, and a text of somebody's may hold a `$`."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = getattr(axes, f"get_{which}lim")()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,), numticks=9))
    axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def _tick(value: float, _: int = 0) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _heat_in(axes: Any, panel: Heat) -> None:
    from matplotlib.colors import LogNorm, Normalize

    values = binned(binned(np.asarray(panel.values, float), FINE, 0, panel.log), FINE, 1, panel.log)
    known = values[np.isfinite(values) & ((values > 0) | (not panel.log))]
    low, high = panel.limits or ((float(known.min()), float(known.max())) if known.size else (1.0, 1.0))
    if panel.centred:
        high = max(abs(low), abs(high))
        low = -high
    if not high > low:
        low, high = (low / 2, high * 2) if panel.log else (low - 0.5, high + 0.5)
    norm = LogNorm(low, high) if panel.log else Normalize(low, high)
    shown = np.ma.masked_invalid(positive(values) if panel.log else values)
    colours = "RdBu_r" if panel.centred else "viridis"
    (left, right), (top, bottom) = _ends(panel.x), _ends(panel.y)
    image = axes.imshow(shown, aspect="auto", cmap=colours, norm=norm, extent=(left, right, bottom, top),
                        interpolation="nearest")  # fmt: skip
    axes.grid(False)
    for axis, places in ((axes.xaxis, panel.x), (axes.yaxis, panel.y)):
        if even(places):
            axis.get_major_locator().set_params(integer=all(float(place).is_integer() for place in places))
        else:
            _ticks_of(axis, places, 60 if all(len(str(place)) == 1 for place in places) else 12)
    axes.set(xlabel=panel.x_label, ylabel=panel.y_label)
    bar = axes.figure.colorbar(image, ax=axes, label=panel.value_label, pad=0.01)
    if panel.log:
        _by_logarithm(bar.ax, "y")
    if even(panel.x):
        _marks_in(axes, panel.marks)
    if panel.window:
        for start in np.arange(left, right, panel.window):
            stop = min(start + panel.window, right)
            axes.plot([start, stop, stop, start, start], [start, start, stop, stop, start], color="white", linewidth=1)
        axes.set(xlim=(left, right), ylim=(bottom, top))


def _ends(places: Sequence[float | str]) -> tuple[float, float]:
    """Where the cells of an axis begin and end."""
    if not even(places):
        return -0.5, len(places) - 0.5
    half = (float(places[1]) - float(places[0])) / 2
    return float(places[0]) - half, float(places[-1]) + half


def _ticks_of(axis: Any, places: Sequence[float | str], most: int) -> None:
    """Names at evenly spread places."""
    at = sorted({int(n) for n in np.linspace(0, len(places) - 1, min(most, len(places))).round()}) if places else []
    names = [place if isinstance(place, str) else _tick(place) for place in (places[n] for n in at)]
    axis.set_ticks(at, [visible(name) for name in names])


def _marks_in(axes: Any, marks: Sequence[Any]) -> None:
    for mark in marks:
        axes.axvline(mark.x, color="#555555", linestyle="--", linewidth=1)
        axes.annotate(visible(mark.name), (mark.x, 1), xycoords=("data", "axes fraction"), xytext=(3, -3), fontsize=8,
                      textcoords="offset points", rotation=90, va="top", ha="left", color="#555555",
                      bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})  # fmt: skip


def _rows_in(axes: Any, panel: Rows) -> None:
    axes.axis("off")
    if panel.rows:
        cells_of = [list(map(visible, row)) for row in panel.rows]
        table = axes.table(cells_of, colLabels=list(panel.columns), loc="upper left", cellLoc="left", colLoc="left",
                           edges="horizontal")  # fmt: skip
        table.auto_set_font_size(False)
        table.set_fontsize(8)
        table.auto_set_column_width(range(len(panel.columns)))
        for cell in table.get_celld().values():
            cell.set_linewidth(0.3)


def _lines(panel: Coloured) -> list[list[tuple[str, float]]]:
    """The tokens with their values, in lines of LETTERS letters."""
    lines: list[list[tuple[str, float]]] = [[]]
    for token, value in zip(panel.tokens, panel.values):
        shown = visible(token)
        if sum(cells(t) for t, _ in lines[-1]) + cells(shown) > LETTERS - 6:
            lines.append([])
        lines[-1].append((shown, float(value)))
        if "\n" in token:
            lines.append([])
    return [line for line in lines if line]


def _coloured_in(axes: Any, panel: Coloured) -> None:
    from matplotlib import colormaps

    lines = _lines(panel)
    axes.axis("off")
    axes.set(xlim=(0, LETTERS - 6), ylim=(max(len(lines), 14), 0))
    for row, line in enumerate(lines):
        column = 0
        for token, value in line:
            ground = colormaps["RdBu_r"]((np.clip(value, -1, 1) + 1) / 2 if np.isfinite(value) else 0.5)
            axes.fill_between([column, column + cells(token)], row, row + 1, color=ground, linewidth=0)
            for letter in token:  # a combining mark takes no cell: it lands on the letter before it
                wide = cells(letter)
                axes.text(column + (wide / 2 if wide else -0.5), row + 0.5, letter, family="monospace", ha="center",
                          va="center", color="white" if sum(ground[:3]) < 1.4 else "black", fontsize=8)  # fmt: skip
                column += wide


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.fill(line, width) for line in printable(text).split("\n"))
