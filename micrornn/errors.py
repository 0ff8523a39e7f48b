"""The few exceptions. Each message is one or two lines: where, what was got, what was expected, what to do.

MicrornnError        the root: a user's mistake or the machine's limit, never a bug of ours
  ShapeError         arrays that do not fit together
  DeviceError        a device that is not there
  DataError          text or data that cannot be used
  CheckpointError    a checkpoint or run folder that cannot be read, written or matched
  ConfigError        a size, name or option that makes no sense
  DivergedError      a loss or gradient that became NaN or infinite
  MissingError       an extra that is not installed
"""

from __future__ import annotations


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


class DivergedError(MicrornnError):
    """The loss or a gradient became NaN or infinite."""


class MissingError(MicrornnError):
    """A package that only some commands need is not installed; the message says how to."""
