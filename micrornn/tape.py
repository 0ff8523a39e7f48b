"""The whole engine: tensors, a tape of records, and the loop that runs backward over it.

    Tensor      an array with a name and, if it is a parameter, a gradient
    Op          a forward and its VJP; `@op` makes one, `@name.vjp` adds the way back
    Record      one row of the tape: op, inputs, outputs, saved, time step t, scope
    Tape        the rows in the order in which they were computed; `backward` walks them in reverse
    OPS         every op by name: the gradient check goes through this table

No numerics here, no devices and nothing recurrent: what an op does is written in ops/.

The order of execution already is a topological order, so going backward is one loop: no sorting, no recursion.
A record holds no closure and a tensor does not know its tape, so there is no cycle, and dropping the tape frees
all of it at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.errors import ConfigError, ShapeError

OPS: dict[str, Op] = {}


class Tensor:
    """An array that ops take and give.

    data            the numbers, C-contiguous, float32 or float64: a NumPy array, or one on a graphics card
    requires_grad   whether its gradient is wanted: a parameter, or computed from one
    grad            what `Tape.backward` accumulates here, same shape; None until then. Leaves only
    name            for people; optional
    """

    __slots__ = ("__weakref__", "data", "grad", "name", "requires_grad")

    def __init__(self, data: Any, requires_grad: bool = False, name: str = "", dtype: Any = None):
        if device.of(data) == "cpu":
            data = np.asarray(data, dtype)
            if data.dtype not in (np.float32, np.float64):
                data = data.astype(np.float32)
            data = np.asarray(data, order="C")
        self.data: np.ndarray = data
        self.requires_grad = requires_grad
        self.grad: np.ndarray | None = None
        self.name = name

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    dtype = property(lambda self: self.data.dtype)

    def item(self) -> float:
        """The number of a tensor that holds just one."""
        return float(self.data.item())

    def __repr__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        return f"Tensor({name}{'x'.join(map(str, self.shape)) or 'scalar'} {self.dtype}\n{self.data})"

    # The operators are ops like all others, found by name: the engine knows none of them.
    def __add__(self, other: Any) -> Tensor:
        return OPS["add"](self, other)

    def __sub__(self, other: Any) -> Tensor:
        return OPS["sub"](self, other)

    def __mul__(self, other: Any) -> Tensor:
        return OPS["mul"](self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return OPS["div"](self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return OPS["matmul"](self, other)

    def __radd__(self, other: Any) -> Tensor:
        return OPS["add"](other, self)

    def __rsub__(self, other: Any) -> Tensor:
        return OPS["sub"](other, self)

    def __rmul__(self, other: Any) -> Tensor:
        return OPS["mul"](other, self)

    def __rtruediv__(self, other: Any) -> Tensor:
        return OPS["div"](other, self)

    def __neg__(self) -> Tensor:
        return OPS["neg"](self)

    def __getitem__(self, index: Any) -> Tensor:
        return OPS["getitem"](self, index=index)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(OPS["unstack"](self))

    def __len__(self) -> int:
        return len(self.data)


class Op:
    """A function of tensors, and how cotangents go back through it.

    forward(k, *arrays, **options) -> (output, saved) or ((output, ...), saved): k is the table of kernels of the
    device; `saved` is whatever the way back needs. Inputs are what may be differentiated, options are the rest
    (axes, integer targets, masks, ...).

    vjp(k, saved, dy, needs) -> one cotangent per input, or None: dy is the cotangent of the output (for several
    outputs a tuple, None where there is none), needs[i] tells whether input i wants one.
    """

    def __init__(self, forward: Callable[..., Any]):
        self.forward = forward
        self.name = forward.__name__
        self.__doc__ = forward.__doc__
        self.back: Callable[..., Any] | None = None
        OPS[self.name] = self

    def vjp(self, back: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: `back` is how cotangents go back through this op."""
        self.back = back
        return back

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        first = inputs[0] if isinstance(inputs[0], Tensor) else next((x for x in inputs if isinstance(x, Tensor)), None)
        if first is None:
            first = Tensor(inputs[0])
        table = kernels.of(first.data)
        tensors = tuple([x if isinstance(x, Tensor) else Tensor(table.asarray(x, first.dtype)) for x in inputs])
        arrays = [x.data for x in tensors]
        dtype, where = arrays[0].dtype, arrays[0].device
        for array in arrays:
            if array.dtype != dtype or array.device != where:
                self._refuse(arrays)
        result, saved = self.forward(table, *arrays, **options)
        needs = tuple([x.requires_grad for x in tensors])
        single, wanted = not isinstance(result, tuple), True in needs
        outputs = tuple([_wrap(array, wanted) for array in ((result,) if single else result)])
        if wanted and _active.tapes:
            _active.tapes[-1]._record(self, tensors, outputs, saved, needs)
        return outputs[0] if single else outputs

    def _refuse(self, arrays: list[np.ndarray]) -> None:
        """A kernel would misread the bytes of one."""
        kinds, places = (
            ", ".join(str(part) for part in parts) for parts in zip(*[(a.dtype, a.device) for a in arrays])
        )
        if len({array.dtype for array in arrays}) > 1:
            raise ConfigError(
                f"{self.name}: inputs must have the same precision, not {kinds}; Tensor(x, dtype=...) sets it"
            )
        raise ConfigError(f"{self.name}: inputs must be on the same device, not {places}; Module.to(device) moves them")

    def __repr__(self) -> str:
        return f"<op {self.name}>"


def op(forward: Callable[..., Any]) -> Op:
    """Decorator: make an op of its forward and enter it into the table."""
    return Op(forward)


def _wrap(array: np.ndarray, requires_grad: bool) -> Tensor:
    """A tensor around an array that an op made: nothing to check, nothing to copy."""
    tensor = Tensor.__new__(Tensor)
    tensor.data, tensor.requires_grad, tensor.grad, tensor.name = array, requires_grad, None, ""
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

    with Tape() as tape:
        loss = cross_entropy(model(x), targets=y)
    tape.backward(loss)
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.t: int | None = None
        self.scope = ""

    def __enter__(self) -> Tape:
        _active.tapes.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _active.tapes.remove(self)

    def __len__(self) -> int:
        return len(self.records)

    def _record(self, op: Op, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], saved: Any,
                needs: tuple[bool, ...]) -> None:  # fmt: skip
        self.records.append(Record(op, inputs, outputs, saved, needs, self.t, self.scope))

    def backward(self, loss: Tensor, seed: Any = None) -> None:
        """Add d loss / d leaf into `grad` of every leaf that requires one. `seed` is the cotangent of the loss
        itself: 1 if not given; needed when the loss is not a single number."""
        for tensor, cotangent in self._walk([loss], [seed], (), None):
            if tensor.grad is None:
                tensor.grad = cotangent.copy()
            else:
                kernels.of(cotangent).accumulate(tensor.grad, cotangent)

    def cotangents(self, of: Sequence[Tensor], outputs: Sequence[Tensor], seeds: Sequence[Any] | None = None,
                   watch: Watch | None = None) -> list[np.ndarray | None]:  # fmt: skip
        """The cotangents of any tensors on the tape, leaves or not; None where nothing flows back.

        No `grad` is touched and the tape is not used up. `watch` is shown each contribution on its way: that is
        how one learns what every single record gave to a weight.
        """
        found: dict[int, np.ndarray] = {
            id(tensor): cotangent
            for tensor, cotangent in self._walk(outputs, seeds or [None] * len(outputs), of, watch)
        }
        return [found.get(id(tensor)) for tensor in of]

    def _walk(self, outputs: Sequence[Tensor], seeds: Sequence[Any], wanted: Sequence[Tensor],
              watch: Watch | None) -> list[tuple[Tensor, np.ndarray]]:  # fmt: skip
        """The loop. Gives (tensor, cotangent) for the leaves and for the wanted tensors."""
        pending = _Pending()
        for output, seed in zip(outputs, seeds):
            pending.add(output, _seed(output, seed))
        keep, kept = {id(tensor) for tensor in wanted}, []
        for record in reversed(self.records):
            arrived = [pending.take(output) for output in record.outputs]
            if all(cotangent is None for cotangent in arrived):
                continue
            for output, cotangent in zip(record.outputs, arrived):
                if id(output) in keep and cotangent is not None:
                    kept.append((output, cotangent))
            if record.op.back is None:
                raise NotImplementedError(f"op {record.op.name} has no VJP")
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


class _Pending:
    """Cotangents that wait for the record that made their tensor."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[Tensor, np.ndarray, bool]] = {}

    def add(self, tensor: Tensor, cotangent: np.ndarray) -> None:
        # A VJP may hand the same array to two inputs, or a view of what it got. So the first contribution is
        # never written to: the second makes an array of our own, further ones are added into that.
        if id(tensor) not in self.waiting:
            self.waiting[id(tensor)] = (tensor, cotangent, False)
            return
        _, total, ours = self.waiting[id(tensor)]
        table = kernels.of(total)
        if ours:
            table.accumulate(total, cotangent)
        else:
            both = table.empty(total.shape, total.dtype)
            table.add(both, total, cotangent)
            self.waiting[id(tensor)] = (tensor, both, True)

    def take(self, tensor: Tensor) -> np.ndarray | None:
        entry = self.waiting.pop(id(tensor), None)
        return entry[1] if entry else None

    def rest(self) -> list[tuple[Tensor, np.ndarray]]:
        """What no record on the tape has made: the leaves."""
        return [(tensor, cotangent) for tensor, cotangent, _ in self.waiting.values() if tensor.requires_grad]


def _seed(output: Tensor, seed: Any) -> np.ndarray:
    if seed is None:
        if output.data.size != 1:
            raise ShapeError(
                f"backward needs a seed: the output has shape {output.shape}, not a single number; "
                "pass seed=, an array of that shape"
            )
        return kernels.of(output.data).full(output.shape, 1, output.dtype)
    if isinstance(seed, float) and output.data.size == 1:  # made where it is needed: nothing has to be copied there
        return kernels.of(output.data).full(output.shape, seed, output.dtype)
    seed = kernels.of(output.data).asarray(seed, output.dtype)
    if seed.shape != output.shape:
        raise ShapeError(f"seed has shape {seed.shape}, the output has {output.shape}; they must be equal")
    return seed


class _Active(threading.local):
    """The tapes whose `with` blocks this thread is in; the innermost records."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []


_active = _Active()


class stamp:
    """Records made in this block carry time step t and scope; both stay as they are where not given."""

    __slots__ = ("before", "scope", "t", "tape")

    def __init__(self, t: int | None = None, scope: str | None = None):
        self.t, self.scope = t, scope

    def __enter__(self) -> None:
        self.tape = _active.tapes[-1] if _active.tapes else None
        if self.tape is not None:
            self.before = self.tape.t, self.tape.scope
            self.tape.t = self.before[0] if self.t is None else self.t
            self.tape.scope = self.before[1] if self.scope is None else self.scope

    def __exit__(self, *_: Any) -> None:
        if self.tape is not None:
            self.tape.t, self.tape.scope = self.before


@contextmanager
def no_tape() -> Iterator[None]:
    """Nothing in this block is recorded."""
    hidden = _active.tapes[:]
    _active.tapes.clear()
    try:
        yield
    finally:
        _active.tapes[:] = hidden
