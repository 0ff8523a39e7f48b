"""Exit codes, all in one place, and which mistake gets which."""

from __future__ import annotations

from enum import IntEnum

from micrornn import errors


class Exit(IntEnum):
    """What a shell sees in `$?`."""

    OK = 0
    FAILED = 1  # a check failed (gradcheck), or there is a verdict of --fail-on (inspect)
    USAGE = 2  # a flag, size or name that makes no sense
    DATA = 3  # text that is missing, empty, undecodable or too short
    CHECKPOINT = 4  # a checkpoint or run folder that cannot be read, written or matched; a report not written
    DEVICE = 5  # a device that is not there, or has no memory left
    DIVERGED = 6  # NaN or infinity: in training, or in a model that writes, is evaluated or inspected
    MISSING = 7  # an extra that is not installed
    FAULT = 70  # a fault of micrornn's own; the line says how to report it
    INTERRUPTED = 130  # Ctrl-C, or another signal that asked a run to end; the run can be resumed
    UNREAD = 141  # nobody reads the output any more (`| head`), so the rest was not done; `sample` ends with 0


CODES: dict[type[errors.MicrornnError], Exit] = {
    errors.ConfigError: Exit.USAGE,
    errors.ShapeError: Exit.USAGE,
    errors.TapeError: Exit.USAGE,
    errors.DataError: Exit.DATA,
    errors.CheckpointError: Exit.CHECKPOINT,
    errors.DeviceError: Exit.DEVICE,
    errors.DivergedError: Exit.DIVERGED,
    errors.MissingError: Exit.MISSING,
}


def code_of(error: errors.MicrornnError) -> Exit:
    """The exit code of an error."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), Exit.FAILED)
