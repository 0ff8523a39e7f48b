"""The kernels over arrays of symbols. Names and parameters are those of reference.py; what is missing here mixes units.

    Symbols    a NumPy array whose numbers are symbols
    leaves     an array of leaves

A product is allowed where its left side is an input as it came (x_t or h_prev) and its right side a weight: what comes
out are leaves, the pre-activations. The sequence kernel does such products with its tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from micrornn.errors import CellError
from micrornn.kernels.symbols.symbol import ONE, Symbol, apply, constant, leaf

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


# --- one number in, one number out -------------------------------------------------------------------------------


def _each(function: Callable[..., Symbol]) -> Callable[..., None]:
    def kernel(out: Any, *arrays: Any) -> None:
        for place in np.ndindex(out.shape):
            out[place] = function(*(array[place] for array in arrays))

    return kernel


def _plain(op: str) -> Callable[..., None]:
    return _each(lambda *args: apply(op, *args))


add, sub, mul, div, neg = (_plain(op) for op in ("add", "sub", "mul", "div", "neg"))
exp, log, sqrt, tanh, sigmoid, relu = (_plain(op) for op in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu"))
relu_vjp = _each(lambda dy, y: apply("if_positive", y, dy))
tanh_vjp = _each(lambda dy, y: apply("mul", dy, apply("sub", ONE, apply("mul", y, y))))
sigmoid_vjp = _each(lambda dy, y: apply("mul", apply("mul", dy, y), apply("sub", ONE, y)))


def _log_sigmoid(x: Symbol) -> Symbol:
    low = apply("neg", apply("relu", apply("neg", x)))  # the smaller of x and 0
    return apply("sub", low, apply("log", apply("add", ONE, apply("exp", apply("neg", apply("abs", x))))))


log_sigmoid = _each(_log_sigmoid)
log_sigmoid_vjp = _each(lambda dy, x: apply("mul", dy, apply("sub", ONE, apply("sigmoid", x))))
abs = _plain("abs")
abs_vjp = _each(lambda dy, x: apply("mul", dy, apply("sign", x)))
where = _each(lambda mask, a, b: a if mask else b)


def _power(a: Symbol, b: Symbol) -> Symbol:
    if b.op != "constant":
        raise CellError(f"a power whose exponent is no constant; {INSTEAD}")
    return apply("pow", a, b)


pow = _each(_power)
pow_vjp = _each(lambda dy, a, b: apply("mul", apply("mul", dy, b), _power(a, apply("sub", b, ONE))))


def fill(out: Any, value: float) -> None:
    out[...] = constant(value)


def accumulate(out: Any, x: Any) -> None:
    add(out, out.copy(), x)


def scale(out: Any, x: Any, factor: float) -> None:
    mul(out, x, full(x.shape, factor))


def clip(out: Any, x: Any, limit: float) -> None:
    _each(lambda value: apply("clip", value, constant(-limit), constant(limit)))(out, x)


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


def lifted(formula: Any) -> Any:
    raise CellError(f"{formula.name} has a kernel of its own, which the kernel of a cell cannot hold; {INSTEAD}")


def __getattr__(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise CellError(f"{name} works on several units at once, and the kernel of a cell has one; {INSTEAD}")

    if name.startswith("_"):
        raise AttributeError(name)
    return refuse
