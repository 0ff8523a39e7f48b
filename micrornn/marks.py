"""Whether an array was written to since a tape recorded it: what the way back needs must be as it was.

    Marks                    of the tensors on a tape, as they were when it first saw them
    mark(tensor)             what tells its numbers from others
    refers(saved, array)     whether what an op saved shares memory with an array

A mark is the tensor's version, which an optimizer counts up, and a sample of its numbers, which notices what is written
by hand (`w.data[...] = 0`, or into the NumPy array that a tensor was made of): all of them up to FEW, else SAMPLES,
evenly spread. So a write to few numbers of a large array by hand may go unnoticed. On a graphics card, where looking at
numbers would mean to wait for them, every write by hand is counted instead: for all that lies in the same memory, so
that a write to one parameter of a flat buffer counts for the others, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import TapeError

FEW, SAMPLES = 1024, 256


class Marks:
    """What the tensors of a tape were like when it first saw them."""

    def __init__(self) -> None:
        self.first: dict[int, Any] = {}  # by the id of a tensor; the tape's records keep it from being used again

    def note(self, tensors: tuple[Any, ...]) -> None:
        """Take the marks of those that were not seen before."""
        for tensor in tensors:
            if id(tensor) not in self.first:
                self.first[id(tensor)] = mark(tensor)

    def require_unchanged(self, record: Any, looked: set[int]) -> None:
        """TapeError if what the VJP of this record needs was written to. `looked`: the tensors known to be as they
        were. What a VJP does not need may change: add, for one, keeps shapes alone."""
        for tensor in record.inputs + record.outputs:
            if id(tensor) in looked:
                continue
            if mark(tensor) == self.first.get(id(tensor)):
                looked.add(id(tensor))
            elif refers(record.saved, tensor.data):
                raise TapeError(
                    f"{tensor.name or 'a tensor'} {tensor.shape} was written to since {record} was recorded, and the "
                    "way back needs what was there; go backward first, or compute the loss again"
                )


def mark(tensor: Any) -> tuple[int, Any]:
    """Equal marks: most likely equal numbers."""
    array = tensor.data
    if not isinstance(array, np.ndarray):
        return tensor.version, array.memory.writes
    if array.size <= FEW:
        return tensor.version, array.tobytes()
    # An odd stride does not stay in one column of a matrix whose width is a power of two.
    return tensor.version, array.reshape(-1)[:: array.size // SAMPLES | 1].tobytes()


def refers(saved: Any, array: Any) -> bool:
    """Whether some array in `saved` (tuples, lists and dicts of arrays and other things) lies where this one does."""
    if isinstance(saved, dict):
        return any(refers(part, array) for part in saved.values())
    if isinstance(saved, (tuple, list)):
        return any(refers(part, array) for part in saved)
    if isinstance(saved, np.ndarray):
        return isinstance(array, np.ndarray) and np.may_share_memory(saved, array)
    return hasattr(saved, "memory") and getattr(array, "memory", None) is saved.memory
