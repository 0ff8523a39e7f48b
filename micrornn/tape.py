"""The whole engine: tensors, a tape of records, and the loop that runs backward over it.

    Tensor      an array with a name and, if it is a parameter, a gradient
    Op          a forward and its VJP; `@op` makes one, `@name.vjp` adds the way back
    Record      one row of the tape: op, inputs, outputs, saved, time step t, scope
    Tape        the rows in the order in which they were computed; `backward` walks them in reverse
    OPS         every op by name: the gradient check goes through this table
    stamp, no_tape    which time step the records carry, and a block without records: active.py

No numerics here, no devices and nothing recurrent: what an op does is written in ops/, what a tensor does where a
number or an array is expected in operators.py, what may be made into a tensor in arguments.py, how cotangents add up in
cotangents.py.

The order of execution already is a topological order, so going backward is one loop: no sorting, no recursion.
A record holds no closure and a tensor does not know its tape, so there is no cycle, and dropping the tape frees
all of it at once.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from micrornn import arguments, kernels
from micrornn.active import active
from micrornn.active import no_tape as no_tape
from micrornn.active import stamp as stamp
from micrornn.cotangents import Pending, dloss_of
from micrornn.errors import ShapeError, counted
from micrornn.marks import Marks
from micrornn.operators import OPS, Operators


class Tensor(Operators):
    """An array that ops take and give.

    data            the numbers, C-contiguous, float32 or float64: a NumPy array, or one on a graphics card. A NumPy
                    array of float32 or float64 is not copied
    requires_grad   whether its gradient is wanted: a parameter, or computed from one
    grad            what `Tape.backward` accumulates here, same shape; None until then. Leaves only
    name            for people; optional
    leaf            whether somebody made it, and not an op
    version         counted up by whoever writes to the numbers in place, as an optimizer does

    >>> x = Tensor([[1.0, 2.0]], requires_grad=True)
    >>> (x * 3 + 1).shape
    (1, 2)
    """

    __slots__ = ("__weakref__", "data", "grad", "leaf", "name", "requires_grad", "version")

    def __init__(self, data: Any, requires_grad: bool = False, name: str = "", dtype: Any = None):
        self.data: np.ndarray = arguments.numbers("Tensor", data, dtype)
        self.requires_grad = requires_grad
        self.grad: np.ndarray | None = None
        self.name, self.leaf, self.version = name, True, 0

    def __repr__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        return f"Tensor({name}{'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype}\n{self.data})"


class Op:
    """A function of tensors, and how cotangents go back through it.

    forward(k, *arrays, **options) -> (output, saved) or ((output, ...), saved): k is the table of kernels of the
    device; `saved` is whatever the way back needs. Inputs are what may be differentiated, options are the rest
    (axes, integer targets, masks, ...).

    Where an op is called, options may also stand behind the inputs, in their order.

    vjp(k, saved, dy, needs) -> one cotangent per input, or None: dy is the cotangent of the output (for several
    outputs a tuple, None where there is none), needs[i] tells whether input i wants one.
    """

    def __init__(self, forward: Callable[..., Any]):
        self.forward = forward
        self.name = self.__name__ = forward.__name__
        self.__doc__, self.__wrapped__ = forward.__doc__, forward
        self.back: Callable[..., Any] | None = None
        inputs = list(inspect.signature(forward).parameters.values())[1:]
        self.many = any(p.kind is p.VAR_POSITIONAL for p in inputs)  # how many inputs it takes
        inputs = [p for p in inputs if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.least = 1 if self.many else sum(p.default is p.empty for p in inputs)
        self.most, OPS[self.name] = sys.maxsize if self.many else len(inputs), self

    def vjp(self, back: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `back` is how cotangents go back through this op."""
        self.back = back
        return back

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if self.many and len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])  # stack([a, b]) is stack(a, b)
        if not self.least <= len(inputs) <= self.most:
            inputs, options = arguments.options_by_place(self.name, self.forward, inputs, options)
        first = inputs[0] if isinstance(inputs[0], Tensor) else next((x for x in inputs if isinstance(x, Tensor)), None)
        if first is None:
            first = Tensor(inputs[0])
        table, dtype, where = kernels.of(first.data), first.data.dtype, first.data.device
        tensors, arrays, needs, alike = [], [], [], True  # of each input, in one go: small ops are many
        for x in inputs:
            if not isinstance(x, Tensor):
                x = self._constant(table, x, dtype)
            array = x.data
            if array.dtype != dtype or array.device != where:
                alike = False
            tensors.append(x)
            arrays.append(array)
            needs.append(x.requires_grad)
        if not alike:
            arrays = arguments.in_one_precision(self.name, tensors)
            tensors = [x if x.data is y else _wrap(y, False) for x, y in zip(tensors, arrays)]
        try:
            result, saved = self.forward(table, *arrays, **options)
        except TypeError:
            arguments.refuse_call(self.name, self.forward, inputs, options)
            raise
        single, wanted = not isinstance(result, tuple), True in needs
        outputs = (_wrap(result, wanted),) if single else tuple([_wrap(array, wanted) for array in result])
        if wanted and active.tapes:
            active.tapes[-1]._record(self, tuple(tensors), outputs, saved, tuple(needs))
        return outputs[0] if single else outputs

    def _constant(self, table: Any, x: Any, dtype: np.dtype) -> Tensor:
        """A number or an array among tensors takes their precision, and their device."""
        return _wrap(table.asarray(arguments.numbers(self.name, x, dtype)), False)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def op(forward: Callable[..., Any]) -> Op:
    """Decorator: make an op of its forward and enter it into the table. docs/writing-an-op.md writes one.

    >>> @op
    ... def double(k, x):
    ...     return k.full(x.shape, 2, x.dtype) * x, None
    >>> double(Tensor(3.0)).item()
    6.0
    >>> del OPS["double"]
    """
    return Op(forward)


def _wrap(array: np.ndarray, requires_grad: bool) -> Tensor:
    """A tensor around an array that an op made: nothing to check, nothing to copy."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.requires_grad, tensor.grad = array, requires_grad, None
    tensor.name, tensor.leaf, tensor.version = "", False, 0
    return tensor


class Record:
    """One row of the tape."""

    __slots__ = ("inputs", "needs", "op", "outputs", "saved", "scope", "t")

    def __init__(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], saved: Any,
                 needs: tuple[bool, ...], t: int | None, scope: str):  # fmt: skip
        self.op, self.inputs, self.outputs, self.saved = op, inputs, outputs, saved
        self.needs, self.t, self.scope = needs, t, scope

    def __repr__(self) -> str:
        time = "" if self.t is None else f" t={self.t}"
        shapes = ", ".join(x.name or "x".join(map(str, x.shape)) or "scalar" for x in self.inputs)
        return f"<{self.scope or 'record'}{time}: {self.op.name}({shapes})>"


# What happens to a contribution to a cotangent when somebody watches: (record, tensor, contribution).
Watch = Callable[[Record, Tensor, np.ndarray], None]


class Tape:
    """Records what ops compute while it is active; then goes backward over it, as often as is wanted.

    >>> x = Tensor(3.0, requires_grad=True)
    >>> with Tape() as tape:
    ...     y = x * x
    >>> tape.backward(y)
    >>> float(x.grad), len(tape)
    (6.0, 1)

    guard    whether going backward looks if an array that it needs was written to since (marks.py); False saves a
             microsecond for each tensor where nobody can write in between
    """

    def __init__(self, guard: bool = True) -> None:
        self.records: list[Record] = []
        self.t: int | None = None
        self.scope = ""
        self.entered, self.marks = False, Marks() if guard else None

    def __enter__(self) -> Tape:
        self.entered = True
        active.tapes.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        active.tapes.remove(self)

    def __len__(self) -> int:
        return len(self.records)

    def _record(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], saved: Any,
                needs: tuple[bool, ...]) -> None:  # fmt: skip
        self.records.append(Record(op, inputs, outputs, saved, needs, self.t, self.scope))
        if self.marks is not None:
            self.marks.note(inputs + outputs)

    def backward(self, loss: Tensor, dloss: Any = None) -> None:
        """Add d loss / d leaf into `grad` of every leaf that requires one. `dloss` is the cotangent of the loss
        itself: 1 if not given; needed when the loss is not a single number."""
        found = self._walk([loss], [dloss], (), None)
        for tensor, cotangent in found:
            if tensor.grad is not None and not arguments.alike(tensor.grad, cotangent):
                arguments.require_like(f"grad of {tensor.name or 'a tensor'}", tensor.grad, cotangent)
        for tensor, cotangent in found:
            if tensor.grad is None:
                tensor.grad = cotangent.copy()
            else:
                kernels.of(cotangent).accumulate(tensor.grad, cotangent)

    def cotangents(self, of: Sequence[Tensor], outputs: Sequence[Tensor], doutputs: Sequence[Any] | None = None,
                   watch: Watch | None = None, copy: bool = True) -> list[np.ndarray | None]:  # fmt: skip
        """The cotangents of any tensors on the tape, leaves or not; None where nothing flows back.

        No `grad` is touched and the tape is not used up. `watch` is shown each contribution on its way, to read it:
        that is how one learns what every single record gave to a weight.
        With copy=False the arrays are as they come, for reading at once: two may be one, a given one, or on the tape.
        """
        of, outputs = arguments.tensors("cotangents: of", of), arguments.tensors("cotangents: outputs", outputs)
        doutputs = [None] * len(outputs) if doutputs is None else arguments.several("cotangents: doutputs", doutputs)
        if len(doutputs) != len(outputs):
            raise ShapeError(
                f"cotangents: {counted(len(doutputs), 'cotangent')} for {counted(len(outputs), 'output')}; give one, "
                "or None, for each"
            )
        found = {id(tensor): cotangent for tensor, cotangent in self._walk(outputs, doutputs, of, watch)}
        wanted = [found.get(id(tensor)) for tensor in of]
        return [cotangent.copy() if copy and cotangent is not None else cotangent for cotangent in wanted]

    def _walk(self, outputs: Sequence[Tensor], doutputs: Sequence[Any], wanted: Sequence[Tensor],
              watch: Watch | None) -> list[tuple[Tensor, np.ndarray]]:  # fmt: skip
        """The loop. Gives (tensor, cotangent) for the leaves and for the wanted tensors."""
        pending = Pending()
        for output, dloss in zip(outputs, doutputs):
            self._require_here(output)
            pending.add(output, dloss_of(output, dloss))
        keep, kept = {id(tensor) for tensor in wanted}, []
        looked: set[int] = set()
        for record in reversed(self.records):
            if not pending.reached(record.outputs):
                continue
            arrived = [pending.take(output) for output in record.outputs]
            if keep:
                kept += [(y, dy) for y, dy in zip(record.outputs, arrived) if id(y) in keep and dy is not None]
            if record.op.back is None:
                raise NotImplementedError(f"op {record.op.name} has no VJP")
            if self.marks is not None:
                self.marks.require_unchanged(record, looked)
            table = kernels.of(record.outputs[0].data)
            dy = arrived[0] if len(arrived) == 1 else tuple(arrived)
            for tensor, needed, cotangent in zip(
                record.inputs, record.needs, record.op.back(table, record.saved, dy, record.needs)
            ):
                if needed and cotangent is not None:
                    if watch:
                        watch(record, tensor, cotangent)
                    pending.add(tensor, cotangent)
        return kept + pending.rest()

    def _require_here(self, output: Tensor) -> None:
        """TapeError if no record has to do with this tensor, from which nothing could flow back."""
        if isinstance(output, Tensor):
            for record in reversed(self.records):
                for tensor in record.outputs + record.inputs:
                    if tensor is output:
                        return
        arguments.refuse_loss(output, isinstance(output, Tensor), len(self), self.entered)
