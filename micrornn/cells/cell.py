"""What a recurrent cell is: a time step out of ops, and what it declares.

Cell       the class to write one from: docs/writing-a-cell.md
Weights    its parameters, by name or in order
take_step  its step, whose mistakes are told with their line

x_t (B, D), h_prev (B, H) and other states (B, H)
weight_ih (G H, D), weight_hh (G H, H), bias_ih (G H,), bias_hh (G H,)      G gates, PyTorch's order and names
vectors (H,)                                                                one number for each unit
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from micrornn.errors import CellError, MicrornnError, counted, instead
from micrornn.initializers import Initializer, uniform
from micrornn.kernels.symbols.program import Program
from micrornn.ops import split
from micrornn.ops.recurrent import SequenceOp, StepOp
from micrornn.tape import Tensor

if TYPE_CHECKING:
    from micrornn.cells.dropped import Dropped

State = tuple[Tensor, ...]  # h first
BOTH_SIDES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Weights(Sequence[Tensor]):
    """The parameters of one layer and direction: `w.weight_ih`, or in the order in which the cell declares them."""

    if TYPE_CHECKING:
        weight_ih: Tensor
        weight_hh: Tensor
        bias_ih: Tensor
        bias_hh: Tensor

    def __init__(self, names: Sequence[str], tensors: Sequence[Tensor]):
        self._names, self._tensors = tuple(names), tuple(tensors)
        self.__dict__.update(zip(names, tensors))

    def __getattr__(self, name: str) -> Tensor:
        raise CellError(f"there is no parameter {name!r}{instead(name, self._names, 'the cell declares')}")

    def __getitem__(self, at: Any) -> Any:
        return self._tensors[at]

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._tensors)


class Cell:
    """One time step of a recurrent layer. Write `step`, and say what it needs:

    name       what it is called
    gates      a name for each block of H pre-activations: rows of weight_ih, weight_hh and the biases
    states     what it carries from time step to time step; the first, h, is its output
    weights    weight_ih and bias_ih; weight_hh and bias_hh if h_prev goes through weights
    vectors    parameters of one number for each unit, such as peepholes
    positive   states that others are divided by: what starts at random starts above 0 there

    The tape derives its kernels from `step` (derive.py).
    """

    name: str = ""
    gates: tuple[str, ...] = ("a",)
    states: tuple[str, ...] = ("h",)
    weights: tuple[str, ...] = BOTH_SIDES
    vectors: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    file: str = ""  # of a cell of one's own: where it came from

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        """The states after the time step."""
        raise NotImplementedError

    def initializers(self, hidden_size: int) -> dict[str, Initializer]:
        """How each parameter starts; "bias" is for both biases. Uniform in +-1/sqrt(H), as in PyTorch."""
        start = uniform(hidden_size**-0.5)
        return dict.fromkeys((*self.weights, *self.vectors, "bias"), start)

    def per_gate(self, pre: Tensor) -> tuple[Tensor, ...]:
        """The blocks (B, H) of pre-activations (B, G H), one for each gate."""
        count = len(self.gates)
        size = pre.shape[1] // count
        return (pre,) if count == 1 else split(pre, sizes=[size] * count, axis=1)

    # What others ask.

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*self.weights, *self.vectors)

    @property
    def recurrent(self) -> bool:
        """Whether h_prev goes through weights."""
        return "weight_hh" in self.weights

    @cached_property
    def program(self) -> Program:
        """What one unit computes, derived from `step`; CellError where that cannot be."""
        from micrornn.cells.derive import derive

        return derive(self)

    @cached_property
    def op(self) -> SequenceOp:
        """The cell over a sequence, as one op."""
        return SequenceOp(self)

    @cached_property
    def dropped(self) -> Dropped:
        """The same with recurrent dropout; CellError where no kernel can be derived."""
        from micrornn.cells.dropped import Dropped

        return Dropped(self)

    @cached_property
    def whole_step(self) -> StepOp:
        """A time step as one op, whatever it computes."""
        return StepOp(self)

    @cached_property
    def derivable(self) -> bool:
        """Whether kernels can be derived from its step."""
        try:
            return self.program is not None
        except CellError:
            return False

    @property
    def kinks(self) -> bool:
        """Whether its slope jumps somewhere: numeric gradients are wrong there."""
        return not self.derivable or any(op.startswith(("if_", "sign", "where")) for op in self.program.operations)

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Of each parameter."""
        width = len(self.gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (width, input_size), "weight_hh": (width, hidden_size)}
        shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
        return {name: shapes.get(name, (hidden_size,)) for name in self.parameters}


def take_step(cell: Cell, x: Tensor, state: State, w: Weights) -> State:
    """`cell.step`, held to what it must return; a mistake in it becomes a CellError with the line."""
    try:
        new = cell.step(x, state, w)
    except Exception as e:  # whatever a mistake may raise
        kind = "" if isinstance(e, MicrornnError) else f"{type(e).__name__}: "
        raise CellError(f"{where(cell, e.__traceback__)}: {kind}{e}") from e
    if isinstance(new, Tensor):
        new = (new,)
    if not isinstance(new, (tuple, list)) or not all(isinstance(part, Tensor) for part in new):
        raise CellError(f"{where(cell)}: step must return a tuple of tensors, not {type(new).__name__}")
    if len(new) != len(cell.states):
        raise CellError(
            f"{where(cell)}: step returns {counted(len(new), 'state')}, and the cell declares {len(cell.states)}: "
            f"{', '.join(cell.states)}"
        )
    for name, part, before in zip(cell.states, new, state):
        if part.shape != before.shape:
            raise CellError(f"{where(cell)}: step returns {name} of shape {part.shape}; wanted (B, H) = {before.shape}")
    return tuple(new)


def where(cell: Cell, trace: TracebackType | None = None, line: int = 0) -> str:
    """File and line: this one, or of the last call in the cell's own file, or of its step."""
    code = type(cell).step.__code__
    lines = [f.lineno for f in traceback.extract_tb(trace) if f.filename == code.co_filename] if trace else []
    return f"cell {cell.name}, {Path(code.co_filename).name}:{line or (lines or [code.co_firstlineno])[-1]}"
