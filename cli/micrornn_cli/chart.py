"""Curves in a terminal: two by four dots in each character."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from micrornn.inspect.panels import Curve, Lines
from micrornn.inspect.words import number
from micrornn.printable import cells
from micrornn_cli.axes import Scale, fit, flags, heading, labels

COLOURS = ("cyan", "magenta", "green", "red", "blue", "yellow")
LETTERS = "•+x○#*"  # in place of colours, where several curves share a picture
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a braille character


def chart(panel: Lines, width: int, height: int, colour: bool) -> Text:
    """`panel` in `width` columns, its curves in `height` lines."""
    across, up = _scales(panel)
    ticks = {round((1 - float(up(np.array(v)))) * (height - 1)): number(v) for v in up.ticks(min(6, height // 2))}
    indent = max([len(tick) for tick in ticks.values()], default=0) + 1
    columns = width - indent - 1
    out = heading(panel.title, panel.y_label + (" (logarithmic)" if panel.log_y else ""), width)
    marks = [(round(at * (columns - 1)), m.name) for m in panel.marks if np.isfinite(at := float(across(m.x)))]  # type: ignore[arg-type]
    for line in flags(marks, columns):
        out.append(" " * (indent + 1) + line + "\n", "bold")
    letters, styles = _cells(panel, across, up, columns, height, colour, {column for column, _ in marks})
    for row in range(height):
        out.append(f"{ticks.get(row, ''):>{indent - 1}} {'┤' if row in ticks else '│'}", "dim")
        for letter, style in zip(letters[row], styles[row]):
            out.append(letter, style)
        out.append("\n")
    found = across.ticks(max(2, columns // 9))
    places = [(round(float(at) * (columns - 1)), number(v)) for v, at in zip(found, across(np.array(found)))]
    tips = {column for column, _ in places}
    axis = "".join("┬" if n in tips else "─" for n in range(columns))
    out.append(" " * indent + "└" + axis + "\n", "dim")
    out.append(labels(places, columns, indent + 1) + "\n", "dim")
    out.append(f"{fit(panel.x_label, width):>{width}}\n", "dim")
    if len(panel.curves) > 1 or any(curve.low is not None for curve in panel.curves):
        out.append(_legend(panel, indent + 1, width, colour))
    return out


def _scales(panel: Lines) -> tuple[Scale, Scale]:
    """The scales of x and y, with room for curves, bands and marks."""
    xs = [np.asarray(curve.x, float) for curve in panel.curves]
    ys = [np.asarray(v, float) for c in panel.curves for v in (c.y, c.low, c.high) if v is not None]
    ys = ys if panel.limits is None else [np.array(panel.limits)]
    across = Scale.over(np.concatenate([*xs, np.array([m.x for m in panel.marks], float)]), panel.log_x)
    known = np.concatenate([np.empty(0), *xs])
    if across.low == 0 and known.size and not panel.log_x:  # an axis of places starts at the first of them
        across = Scale(float(known.min()), across.high)
    return across, Scale.over(np.concatenate([np.empty(0), *ys]), panel.log_y)


def _cells(panel: Lines, across: Scale, up: Scale, columns: int, height: int, colour: bool,
           marked: set[int]) -> tuple[list[list[str]], list[list[str]]]:  # fmt: skip
    """The letter and the style of each cell of the picture. Curves hide bands, and bands hide marks."""
    letters = [["╎" if n in marked else " " for n in range(columns)] for _ in range(height)]
    styles = [["dim"] * columns for _ in range(height)]
    for n, curve in enumerate(panel.curves):
        for row, column in np.argwhere(_band(curve, across, up, columns, height)):
            letters[row][column], styles[row][column] = "░", f"dim {_colour(n, colour)}".strip()
    most = np.zeros((height, columns), int)  # dots of the curve that is shown there
    union = np.zeros((height, columns), int)
    for n, curve in sorted(enumerate(panel.curves), key=lambda pair: not pair[1].faint):  # faint ones below all others
        dots = _dots(curve, across, up, columns, height).reshape(height, 4, columns, 2)
        union |= np.einsum("hrcs,rs->hc", dots.astype(int), DOTS)
        count = dots.sum(axis=(1, 3))
        for row, column in np.argwhere(count > most):
            letters[row][column] = "·" if curve.faint else LETTERS[n % len(LETTERS)]
            styles[row][column] = "dim" if curve.faint else _colour(n, colour)
        most = most if curve.faint else np.maximum(most, count)
    if not union.any():
        words = fit("nothing can be drawn", columns)
        letters[height // 2][: len(words)] = words
    if colour or len(panel.curves) == 1:
        for row, column in np.argwhere(union):
            letters[row][column] = chr(0x2800 + union[row, column])
    return letters, styles


def _dots(curve: Curve, across: Scale, up: Scale, columns: int, height: int) -> np.ndarray:
    """bool (4 height, 2 columns): the points of the curve, joined where nothing is missing between them."""
    dots = np.zeros((4 * height, 2 * columns), bool)
    x, y = across(curve.x) * (2 * columns - 1), (1 - up(curve.y)) * (4 * height - 1)
    known = np.isfinite(x) & np.isfinite(y)
    dots[y[known].round().astype(int), x[known].round().astype(int)] = True
    for n in np.flatnonzero(known[:-1] & known[1:]):
        steps = int(max(abs(x[n + 1] - x[n]), abs(y[n + 1] - y[n]))) + 1
        part = np.linspace(0, 1, steps + 1)
        rows, places = y[n] + part * (y[n + 1] - y[n]), x[n] + part * (x[n + 1] - x[n])
        dots[rows.round().astype(int), places.round().astype(int)] = True
    return dots


def _band(curve: Curve, across: Scale, up: Scale, columns: int, height: int) -> np.ndarray:
    """bool (height, columns): where the band around the curve is."""
    inside = np.zeros((height, columns), bool)
    if curve.low is None or curve.high is None:
        return inside
    x = across(curve.x) * (columns - 1)
    low, high = (up(np.clip(v, up.low, up.high)) * (height - 1) for v in (curve.low, curve.high))
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    if known.sum() < 2:
        return inside
    order = np.argsort(x[known])
    at = np.arange(columns)
    x, low, high = (values[known][order] for values in (x, low, high))
    bottom, top = (np.interp(at, x, values, left=np.nan, right=np.nan) for values in (low, high))
    rows = height - 1 - np.arange(height)[:, None]
    return (rows >= bottom - 0.5) & (rows <= top + 0.5)


def _colour(n: int, colour: bool) -> str:
    return COLOURS[n % len(COLOURS)] if colour else ""


def _legend(panel: Lines, indent: int, width: int, colour: bool) -> Text:
    """Which curve is which, in as many lines as needed."""
    text, used = Text(" " * indent), indent
    entries = [(("━━" if colour else LETTERS[n % len(LETTERS)]) if len(panel.curves) > 1 else "━━", curve.name, n)
               for n, curve in enumerate(panel.curves) if not curve.faint]  # fmt: skip
    if any(curve.low is not None for curve in panel.curves):
        entries.append(("░░", "their spread" if len(panel.curves) > 1 else "its spread", -1))
    for sign, name, n in entries:
        name = fit(name, width - indent - 6)
        if used > indent and used + cells(name) + 6 > width:
            text.append("\n" + " " * indent)
            used = indent
        text.append(sign, _colour(n, colour) if n >= 0 else "dim")
        text.append(f" {name}   ")
        used += len(sign) + cells(name) + 4
    return text.append("\n")
