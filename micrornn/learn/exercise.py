"""What a page of the course is made of.

Page          its number, title, and file; `exercise` is a decorator for the check of one of its exercises
Exercise      the name that the reader's file must define, what it is, and the check
Wrong         what a check raises: in a line, what was got and what was expected
compare       numbers that were got against those expected;  several  unpacks what was returned
slopes        a gradient by central differences: the truth that most answers are held against
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.errors import DataError, quoted

HERE = Path(__file__).parent
FOLDERS = (HERE / "pages", HERE.parents[1] / "docs" / "learn")  # of a wheel; of the sources

Check = Callable[[Any], str]


class Wrong(Exception):
    """An answer that is not right; the message says in one line what was got and what was expected."""


@dataclass(frozen=True)
class Exercise:
    """name: of what the reader's file defines, a function or a variable; check(answer) -> what is right, or Wrong."""

    name: str
    function: bool
    check: Check


@dataclass
class Page:
    """number, file (without .md), title, and what a reader can do afterwards."""

    number: int
    file: str
    title: str
    afterwards: str
    exercises: list[Exercise] = field(default_factory=list)

    def exercise(self, check: Check) -> Check:
        """Decorator: the check of the exercise that asks for a function of this name."""
        self.exercises.append(Exercise(check.__name__, True, check))
        return check

    def variable(self, check: Check) -> Check:
        """Decorator: the check of the exercise that asks for a variable of this name."""
        self.exercises.append(Exercise(check.__name__, False, check))
        return check

    @property
    def path(self) -> Path:
        """Where its text is. DataError where it is not installed."""
        for folder in FOLDERS:
            if (path := folder / f"{self.file}.md").is_file():
                return path
        raise DataError(f"page {self.number} of the course is not installed: there is no {self.file}.md")


def compare(what: str, got: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Wrong where a number or an array that was got differs from the expected one by more than `tolerance` of its
    size, or of 1; or is none."""
    wanted = np.asarray(expected, np.float64)
    kind = f"an array of shape {wanted.shape}" if wanted.ndim else f"{wanted:.6g}"
    if got is None:
        raise Wrong(f"{what}: got None (is there a return?), expected {kind}")
    try:
        found = np.asarray(got)
    except (TypeError, ValueError):  # lists of unequal length
        found = np.asarray(None)
    if found.dtype.kind not in "fiub":
        raise Wrong(f"{what}: got {quoted(got)}, expected {kind}")
    found = found.astype(np.float64)
    if found.shape != wanted.shape:
        shape = f"an array of shape {found.shape}" if found.ndim else f"the number {found:.6g}"
        raise Wrong(f"{what}: got {shape}, expected {kind}")
    near = np.abs(found - wanted) <= tolerance * np.maximum(1, np.abs(wanted))
    if not near.all():
        at = tuple(int(n) for n in np.argwhere(~near)[0])
        place = f" at {list(at)}" if at else ""
        raise Wrong(f"{what}{place}: got {found[at]:.6g}, expected {wanted[at]:.6g}")


def several(what: str, got: Any, count: int) -> list[Any]:
    """The `count` parts of what was returned. Wrong where it is something else."""
    if got is None:
        raise Wrong(f"{what}: got None (is there a return?), expected {count} values")
    try:
        parts = list(islice(iter(got), 10_000))
    except TypeError:
        raise Wrong(f"{what}: got {quoted(got)}, expected {count} values") from None
    if len(parts) != count:
        raise Wrong(f"{what}: got {len(parts)} values, expected {count}")
    return parts


def slopes(function: Callable[..., Any], places: Sequence[Any], step: float = 1e-5) -> list[np.ndarray]:
    """d function / d place for each of the numbers and arrays `places`, by central differences; the function gives one
    number."""
    arrays = [np.array(place, np.float64) for place in places]
    found = []
    for array in arrays:
        slope = np.empty_like(array)
        for at in np.ndindex(array.shape):
            kept, sides = array[at], []
            for side in (step, -step):
                array[at] = kept + side
                sides.append(float(function(*arrays)))
            array[at] = kept
            slope[at] = (sides[0] - sides[1]) / (2 * step)
        found.append(slope)
    return found
