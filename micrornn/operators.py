"""What a tensor does where Python or NumPy expects a number or an array.

    Operators    the base of Tensor
    OPS          every op by name; `find` imports micrornn.ops if it must

    + - * / @ ** abs -x x[i]      ops like all others, recorded on the tape; NumPy arrays and numbers on either side
    .sum .mean .max .reshape .T   the same
    == != < <= > >=               NumPy arrays of bool, which have no gradient. `==` with something that is no number
                                  is False
    float int bool format         of a tensor that holds one number
    np.asarray(x)                 its numbers, not copied; what is computed from them is not on the tape

NumPy's own functions (np.tanh and the like) refuse a tensor, because no gradient would flow back through them. Tensors
are hashed by identity, so that sets and dicts can hold them. To find one in a list, compare by `is`, for `in` uses
`==`.
"""

from __future__ import annotations

import importlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.errors import ConfigError, ShapeError, TapeError

OPS: dict[str, Any] = {}


def find(name: str) -> Any:
    """The op of this name. The engine does not import the ops, which build on it; the first use of one imports them."""
    if name not in OPS:
        importlib.import_module("micrornn.ops")
    return OPS[name]


class Operators:
    """See the top of this file."""

    __slots__ = ()
    __hash__ = object.__hash__
    __array_ufunc__ = None  # for `array * tensor` NumPy calls the tensor, and does not make an array of objects
    __array_priority__ = 1000

    data: Any
    grad: Any
    leaf: bool
    name: str
    requires_grad: bool

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    T = property(lambda self: find("transpose")(self), doc="With its axes in reverse order.")

    def __add__(self, other: Any) -> Any:
        return find("add")(self, other)

    def __radd__(self, other: Any) -> Any:
        return find("add")(other, self)

    def __sub__(self, other: Any) -> Any:
        return find("sub")(self, other)

    def __rsub__(self, other: Any) -> Any:
        return find("sub")(other, self)

    def __mul__(self, other: Any) -> Any:
        return find("mul")(self, other)

    def __rmul__(self, other: Any) -> Any:
        return find("mul")(other, self)

    def __truediv__(self, other: Any) -> Any:
        return find("div")(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return find("div")(other, self)

    def __matmul__(self, other: Any) -> Any:
        return find("matmul")(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return find("matmul")(other, self)

    def __pow__(self, other: Any) -> Any:
        return find("pow")(self, other)

    def __rpow__(self, other: Any) -> Any:
        return find("pow")(other, self)

    def __neg__(self) -> Any:
        return find("neg")(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return find("abs")(self)

    def __getitem__(self, index: Any) -> Any:
        return find("getitem")(self, index=index)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise ConfigError(
            "a tensor's numbers cannot be set one by one: no gradient would know of it; "
            "ops.where(new, x, mask=...) selects, and x.data[...] = value writes to what no tape needs any more"
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(find("unstack")(self))

    def __len__(self) -> int:
        if not self.ndim:
            raise ShapeError("a tensor that is a single number has no length")
        return len(self.data)

    def __contains__(self, value: Any) -> bool:
        return bool(np.any(self == value))

    def sum(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """The op sum; np.sum(x) comes here, too."""
        return self._reduced("sum", axis, keepdims, numpy)

    def mean(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """The op mean."""
        return self._reduced("mean", axis, keepdims, numpy)

    def max(self, axis: Any = None, keepdims: bool = False, **numpy: Any) -> Any:
        """The op max."""
        return self._reduced("max", axis, keepdims, numpy)

    def _reduced(self, name: str, axis: Any, keepdims: bool, numpy: dict[str, Any]) -> Any:
        for option, value in numpy.items():  # NumPy's functions hand over dtype=None, out=None
            if value is not None or option not in ("dtype", "out"):
                raise ConfigError(f"{name} has no option {option!r}; it has axis and keepdims")
        return find(name)(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> Any:
        """The op reshape: x.reshape(2, 3) or x.reshape((2, 3))."""
        return find("reshape")(self, shape=shape[0] if len(shape) == 1 else shape)

    def backward(self, *_: Any, **__: Any) -> None:
        """Says where to go: a tensor does not know its tape."""
        raise TapeError(
            "a tensor does not know its tape: compute it in `with Tape() as tape:`, then call tape.backward(loss)"
        )

    def __reduce__(self) -> Any:
        """Copies and pickles have memory of their own, on the same device."""
        where, grad = device.of(self.data), None if self.grad is None else device.host(self.grad)
        return restored, (type(self), device.host(self.data), where, grad, self.requires_grad, self.name, self.leaf)

    # --- a number ----------------------------------------------------------------------------------------------

    def item(self) -> float:
        """The number of a tensor that holds just one."""
        return float(self._one("item"))

    def _one(self, what: str) -> Any:
        if self.size != 1:
            raise ShapeError(f"{what}: wanted a tensor of one number, not of shape {self.shape}")
        return self.data.item()

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(
                f"a tensor of shape {self.shape} is neither true nor false; compare it, then .any() or .all()"
            )
        return bool(self.data.item())

    def __format__(self, spec: str) -> str:
        return format(self._one(f"format {spec!r}"), spec) if spec else str(self)

    # --- an array ----------------------------------------------------------------------------------------------

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(device.host(self.data), dtype, copy=copy)

    def __eq__(self, other: object) -> Any:
        return self._compare(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._compare(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._compare(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._compare(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._compare(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._compare(operator.ge, other)

    def _compare(self, how: Callable[[Any, Any], Any], other: Any) -> Any:
        """Number by number, with broadcasting. Python falls back on identity where the other is no number."""
        try:
            there = np.asarray(device.host(other.data) if isinstance(other, Operators) else other)
        except (TypeError, ValueError):
            return NotImplemented
        if there.dtype.kind not in "fiub":
            return NotImplemented
        try:
            return how(device.host(self.data), there)
        except ValueError:
            raise ShapeError(f"comparison: shapes {self.shape} and {there.shape} do not broadcast") from None


def restored(kind: Any, data: np.ndarray, where: str, grad: np.ndarray | None, requires_grad: bool, name: str,
             leaf: bool) -> Any:  # fmt: skip
    """A tensor from what `Operators.__reduce__` gives."""
    table, tensor = kernels.for_device(where), kind(data, dtype=data.dtype)
    tensor.data, tensor.requires_grad = table.asarray(data), requires_grad
    tensor.name, tensor.leaf = name, leaf
    tensor.grad = None if grad is None else table.asarray(grad)
    return tensor
