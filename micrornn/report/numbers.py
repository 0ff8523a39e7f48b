"""The numbers of pictures as a page carries them: few, short, and plain JSON.

to_json    a panel of curves or colours
Budget     how many numbers a heat map may have, so that the page stays small
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn.inspect.panels import Curve, Heat, Lines, Slides, binned

CELLS, CELLS_OF_ONE = 160_000, 40_000  # of all heat maps together, and at most of one: 2.7 bytes each
POINTS, POINTS_OF_ONE = 40_000, 600  # of all curves together, and at most of one: about 8 bytes each
FRAMES = 50  # of slides


@dataclass(frozen=True)
class Budget:
    """Room for so many heat maps and so many rows of numbers of curves."""

    heats: int
    rows: int

    @classmethod
    def of(cls, panels: Iterable[Any]) -> Budget:
        """For these panels; those of slides are counted one by one."""
        flat = [one for panel in panels for one in (panel.panels[:FRAMES] if isinstance(panel, Slides) else [panel])]
        curves = [curve for panel in flat if isinstance(panel, Lines) for curve in panel.curves]
        rows = sum(2 + (curve.low is not None) + (curve.high is not None) for curve in curves)
        return cls(sum(isinstance(panel, Heat) for panel in flat), rows)

    @property
    def cells(self) -> int:
        """Of a heat map."""
        return max(1000, min(CELLS_OF_ONE, CELLS // max(1, self.heats)))

    @property
    def points(self) -> int:
        """Of a curve."""
        return max(40, min(POINTS_OF_ONE, POINTS // max(1, self.rows)))


def to_json(panel: Lines | Heat | Slides, budget: Budget) -> dict[str, Any]:
    """What page.js draws; the numbers drawn have four digits."""
    if isinstance(panel, Slides):
        frames, places = panel.frames(), list(panel.places)
        picked = sorted({int(n) for n in np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round()})
        return {
            "kind": "slides", "label": panel.label,
            "places": [places[n] if isinstance(places[n], str) else short(places[n], 8) for n in picked],
            "frames": [to_json(frames[n], budget) for n in picked],
        }  # fmt: skip
    shared = {
        "x_label": panel.x_label, "y_label": panel.y_label,
        "limits": None if panel.limits is None else [short(end) for end in panel.limits],
        "marks": [{"x": short(mark.x, 8), "name": mark.name} for mark in panel.marks if math.isfinite(mark.x)],
    }  # fmt: skip
    if isinstance(panel, Lines):
        curves = [_curve(curve, panel.log_y, budget.points) for curve in panel.curves]
        return {"kind": "lines", "log_x": panel.log_x, "log_y": panel.log_y, "curves": curves} | shared
    return _heat(panel, CELLS_OF_ONE if panel.window else budget.cells) | shared


def short(value: Any, digits: int = 4) -> float | None:
    """So many digits, and None for what is not finite."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _curve(curve: Curve, log: bool, points: int) -> dict[str, Any]:
    found: dict[str, Any] = {"name": curve.name, "x": _list(binned(np.asarray(curve.x, float), points, 0), 8)}
    if curve.faint:
        found["faint"] = True
    for name in ("y", "low", "high"):
        values = getattr(curve, name)
        if values is not None:
            found[name] = _list(binned(np.asarray(values, float), points, 0, log))
    return found


def _list(values: np.ndarray, digits: int = 4) -> list[float | None]:
    return [short(value, digits) for value in values.tolist()]


def _heat(panel: Heat, cells: int) -> dict[str, Any]:
    values = np.asarray(panel.values, float)
    rows, columns = values.shape
    if rows * columns > cells:
        shrink = math.sqrt(cells / (rows * columns))
        wide, high = max(1, int(columns * shrink)), max(1, int(rows * shrink))
        if high < min(rows, 12):  # a few rows are all needed
            wide, high = max(1, cells // min(rows, 12)), min(rows, 12)
        values = binned(binned(values, high, 0, panel.log), wide, 1, panel.log)
    lowest, highest, data = _packed(values, panel.log)
    return {
        "kind": "heat", "value_label": panel.value_label, "log": panel.log, "centred": panel.centred,
        "window": panel.window, "x": _places(panel.x, values.shape[1]), "y": _places(panel.y, values.shape[0]),
        "z": data, "ends": [lowest, highest], "shape": list(values.shape),
    }  # fmt: skip


def _packed(values: np.ndarray, log: bool) -> tuple[float, float, str]:
    """Two bytes a number, in base64: 1 .. 65535 from the lowest to the highest, or from logarithm to logarithm; 0 for
    what is not finite or has no logarithm."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log10(values) if log else values
    known = np.isfinite(scaled)
    low, high = (float(scaled[known].min()), float(scaled[known].max())) if known.any() else (0.0, 0.0)
    steps = np.where(known, (np.where(known, scaled, low) - low) / ((high - low) or 1.0), 0)
    packed = np.where(known, 1 + np.round(65534 * steps), 0).astype("<u2")
    return low, high, base64.b64encode(packed.tobytes()).decode()


def _places(places: Sequence[float | str], count: int) -> list[Any]:
    """As many as are left: the middle of numbers, the first of names."""
    if any(isinstance(place, str) for place in places):
        edges = np.linspace(0, len(places), count + 1).round().astype(int)[:-1]
        return [str(places[n]) for n in edges]
    return _list(binned(np.array(places, float), count, 0), 8)
