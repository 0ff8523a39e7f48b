"""Whether an array was written to after a tape recorded it. The backward pass needs the numbers as they were.

    Marks                    the marks of a tape's tensors when it first saw them
    mark(tensor)             a short value that changes with the numbers of a tensor
    refers(saved, array)     whether what an op saved shares memory with an array

A mark has two parts. One is the version of the tensor, which optimizers count up. The other is a sample of its numbers,
which shows a write by hand (`w.data[...] = 0`, or into the NumPy array that a tensor was made of): all numbers if there
are up to FEW, else SAMPLES of them, evenly spread. So a write by hand to a few numbers of a large array may be missed.
On a graphics card, reading numbers would mean waiting for them. There, writes by hand are counted for each piece of
memory, so that a write to one parameter of a flat buffer counts for the others, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn.errors import TapeError

FEW, SAMPLES = 1024, 256


class Marks:
    """The marks of a tape's tensors when it first saw them."""

    def __init__(self) -> None:
        self.first: dict[int, Any] = {}  # by id(tensor); the tape's records keep the tensors, so ids stay unique

    def note(self, tensors: tuple[Any, ...]) -> None:
        """Mark those that were not seen before."""
        for tensor in tensors:
            if id(tensor) not in self.first:
                self.first[id(tensor)] = mark(tensor)

    def require_unchanged(self, record: Any, looked: set[int]) -> None:
        """TapeError if an array that the VJP of this record needs was written to. What a VJP does not need may change:
        add, for example, saves only shapes. `looked` has the ids of tensors that are known to be unchanged."""
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
    """A value that most likely differs where numbers differ."""
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
