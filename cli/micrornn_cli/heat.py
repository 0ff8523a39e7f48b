"""Numbers over two axes in a terminal: two of them in each character as colours, or shades where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from micrornn.inspect.panels import Heat, binned, even
from micrornn.inspect.words import number
from micrornn.printable import cells, pad, standing, visible
from micrornn_cli.axes import Scale, fit, flags, heading, labels, round_numbers

SEQUENTIAL = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")  # viridis
CENTRED = ("2166ac", "67a9cf", "d1e5f0", "f7f7f7", "fddbc7", "ef8a62", "b2182b")  # blue, white, red
SHADES, SIGNS = "·░▒▓█", "=-·+#"  # SIGNS: far below 0 .. far above; where there is no number, nothing is drawn
SINGLE = 12  # up to so many rows, each gets lines of its own


def heat(panel: Heat, width: int, height: int, colour: bool) -> Text:
    """`panel` in `width` columns and about `height` lines."""
    values = np.asarray(panel.values, float)
    names = [_name(place) for place in panel.y]
    indent = min(max(map(cells, names), default=1), width // 3) + 1
    columns, wide = width - indent - 1, _letters(panel.x)
    rows, stretch = _rows(len(names), height, colour)
    room = columns // max(wide, 1)
    if wide and len(panel.x) > room:  # letters of a text have no mean: as many as there is room for
        panel = replace(panel, x=panel.x[:room], x_label=f"{panel.x_label} (the first {room} of {len(panel.x)})")
        values = values[:, :room]
    if len(names) > rows and not even(panel.y):  # what is named or ranked has no mean with its neighbours either
        panel = replace(panel, y=panel.y[:rows], y_label=f"{panel.y_label} (the first {rows} of {len(names)})")
        names, values = names[:rows], values[:rows]
    if values.size:
        panel = replace(panel, y_label=panel.y_label + _means(len(names), rows))
        values = binned(binned(values, rows, 0, panel.log), min(columns, values.shape[1]), 1, panel.log)
        values = np.repeat(values, max(1, columns // values.shape[1]), axis=1)
    columns = values.shape[1] if values.size else columns
    scale = _scale(values, panel)
    shown = scale(np.clip(values, scale.low, scale.high)) if values.size else values
    out = heading(panel.title, panel.value_label + (" (logarithmic)" if panel.log else ""), width)
    for flag in flags(_marks(panel, columns), columns):
        out.append(" " * (indent + 1) + flag + "\n", "bold")
    drawn = _coloured(shown, panel.centred, stretch) if colour else _shaded(shown, panel.centred)
    ticks = _row_names(panel.y, names, len(drawn))
    for n, line in enumerate(drawn):
        out.append(_row_name(ticks.get(n, ""), indent - 1) + (" ┤" if n in ticks else " │"), "dim")
        out.append(line).append("\n")
    places = _places(panel.x, columns)
    tips = {column for column, _ in places}
    if wide and len(places) * wide == columns:
        out.append(" " * (indent + 1) + "".join(pad(name, wide) for _, name in places) + "\n", "dim")
    else:
        out.append(" " * indent + "└" + "".join("┬" if n in tips else "─" for n in range(columns)) + "\n", "dim")
        out.append(labels(places, columns, indent + 1) + "\n", "dim")
    below, right = fit("↓ " + panel.y_label, width // 2), fit("→ " + panel.x_label, width // 2 - 1)
    out.append(f"{below:<{indent + 1}}{right:>{columns // 2}}\n", "dim")
    return out.append(_key(scale, panel.centred, colour, indent + 1, width)).append("\n")


def _means(count: int, shown: int) -> str:
    """A note if each row of the picture is the mean of several rows."""
    if count < 1.5 * shown:
        return ""
    return f" (means of {'' if count % shown == 0 else 'about '}{count / shown:.0f})"


def _rows(count: int, height: int, colour: bool) -> tuple[int, int]:
    """(rows that are drawn, lines for each; 0: two rows share a line)."""
    if count <= SINGLE or not colour:
        return min(count, height if count > SINGLE else count), 1
    return min(count, 2 * height), 0


def _scale(values: np.ndarray, panel: Heat) -> Scale:
    if panel.limits is not None:
        return Scale(*panel.limits, panel.log)
    if panel.centred:
        known = np.abs(values[np.isfinite(values)])
        most = float(known.max()) if known.size and known.max() > 0 else 1.0
        return Scale(-most, most)
    known = values[np.isfinite(values)]
    scale = Scale.over(known, panel.log)
    return scale if panel.log or not known.size or scale.low == 0 else Scale(float(known.min()), scale.high)


def colour_of(at: float, centred: bool) -> Color | None:
    """The colour at 0 .. 1 of a table; None for NaN."""
    if not np.isfinite(at):
        return None
    table = CENTRED if centred else SEQUENTIAL
    place = at * (len(table) - 1)
    low = min(int(place), len(table) - 2)
    ends = [[int(table[n][k : k + 2], 16) for k in (0, 2, 4)] for n in (low, low + 1)]
    return Color.from_rgb(*(a + (place - low) * (b - a) for a, b in zip(*ends)))


def _coloured(shown: np.ndarray, centred: bool, stretch: int) -> list[Text]:
    lines = []
    step = 1 if stretch else 2
    for top in range(0, len(shown), step):
        line = Text()
        for column in range(shown.shape[1]):
            upper = colour_of(shown[top, column], centred)
            lower = upper
            if not stretch:
                lower = colour_of(shown[top + 1, column], centred) if top + 1 < len(shown) else None
            line.append(*_block(upper, lower))
        lines.append(line)
    return lines


def _block(upper: Color | None, lower: Color | None) -> tuple[str, Style]:
    """One character with two colours; where there is no number, the terminal's background is seen."""
    if upper == lower:
        return ("█", Style(color=upper)) if upper else (" ", Style())
    if upper is None:
        return "▄", Style(color=lower)
    return "▀", Style(color=upper, bgcolor=lower)


def _shaded(shown: np.ndarray, centred: bool) -> list[Text]:
    letters = SIGNS if centred else SHADES
    level = np.where(np.isfinite(shown), np.clip(shown * len(letters), 0, len(letters) - 1), -1).astype(int)
    return [Text("".join(letters[n] if n >= 0 else " " for n in row)) for row in level]


def _letters(places: Sequence[float | str]) -> int:
    """If the name of each place is a single letter, as in a text, the width of the widest in cells; else 0."""
    if not all(isinstance(place, str) and len(place) == 1 for place in places):
        return 0
    return max((cells(_name(place)) for place in places), default=0)


def _name(place: float | str) -> str:
    return standing(visible(place)) if isinstance(place, str) else number(float(place))


def _row_name(name: str, width: int) -> str:
    """Right-aligned."""
    name = fit(name, width)
    return " " * (width - cells(name)) + name


def _row_names(places: Sequence[float | str], names: list[str], lines: int) -> dict[int, str]:
    """line -> the name of the row that begins there."""
    if len(names) <= lines:
        return dict(enumerate(names))
    picked = _picked(places, max(2, lines // 3))
    return {n * lines // len(names): names[n] for n in reversed(picked)}


def _places(places: Sequence[float | str], columns: int) -> list[tuple[int, str]]:
    """(column, name) of as many places on the x axis as there is room for."""
    names = [_name(place) for place in places]
    wide = columns / max(1, len(names))
    if 0 < _letters(places) <= wide:
        return [(int((n + 0.5) * wide), name) for n, name in enumerate(names)]
    room = max(map(cells, names), default=1) + 2
    picked = range(len(names)) if wide >= room else _picked(places, max(2, columns // max(room, 9)))
    return [(int((n + 0.5) * wide), names[n]) for n in picked]


def _picked(places: Sequence[float | str], most: int) -> list[int]:
    """The places that get a name: those nearest to round numbers, else evenly spread ones."""
    count = len(places)
    if count > 2 and even(places):
        grid = np.array(places, float)
        return sorted({int(np.abs(grid - v).argmin()) for v in round_numbers(grid[0], grid[-1], most)})
    return sorted({int(n) for n in np.linspace(0, count - 1, min(count, most)).round()})


def _marks(panel: Heat, columns: int) -> list[tuple[int, str]]:
    """(column, name) of each mark that lies on the x axis."""
    if not panel.marks or any(isinstance(place, str) for place in panel.x) or len(panel.x) < 2:
        return []
    grid = np.array(panel.x, float)
    return [
        (int((np.interp(mark.x, grid, np.arange(len(grid))) + 0.5) * columns / len(grid)), mark.name)
        for mark in panel.marks
        if grid.min() <= mark.x <= grid.max()
    ]


def _key(scale: Scale, centred: bool, colour: bool, indent: int, width: int) -> Text:
    """What the colours mean."""
    text = Text(" " * indent)
    if colour:
        text.append(number(scale.low) + " ", "dim")
        letters = max(2, min(24, width - indent - len(number(scale.low)) - len(number(scale.high)) - 2))
        for n in range(letters):
            text.append("█", Style(color=colour_of(n / (letters - 1), centred)))
        return text.append(f" {number(scale.high)}", "dim")
    signs = SIGNS if centred else SHADES
    ends = np.linspace(0, 1, len(signs) + 1)
    if scale.log:
        values = np.exp(np.log(scale.low) + ends * (np.log(scale.high) - np.log(scale.low)))
    else:
        values = scale.low + ends * (scale.high - scale.low)
    line = number(values[0])
    for letter, value in zip(signs, values[1:]):
        part = f" [{letter}] {number(value)}"
        if indent + len(line) + len(part) > width:
            text.append(line + "\n" + " " * indent, "dim")
            line, part = "", part[1:]
        line += part
    return text.append(line, "dim")
