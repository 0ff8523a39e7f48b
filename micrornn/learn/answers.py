"""The reader's own file, run because its path was typed, and put to the checks of a page.

check(page, path) -> Report: a Result for each exercise; or `broken`, where the file does not run to its end.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from micrornn.errors import DataError, counted, named, quoted
from micrornn.learn.exercise import Exercise, Page, Wrong
from micrornn.learn.names import lines_of, missing, of_none

MOST_BYTES = 1_000_000
MODULE = "micrornn_answers"


@dataclass(frozen=True)
class Result:
    """Of one exercise: whether it is right, and a line that says why."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True)
class Report:
    """results: one for each exercise; broken: why the file was not checked at all, with the line, or empty."""

    results: tuple[Result, ...]
    broken: str = ""

    @property
    def passed(self) -> bool:
        return not self.broken and all(result.passed for result in self.results)


class _Answers:
    """What a file defines, and where."""

    def __init__(self, path: Path, source: bytes):
        self.file, self.path = path.name, str(path)
        if b"\0" in source:
            line = source.count(b"\n", 0, source.index(0)) + 1
            raise Wrong(f"{self.at(line)}: a zero byte; is it a Python file?")
        self.tree = tree = _within(self, lambda: ast.parse(source, self.path))
        self.lines = lines_of(tree)
        module = ModuleType(MODULE)
        module.__file__ = self.path
        sys.modules[MODULE] = module  # a dataclass looks for its module by name
        _within(self, lambda: exec(compile(tree, self.path, "exec"), vars(module)))
        self.values = vars(module)

    def at(self, line: int | None) -> str:
        return f"{self.file}:{line}" if line else self.file

    def find(self, exercise: Exercise) -> Any:
        """What the exercise asks for; of a function, one that takes copies and tells errors with their line."""
        name, kind = exercise.name, "function" if exercise.function else "variable"
        if name not in self.values:
            raise Wrong(f"there is no {kind} {name} in {self.file}{missing(self.tree, name, self.lines)}")
        value = self.values[name]
        if callable(value) != exercise.function:
            raise Wrong(f"{name} is {'a function' if callable(value) else quoted(value)}, expected a {kind}")
        if not exercise.function:
            return value

        def call(*arguments: Any) -> Any:
            return _within(
                self, lambda: value(*copy.deepcopy(arguments)), self.lines.get(name), _given(value, arguments)
            )

        return call


def _given(function: Any, arguments: tuple[Any, ...]) -> str:
    """What a function was called with: shapes of arrays, and values. Empty where it takes something else."""
    try:
        names = signature(function).bind(*arguments).arguments
    except (TypeError, ValueError):
        return ""
    told = [
        f"{name} of shape {value.shape}" if isinstance(value, np.ndarray) else f"{name} = {quoted(value)}"
        for name, value in names.items()
        if not callable(value)
    ]
    return f"; it was given {', '.join(told)}" if told else ""


def _plainly(said: str) -> str:
    """NumPy's words for a matrix product of shapes that do not fit, in words of this course."""
    if unfit := re.search(r"matmul: Input operand 1 has a mismatch in .*\(size (\d+) is different from (\d+)\)", said):
        columns, rows = unfit[2], unfit[1]
    elif unfit := re.search(r"not aligned: (\d+) \(dim 1\) != (\d+) \(dim 0\)", said):  # np.dot
        columns, rows = unfit[1], unfit[2]
    else:
        return said
    return f"in a @ b, a has {counted(int(columns), 'column')} and b has {counted(int(rows), 'row')}, not as many"


def _within(answers: _Answers, run: Any, line: int | None = None, given: str = "") -> Any:
    """What `run` gives. Whatever the reader's code raises becomes Wrong, with the last line of the file that was run,
    else with `line`, and with what it was given."""
    try:
        return run()
    except Wrong:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == answers.path]
        syntax = error.lineno if isinstance(error, SyntaxError) and error.filename == answers.path else None
        try:
            said = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
        except Exception:  # an exception of the reader's own may not even be printed
            said = ""
        what = f"{type(error).__name__}: {_plainly(said)[:300]}" if said else type(error).__name__
        last = syntax or (lines[-1] if lines else line)
        because = (
            of_none(answers.tree, last) if "NoneType" in said and isinstance(error, TypeError | AttributeError) else ""
        )
        raise Wrong(f"{answers.at(last)}: {what}{because}{given}") from None


@contextmanager
def _placed_warnings(path: Path) -> Iterator[None]:
    """A warning of what the reader's code does begins with the line of the file that was run."""
    with warnings.catch_warnings():
        show: Any = warnings.showwarning

        def placed(message: Warning | str, category: type[Warning], file: str, line: int, *rest: Any) -> None:
            frame = sys._getframe()
            while frame is not None and frame.f_code.co_filename != str(path):
                frame = frame.f_back  # type: ignore[assignment]
            if frame is not None:
                message = category(f"{path.name}:{frame.f_lineno}: {message}")
            show(message, category, file, line, *rest)

        warnings.showwarning = placed  # type: ignore[assignment]
        yield


def check(page: Page, file: str | Path) -> Report:
    """Run the file, then the check of each exercise of the page. DataError where the file cannot be read."""
    path = Path(file)
    try:
        with path.open("rb") as stream:
            source = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{named(path)}: {error.strerror}; name the file with your answers") from None
    if len(source) > MOST_BYTES:
        raise DataError(f"{named(path)} has more than {MOST_BYTES:,} bytes; is it the file with your answers?")
    kept = list(sys.path)
    sys.path.insert(0, str(path.resolve().parent))  # as Python does for a file that it runs
    try:
        with _placed_warnings(path):
            answers = _Answers(path, source)
            return Report(tuple(_one(exercise, answers) for exercise in page.exercises))
    except Wrong as wrong:
        return Report((), str(wrong))
    finally:
        sys.path[:] = kept
        sys.modules.pop(MODULE, None)


def _one(exercise: Exercise, answers: _Answers) -> Result:
    try:
        answer, line = answers.find(exercise), answers.lines.get(exercise.name)
        return Result(exercise.name, True, _within(answers, lambda: exercise.check(answer), line))
    except Wrong as wrong:
        said, line = str(wrong), answers.lines.get(exercise.name)
        placed = said if said.startswith((f"{answers.file}:", "there is no ")) else f"{answers.at(line)}: {said}"
        return Result(exercise.name, False, placed)
