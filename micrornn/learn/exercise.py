"""What a page of the course is made of.

Page          its number, title, and file; `exercise` is a decorator for the check of one of its exercises
Exercise      the name that the reader's file must define, what it is, and the check
Wrong         what a check raises: in a line, what was got and what was expected
hinting       adds a hint to what is wrong
compare       numbers that were got against those expected;  compare_each  each part of what was returned
several       unpacks what was returned;  agree  whether it is this number or array
slopes        a gradient by central differences: the truth that most answers are compared with

Some mistakes are made by many, and known by their numbers: of any exercise by looks.py, of one by its check. Then the
line says which one it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.errors import DataError, counted, quoted
from micrornn.learn.looks import NONE, near, of_array, of_list, same

HERE = Path(__file__).parent
FOLDERS = (HERE / "pages", HERE.parents[1] / "docs" / "learn")  # of a wheel; of the sources

Check = Callable[[Any], str]


class Wrong(Exception):
    """An answer that is not right; the message says in one line what was got and what was expected."""


@contextmanager
def hinting(hints: Mapping[str, str]) -> Iterator[None]:
    """A Wrong with such words in it ends in their hint; that of "" is for any Wrong."""
    try:
        yield
    except Wrong as wrong:
        found = [f"; {hint}" for words, hint in hints.items() if hint and words in str(wrong)]
        raise Wrong("".join([str(wrong), *found[:1]])) from None


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


def compare(what: str, got: Any, expected: Any, tolerance: float = 1e-5,
            mistakes: Mapping[str, Any] | None = None) -> None:  # fmt: skip
    """Wrong where a number or an array that was got differs from the expected one by more than `tolerance` of its
    size, or of 1; or is none. mistakes: the words for a mistake, and the numbers that it gives."""
    wanted = np.asarray(expected, np.float64)
    kind = f"an array of shape {wanted.shape}" if wanted.ndim else f"{wanted:.6g}"
    if got is None:
        raise Wrong(f"{what}: got None, expected {kind}; {NONE}")
    found = _numbers(got)
    if found is None:
        raise Wrong(f"{what}: got {quoted(got)}, expected {kind}")
    if same(found, wanted, tolerance):
        return
    known = [f"; {words}" for words, numbers in (mistakes or {}).items() if agree(got, numbers)]
    looks = known[0] if known else of_array(found, wanted, tolerance)
    if found.shape != wanted.shape:
        shape = f"an array of shape {found.shape}" if found.ndim else f"the number {found:.6g}"
        raise Wrong(f"{what}: got {shape}, expected {kind}{looks}")
    at = tuple(int(n) for n in np.argwhere(~near(found, wanted, tolerance))[0])
    place = f" at {list(at)}" if at else ""
    raise Wrong(f"{what}{place}: got {found[at]:.6g}, expected {wanted[at]:.6g}{looks}")


def compare_each(what: str, names: Sequence[str], got: Any, expected: Sequence[Any]) -> None:
    """Wrong where a part of what was returned differs from the expected one, which `names` names; they are told apart
    from the right ones in another order, or one place off."""
    if got is None:
        raise Wrong(f"{what}: got None, expected {counted(len(expected), 'value')}; {NONE}")
    if isinstance(got, np.ndarray) and got.ndim > 1 and len(got) != len(expected):
        raise Wrong(f"{what}: got an array of shape {got.shape}, expected {', '.join(names)}")
    parts = several(what, got)
    looks = of_list([_numbers(part) for part in parts], expected, names)
    if len(parts) != len(expected):
        raise Wrong(f"{what}: got {counted(len(parts), 'value')}, expected {len(expected)}{looks}")
    for name, part, right in zip(names, parts, expected):
        try:
            compare(f"{name} of {what}", part, right)
        except Wrong as wrong:
            raise Wrong(f"{wrong}{looks}") from None


def several(what: str, got: Any, count: int | None = None, noun: str = "value") -> list[Any]:
    """The parts of what was returned. Wrong where it has none, or not `count`."""
    expected = "a list or a tuple" if count is None else counted(count, noun)
    if got is None:
        raise Wrong(f"{what}: got None, expected {expected}; {NONE}")
    try:
        if isinstance(got, str | dict):
            raise TypeError
        parts = list(islice(iter(got), 10_000))
    except TypeError:
        raise Wrong(f"{what}: got {quoted(got)}, expected {expected}") from None
    if count is not None and len(parts) != count:
        raise Wrong(f"{what}: got {counted(len(parts), noun)}, expected {count}")
    return parts


def agree(got: Any, wanted: Any, tolerance: float = 1e-5) -> bool:
    """Whether something that was returned is this number or array."""
    return same(_numbers(got), wanted, tolerance)


def _numbers(got: Any) -> np.ndarray | None:
    """As an array of float64, or None if it is something else."""
    try:
        found = np.asarray(got)
    except (TypeError, ValueError):  # lists of unequal length
        return None
    return found.astype(np.float64) if found.dtype.kind in "fiub" else None


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
