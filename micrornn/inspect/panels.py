"""The few kinds of picture that a measure is shown as. Terminal, figure and page draw the same panels.

Lines     curves over one axis, with bands and marked places
Heat      numbers over two axes, as colours
Rows      a small table
Coloured  a text, each token in the colour of its number
Slides    the same picture at several places, such as the updates of a training
curves    a curve for each name
positive  numbers that have a logarithm
binned    fewer numbers for a picture that has less room
even      whether places are numbers at equal distances
plainly   a measure drawn by its arrays alone
cut_at    the num_steps that a run cuts its windows at; marked: that place on an axis
subject   on what was measured, in a line
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from micrornn.errors import counted
from micrornn.inspect.measure import Measure
from micrornn.inspect.words import number


@dataclass(frozen=True)
class Curve:
    """y over x; low..high a band around it, such as the spread over windows. faint: thin, grey, not in the legend."""

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    faint: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Mark:
    """A place on the x axis worth a line: the window trained with, a half-life."""

    x: float
    name: str


@dataclass(frozen=True)
class Lines:
    """limits: the ends of the y axis; None: what the curves need."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False
    marks: Sequence[Mark] = ()
    note: str = ""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Heat:
    """values (rows, columns): row r stands at y[r], column c at x[c]; the first row is drawn on top.

    log: colours by the logarithm. centred: two colours, from minus over 0 to plus. limits: the ends of the colours;
    None: what the values need.
    window: where both axes are time steps, the window that a run was trained with. A page lays windows of so many
    time steps over the picture, lets them be dragged, and says how much of the values lies outside of them.
    """

    title: str
    x_label: str
    y_label: str
    value_label: str
    x: Sequence[float | str]
    y: Sequence[float | str]
    values: np.ndarray
    log: bool = False
    centred: bool = False
    marks: Sequence[Mark] = ()
    note: str = ""
    limits: tuple[float, float] | None = None
    window: int | None = None


@dataclass(frozen=True)
class Rows:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Coloured:
    """tokens[i] in the colour of values[i], -1 .. 1."""

    title: str
    tokens: Sequence[str]
    values: np.ndarray
    value_label: str
    note: str = ""


@dataclass(frozen=True)
class Slides:
    """panels[i] is the picture at places[i]; all of one kind and on the same axes. A page has a slider; the terminal
    and the figure draw the first and the last."""

    title: str
    label: str
    places: Sequence[float | str]
    panels: Sequence[Lines | Heat]
    note: str = ""

    def frames(self) -> list[Lines | Heat]:
        """The pictures with titles of their own, and all with the same limits, so that they can be compared; but
        those that have limits keep them."""
        limits = _limits([panel for panel in self.panels if panel.limits is None])
        return [
            replace(panel, title=f"{self.title}, {self.label} {place}", limits=panel.limits or limits, note=self.note)
            for place, panel in zip(self.places, self.panels)
        ]

    def ends(self) -> list[Lines | Heat]:
        """The first and the last of them."""
        frames = self.frames()
        return [frames[n] for n in sorted({0, len(frames) - 1})] if frames else []


Panel = Lines | Heat | Rows | Coloured | Slides


def _limits(panels: Sequence[Lines | Heat]) -> tuple[float, float] | None:
    """From the least to the greatest number that is drawn in any of them."""
    parts: list[np.ndarray] = []
    for panel in panels:
        if isinstance(panel, Heat):
            parts.append(np.ravel(panel.values))
        else:
            parts += [np.ravel(v) for c in panel.curves for v in (c.y, c.low, c.high) if v is not None]
    values = np.concatenate([np.empty(0), *parts])
    logarithmic = any(panel.log if isinstance(panel, Heat) else panel.log_y for panel in panels)
    values = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    if not values.size:
        return None
    if any(isinstance(panel, Heat) and panel.centred for panel in panels):
        most = float(np.abs(values).max())
        return -most, most
    return float(values.min()), float(values.max())


def curves(names: Sequence[object], x: Sequence[Any] | np.ndarray, *rows: np.ndarray) -> list[Curve]:
    """A curve for each name. rows: y (names, x), and low and high of a band."""
    return [Curve(str(name), np.asarray(x), *of) for name, *of in zip(names, *rows)]


def cut_at(measure: Measure) -> int:
    """The num_steps at which the run that was measured cuts its windows; 0 where none is known, or nothing is cut."""
    about = measure.subject
    return int(about.get("trained", {}).get("num_steps", 0)) if about.get("cut", True) else 0


def marked(measure: Measure, places: Sequence[Any] | np.ndarray) -> list[Mark]:
    """`cut_at` as a mark, if it lies on an axis with these places."""
    at = cut_at(measure)
    return [Mark(at, f"num_steps {at}")] if at and places[0] <= at <= places[-1] else []


def positive(values: np.ndarray) -> np.ndarray:
    """NaN, which leaves a gap, for what has no logarithm."""
    return np.where(values > 0, values, np.nan)


def binned(values: np.ndarray, most: int, axis: int, log: bool = False) -> np.ndarray:
    """Means of neighbours along an axis, so that at most so many are left; means of logarithms where a picture goes
    by those. What is not finite (or has no logarithm) does not count; NaN where nothing else is."""
    count = values.shape[axis]
    if count <= most:
        return values
    if log:
        values = np.log(positive(values))
    parts = []
    for start, stop in pairwise(np.linspace(0, count, most + 1).round().astype(int)):
        part = values.take(range(start, stop), axis)
        known = np.isfinite(part)
        total, there = np.where(known, part, 0).sum(axis), known.sum(axis)
        parts.append(np.where(there > 0, total / np.maximum(there, 1), np.nan))
    means = np.stack(parts, axis)
    return np.exp(means) if log else means


def even(places: Sequence[float | str]) -> bool:
    """Whether places are rising numbers, each as far from the next."""
    if len(places) < 2 or any(isinstance(place, str) for place in places):
        return False
    steps = np.diff(np.array(places, float))
    return bool(steps[0] > 0 and np.allclose(steps, steps[0]))


def subject(measure: Measure, run: bool = True) -> str:
    """Which text, in which sizes; with `run`, of which run after how many updates."""
    about = measure.subject
    parts = [str(about["run"])] if run and about.get("run") else []
    if run and about.get("updates") is not None:
        parts.append(f"after {counted(about['updates'], 'update')}")
    parts += [f"on {about['text']}"] if about.get("text") else []
    sizes = ("windows", "seq_len", "lanes", "batch_size", "tokens")
    return ", ".join(parts + [f"{name} {about[name]:,}" for name in sizes if isinstance(about.get(name), int)])


def plainly(measure: Measure) -> list[Panel]:
    """Every array of one or two axes: curves along its last axis, where that has numbers for places; else a table."""
    found: list[Panel] = []
    for name, array in measure.arrays.items():
        *first, last = array.axes
        places, label = measure.axes[last].places, array.unit or name
        rows = array.values.reshape(-1, len(places))
        names = [str(place) for place in measure.axes[first[0]].places] if first else [name]
        if len(first) > 1 or not len(places):
            continue
        title = array.about[:1].upper() + array.about[1:]
        if len(places) > 1 and not any(isinstance(place, str) for place in places):
            drawn = curves(names, np.array(places, float), rows)
            found.append(Lines(title, measure.axes[last].unit or last, label, drawn))
        else:
            table = [[str(place), *(number(value) for value in column)] for place, column in zip(places, rows.T)]
            found.append(Rows(title, [last, *names], table))
    return found
