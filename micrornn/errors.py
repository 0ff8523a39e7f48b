"""The exceptions. A message is one or two lines: where it happened, what was given, what was expected, what to do.
Settings are written as in Python, in backticks: `hidden_size`, `dropout=0.3`. The command line turns them into flags.

MicrornnError        the base class: a user's mistake or a limit of the machine, never a bug of ours
  ShapeError         arrays that do not fit together
  DeviceError        a device that is not there
  DataError          text or data that cannot be used
  CheckpointError    a checkpoint or run folder that cannot be read, written or matched
  ConfigError        a size, name or option that makes no sense
    OptionError      a call with options that there are not; a TypeError, too
    CellError        a recurrent cell whose step, declaration or file cannot be used
  TapeError          a gradient that a tape cannot give
  DivergedError      a loss or gradient that became NaN or infinite
  MissingError       an extra that is not installed

quoted(value)        the repr of a value, shortened to a part of a line
counted(n, "row")    1 row, 2 rows
listed(names)        names, wrapped into lines; some: the first of them
told_at(where, e)    the message of an error, with where it arose
instead(name, ...)   the end of a message about an unknown name: the names there are, or the nearest one
"""

from __future__ import annotations

import difflib
import os
import re
import reprlib
import textwrap
from collections.abc import Iterable
from typing import Any

MOST_QUOTED = 80  # characters of a value that a message repeats
FEW, MOST_TOLD = 70, 400  # a list of names up to FEW characters is told whole, a longer one up to MOST_TOLD
_short = reprlib.Repr()
_short.maxstring = _short.maxother = MOST_QUOTED - 10
_short.maxlong, _short.maxlevel = 40, 3


def quoted(value: Any) -> str:
    """`repr(value)`, cut in the middle if it is long. Works for values of any size and depth."""
    try:
        text = _short.repr(value)
    except (ValueError, RecursionError):  # Python does not print integers of more than 4,300 digits
        size = f" of {value.bit_length():,} bits" if isinstance(value, int) else ""
        text = f"<{type(value).__name__}{size}>"
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 23]}...{text[-20:]}"


def counted(count: float, one: str, many: str = "") -> str:
    """So many of them: "1 row", "1,234 rows". many: where an s behind `one` would not do, as in "rows are"."""
    number = f"{count:,g}" if isinstance(count, float) else f"{count:,}"
    return f"{number} {one if count == 1 else many or one + 's'}"


def instead(name: Any, there: Iterable[str], start: str = "choose one of") -> str:
    """The end of a message about an unknown name: all names if they are few, else the nearest one, else a list."""
    names = list(there)
    told = ", ".join(names)
    if names and len(told) <= FEW:
        return f"; {start} {told}"
    parts = {part: whole for whole in reversed(names) for part in (*re.split("[-_]", whole), whole)}
    if near := difflib.get_close_matches(str(name).lower(), parts, 1, 0.7):
        return f"; did you mean {near[0] if near[0] in names else parts[near[0]]}?"
    if not names or len(told) > MOST_TOLD:
        return ""
    return f"; {start} {listed(names)}"


def listed(names: Iterable[str], most: int = MOST_TOLD) -> str:
    """The names, wrapped into lines; of very many, the first ones. The first line is shorter, because the beginning of
    the message is in it, too."""
    told = ", ".join(name.replace(" ", "\0") for name in names)  # no name is broken
    told = told if len(told) <= most else told[:most].rpartition(",")[0] + ", ..."
    return textwrap.fill(told, 100, initial_indent=" " * 50, subsequent_indent="  ").lstrip().replace("\0", " ")


def some(names: Iterable[Any], most: int) -> str:
    """The first of the names, and how many more there are."""
    there = [str(name) for name in names]
    return ", ".join(there[:most]) + (f" and {len(there) - most:,} more" if len(there) > most else "")


def named(path: str | os.PathLike[str]) -> str:
    """A path for a message; if it is longer than three lines, its end."""
    text = str(path)
    return text if len(text) <= 240 else f"...{text[-200:]}"


def told_at(where: str, error: Exception) -> str:
    """The message of an error; `where` it arose is put before it, unless the message names that already."""
    told = str(error)
    return told if where in told else f"{where}: {told}"


class MicrornnError(Exception):
    """Base class of all errors that the user can do something about."""


class ShapeError(MicrornnError):
    """Arrays whose shapes do not fit together; the message names both shapes and their axes."""


class DeviceError(MicrornnError):
    """A device that is not available, with the reason."""


class DataError(MicrornnError):
    """Text or data that is missing, empty, undecodable or too short."""


class CheckpointError(MicrornnError):
    """A checkpoint or run folder that is missing, damaged, newer, full, or of another model."""


class ConfigError(MicrornnError):
    """A size, name or option out of its range."""


class TapeError(MicrornnError):
    """A gradient that a tape cannot give: the loss is not on it, or numbers that the backward pass needs have
    changed."""


class OptionError(ConfigError, TypeError):
    """A call with options that a layer, an optimizer or a function does not have. It is a TypeError, too."""


class CellError(ConfigError):
    """A recurrent cell that cannot be used, with the line of its step where there is one."""


class DivergedError(MicrornnError):
    """The loss or a gradient became NaN or infinite."""


class MissingError(MicrornnError):
    """A package that only some commands need is not installed; the message says how to."""
