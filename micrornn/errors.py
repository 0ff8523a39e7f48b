"""The few exceptions. Each message is one or two lines: where, what was got, what was expected, what to do.

MicrornnError        the root: a user's mistake or the machine's limit, never a bug of ours
  ShapeError         arrays that do not fit together
  DeviceError        a device that is not there
  DataError          text or data that cannot be used
  CheckpointError    a checkpoint or run folder that cannot be read, written or matched
  ConfigError        a size, name or option that makes no sense
    CellError        a recurrent cell whose step, declaration or file cannot be used
  TapeError          a gradient that a tape cannot give
  DivergedError      a loss or gradient that became NaN or infinite
  MissingError       an extra that is not installed

quoted(value)        a value as a message repeats it: never more than a part of a line
"""

from __future__ import annotations

import os
import reprlib
from typing import Any

MOST_QUOTED = 80  # characters of a value that a message repeats
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


def named(path: str | os.PathLike[str]) -> str:
    """A path as a message names it: its end, where it is longer than three lines."""
    text = str(path)
    return text if len(text) <= 240 else f"...{text[-200:]}"


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


class CellError(ConfigError):
    """A recurrent cell that cannot be used, with the line of its step where there is one."""


class DivergedError(MicrornnError):
    """The loss or a gradient became NaN or infinite."""


class MissingError(MicrornnError):
    """A package that only some commands need is not installed; the message says how to."""
