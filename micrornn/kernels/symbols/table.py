"""The kernels over arrays of symbols. Names and parameters are those of reference.py; what is missing here mixes units.

    Symbols    a NumPy array whose numbers are symbols
    leaves     an array of leaves

A product is allowed where its left side is an input as it came (x_t or h_prev) and its right side a weight: what comes
out are leaves, the pre-activations. The sequence kernel does such products with its tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, partialmethod
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from micrornn.errors import CellError
from micrornn.kernels.lift import FORMULAS, Formula
from micrornn.kernels.symbols.symbol import ONE, ZERO, Symbol, apply, constant, leaf

INSTEAD = "granularity primitive runs it as it is"


class Symbols(np.ndarray):
    """NumPy slices, splits and joins it; each of its numbers is a Symbol."""

    device = "symbols"  # type: ignore[assignment]  # as NumPy's own arrays say "cpu"


def leaves(name: str, *shape: int) -> Symbols:
    """An array of leaves: (name, place in the flat array)."""
    out = empty(shape)
    out.reshape(-1)[:] = [leaf(name, place) for place in range(out.size)]
    return out


# --- arrays: the names of host.py --------------------------------------------------------------------------------


def empty(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return np.empty(shape, object).view(Symbols)


def full(shape: tuple[int, ...], value: float, dtype: Any = None) -> Any:
    out = empty(shape)
    out[...] = constant(value)
    return out


def zeros(shape: tuple[int, ...], dtype: Any = None) -> Any:
    return full(shape, 0)


def asarray(array: Any, dtype: Any = None) -> Any:
    if isinstance(array, Symbols):
        return array
    numbers = np.asarray(array)
    if numbers.dtype == bool:
        return numbers
    out = empty(numbers.shape)
    for place, value in np.ndenumerate(numbers):
        out[place] = value if isinstance(value, Symbol) else constant(float(value))
    return out


def contiguous(view: Any) -> Any:
    return np.ascontiguousarray(view).reshape(np.shape(view)).view(Symbols)


def spread(array: Any, shape: tuple[int, ...]) -> Any:
    wide = np.broadcast_to(array, shape)
    return wide if wide.dtype == bool else wide.view(Symbols)


# --- one number in, one number out: formulas, over symbols --------------------------------------------------------


class Condition(NamedTuple):
    """a < b, a >= b, ..."""

    sign: str
    a: Symbol
    b: Symbol


class Number:
    """A symbol as a formula takes it: with signs between, and compared with others for m.where."""

    def __init__(self, symbol: Symbol):
        self.symbol = symbol

    def __neg__(self) -> Number:
        return Number(apply("neg", self.symbol))

    def _with(self, op: str, other: Any, turned: bool = False) -> Number:
        pair = self.symbol, _symbol(other)
        if op == "pow" and pair[not turned].op != "constant":
            raise CellError(f"a power whose exponent is no constant; {INSTEAD}")
        return Number(apply(op, *(pair[::-1] if turned else pair)))


def _symbol(value: Any) -> Symbol:
    return value.symbol if isinstance(value, Number) else constant(value)


for _sign, _op in {"add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "pow": "pow"}.items():
    setattr(Number, f"__{_sign}__", partialmethod(Number._with, _op))
    setattr(Number, f"__r{_sign}__", partialmethod(Number._with, _op, turned=True))
for _sign, _op in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Number, f"__{_sign}__", lambda a, b, op=_op: Condition(op, a.symbol, _symbol(b)))


def _where(condition: Any, a: Any, b: Any) -> Number:
    if not isinstance(condition, Condition):  # of a mask, which is known
        return a if condition else b
    return Number(apply(f"where{condition.sign}", condition.a, condition.b, _symbol(a), _symbol(b)))


def _clipped(x: Number, limit: float) -> Number:
    return Number(apply("clip", x.symbol, constant(-limit), constant(limit)))


def _function(op: str) -> Callable[[Number], Number]:
    return lambda x: Number(apply(op, x.symbol))


MATHS = SimpleNamespace(ZERO=Number(ZERO), ONE=Number(ONE), where=_where, clipped=_clipped)
vars(MATHS).update({op: _function(op) for op in ("exp", "log", "sqrt", "tanh", "sigmoid")})


def lifted(formula: Formula) -> Callable[..., None]:
    """The kernel of a formula: it runs with symbols in the place of numbers."""
    told = formula.function
    over = FunctionType(told.__code__, told.__globals__ | {"m": MATHS})

    def kernel(*given: Any) -> None:
        named = dict(zip(formula.parameters, given))
        out = named[formula.outs[0]]
        for place in np.ndindex(out.shape):
            numbers = [named[name][place] for name in formula.arrays]
            options = {name: named[name] for name in formula.options}
            wrapped = [Number(one) if isinstance(one, Symbol) else one for one in numbers]
            out[place] = _symbol(over(*wrapped, **options))

    return kernel


def _each(function: Callable[..., Symbol]) -> Callable[..., None]:
    def kernel(out: Any, *arrays: Any) -> None:
        for place in np.ndindex(out.shape):
            out[place] = function(*(array[place] for array in arrays))

    return kernel


globals().update(
    {name: lifted(one) for name, one in FORMULAS.items() if not one.placed and not one.typed and len(one.outs) == 1}
)
# These have an operation of their own: what a choice in a formula says is shorter said so.
relu, abs = (_each(partial(apply, op)) for op in ("relu", "abs"))
relu_vjp = _each(lambda dy, y: apply("if_positive", y, dy))
abs_vjp = _each(lambda dy, x: apply("mul", dy, apply("sign", x)))


# --- products ----------------------------------------------------------------------------------------------------


def _whole(array: Any) -> str:
    """The name of the leaves in an array that is as it came; "" for one that was computed, or for a part."""
    numbers = list(array.reshape(-1))
    name = numbers[0].args[0] if numbers and numbers[0].op == "leaf" else ""
    return name if numbers == [leaf(name, place) for place in range(array.size)] else ""


def matmul(out: Any, a: Any, b: Any, trans_a: bool = False, trans_b: bool = False, accumulate: bool = False) -> None:
    left, right = _whole(a), _whole(b)
    if not left or not right or trans_a or not trans_b or accumulate:
        raise CellError(
            f"a product with what the step has computed; only x and h_prev, as they come, go through weights; {INSTEAD}"
        )
    out.reshape(-1)[:] = [leaf("product", left, right, "", place) for place in range(out.size)]


def add_bias(out: Any, bias: Any) -> None:
    name, first = _whole(bias), out.reshape(-1)[0]
    if not name or first.op != "leaf":
        raise CellError(f"a bias that the step has computed; {INSTEAD}")
    out.reshape(-1)[:] = [leaf(*number.args[:3], name, number.args[4]) for number in out.reshape(-1)]


def __getattr__(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise CellError(f"{name} works on several units at once, and the kernel of a cell has one; {INSTEAD}")

    if name.startswith("_"):
        raise AttributeError(name)
    return refuse
