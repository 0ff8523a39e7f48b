"""The cotangents during a walk back over the tape: the first one, and those of tensors not reached yet.

Pending     sums the contributions to each tensor's cotangent until the record that made the tensor takes the sum
dloss_of    the cotangent of the output: 1 for a single number, else what was given
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import arguments, kernels
from micrornn.errors import ShapeError

Tensor = Any  # the engine's; it stands below


class Pending:
    """The cotangents of tensors whose records the walk back has not reached yet."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[Tensor, np.ndarray, bool]] = {}

    def add(self, tensor: Tensor, cotangent: np.ndarray) -> None:
        # A VJP may return the same array for two inputs, or a view of its own argument. So the first contribution is
        # never written to. The second one makes an array of our own, and later ones are added to that.
        entry = self.waiting.get(id(tensor))
        if entry is None:
            self.waiting[id(tensor)] = (tensor, cotangent, False)
            return
        _, total, ours = entry
        table = kernels.of(total)
        if ours:
            table.accumulate(total, cotangent)
        else:
            both = table.empty(total.shape, total.dtype)
            table.add(both, total, cotangent)
            self.waiting[id(tensor)] = (tensor, both, True)

    def reached(self, tensors: tuple[Tensor, ...]) -> bool:
        """Whether anything has come back to one of them."""
        return not self.waiting.keys().isdisjoint(map(id, tensors))

    def take(self, tensor: Tensor) -> np.ndarray | None:
        entry = self.waiting.pop(id(tensor), None)
        return entry[1] if entry else None

    def rest(self) -> list[tuple[Tensor, np.ndarray]]:
        """The cotangents of the leaves, which no record on the tape has made."""
        return [(tensor, cotangent) for tensor, cotangent, _ in self.waiting.values() if tensor.requires_grad]


def dloss_of(output: Tensor, dloss: Any) -> np.ndarray:
    """The cotangent of the output, as an array of its shape. ShapeError where none is given and the output is not a
    single number, or where the shapes differ."""
    if dloss is None:
        if output.data.size != 1:
            raise ShapeError(
                f"backward needs a dloss: the output has shape {output.shape}, not a single number; "
                "pass dloss=, an array of that shape"
            )
        return kernels.of(output.data).full(output.shape, 1, output.dtype)
    if isinstance(dloss, float) and output.data.size == 1:  # made on the output's device: nothing is copied
        return kernels.of(output.data).full(output.shape, dloss, output.dtype)
    if arguments.alike(dloss, output.data):
        return dloss
    dloss = kernels.of(output.data).asarray(arguments.numbers("dloss", dloss, output.dtype))
    if dloss.shape != output.shape:
        raise ShapeError(f"dloss has shape {dloss.shape}, the output has {output.shape}; they must be equal")
    return dloss
