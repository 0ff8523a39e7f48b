"""The few exceptions. Each message is one or two lines: where, what was got, what was expected, what to do.
A setting stands in it as in Python, in backticks: `hidden_size`, `dropout=0.3`. The command line makes flags of that.

MicrornnError        the root: a user's mistake or the machine's limit, never a bug of ours
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

quoted(value)        a value as a message repeats it: never more than a part of a line
counted(n, "row")    1 row, 2 rows
listed(names)        names in lines
told_at(where, e)    the message of an error, with where it arose
instead(name, ...)   what there is in the place of a name that is none: the nearest, or all
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
FEW, MOST_TOLD = 70, 400  # characters of a list of names that is told whole, and of one that is told at all
_short = reprlib.Repr()
_short.maxstring = _short.maxother = MOST_QUOTED - 10
_short.maxlong, _short.maxlevel = 40, 3


def quoted(value: Any) -> str:
    """`repr(value)`, cut in the middle where it is long: of whatever size and depth the value is."""
    try:
        text = _short.repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than 4,300 digits
        size = f" of {value.bit_length():,} bits" if isinstance(value, int) else ""
        text = f"<{type(value).__name__}{size}>"
    return text if len(text) <= MOST_QUOTED else f"{text[: MOST_QUOTED - 23]}...{text[-20:]}"


def counted(count: float, one: str, many: str = "") -> str:
    """So many of them: "1 row", "1,234 rows". many: where an s behind `one` would not do, as in "rows are"."""
    number = f"{count:,g}" if isinstance(count, float) else f"{count:,}"
    return f"{number} {one if count == 1 else many or one + 's'}"


def instead(name: Any, there: Iterable[str], start: str = "choose one of") -> str:
    """The end of a message that there is no such name: all where they are few, else the nearest, else lines."""
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
    """The names, in lines where they are many, and of very many the first. The first line is shorter: the beginning of
    a message stands in it, too."""
    told = ", ".join(name.replace(" ", "\0") for name in names)  # no name is broken
    told = told if len(told) <= most else told[:most].rpartition(",")[0] + ", ..."
    return textwrap.fill(told, 100, initial_indent=" " * 50, subsequent_indent="  ").lstrip().replace("\0", " ")


def named(path: str | os.PathLike[str]) -> str:
    """A path as a message names it: its end, where it is longer than three lines."""
    text = str(path)
    return text if len(text) <= 240 else f"...{text[-200:]}"


def told_at(where: str, error: Exception) -> str:
    """The message of an error, behind `where` it arose if it does not say that itself."""
    told = str(error)
    return told if where in told else f"{where}: {told}"


class MicrornnError(Exception):
    """Root of all errors that are the user's to mend."""


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
    """A gradient that a tape cannot give: the loss is not on it, or what the way back needs has changed since."""


class OptionError(ConfigError, TypeError):
    """A call with options that a layer, an optimizer or a function does not have; Python's own would be TypeError."""


class CellError(ConfigError):
    """A recurrent cell that cannot be used, with the line of its step where there is one."""


class DivergedError(MicrornnError):
    """The loss or a gradient became NaN or infinite."""


class MissingError(MicrornnError):
    """A package that only some commands need is not installed; the message says how to."""
