"""Arithmetic with broadcasting, activations, where, dropout. Each op: forward, then its VJP, with the formula."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from micrornn.arguments import real, whole
from micrornn.errors import ConfigError, ShapeError
from micrornn.kernels import Kernels, formulas
from micrornn.ops.axes import fold, spread
from micrornn.ops.masks import take_mask
from micrornn.tape import Op, op


def each(k: Kernels, kernel: Callable[..., None], first: np.ndarray, *rest: Any) -> np.ndarray:
    """A new array of what a kernel makes of these, number by number."""
    y = k.empty(first.shape, first.dtype)
    kernel(y, first, *rest)
    return y


class Elementwise(Op):
    """An op of one or two inputs that does the same to each number, made of formulas (kernels/formulas.py): one for the
    output, and one for the cotangent of each input. Every device makes its kernels of them; inputs broadcast."""

    def __init__(self, formula: Callable[..., Any]):
        self.slopes: list[tuple[Callable[..., Any], list[str]]] = []  # and what each reads behind dy
        self.keep = KEEP[()]
        self.inputs = inputs = _parameters(formula)
        if len(inputs) not in (1, 2) or TAKEN & {*inputs}:
            raise ConfigError(
                f"{formula.__name__}({', '.join(inputs)}): expected one or two inputs that are not called "
                f"{', '.join(sorted(TAKEN))}; y is the output"
            )

        def forward(k: Kernels, *arrays: Any) -> Any:
            if len(arrays) == 1:
                (x,) = arrays
                y = each(k, k.lift(formula), x)
                return y, self.keep(x, y)
            wide = spread(k, self.name, *arrays)
            y = each(k, k.lift(formula), *wide)
            found = dict(zip(inputs, wide), y=y)
            return y, [[found[name] for name in reads] for _, reads in self.slopes] + [array.shape for array in arrays]

        own = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("k", *inputs)]
        forward.__signature__ = Signature(own)  # type: ignore[attr-defined]
        forward.__name__, forward.__doc__, forward.__module__ = formula.__name__, formula.__doc__, formula.__module__
        super().__init__(forward)

    def slope(self, formula: Callable[..., Any]) -> Elementwise:
        """Decorator: the cotangent of the next input, from dy and what else it names: inputs, or `y`, the output."""
        dy, *reads = _parameters(formula)
        if dy != "dy" or not {*reads} <= {*self.inputs, "y"} or len(self.slopes) == self.most:
            raise ConfigError(
                f"{self.name}: a slope {formula.__name__}({', '.join([dy, *reads])}); expected one for each input, of "
                f"dy and of some of {', '.join([*self.inputs, 'y'])}"
            )
        self.slopes.append((formula, reads))
        if self.most == 1:
            self.keep = KEEP[tuple(name == "y" for name in reads)]
        if len(self.slopes) == self.most:
            self.vjp(self.back_by_slopes)
        return self

    def back_by_slopes(self, k: Kernels, saved: Any, dy: Any, needs: Any) -> list[Any]:
        if len(needs) == 1:
            return [each(k, k.lift(self.slopes[0][0]), dy, *saved)]
        return [
            fold(k, each(k, k.lift(formula), dy, *read), shape) if need else None
            for (formula, _), read, shape, need in zip(self.slopes, saved, saved[2:], needs)
        ]


elementwise = Elementwise  # as a decorator
KEEP: dict[tuple[bool, ...], Callable[[Any, Any], Any]] = {  # of an op of one input: what its slope reads, x or y
    (): lambda x, y: (), (False,): lambda x, y: (x,), (True,): lambda x, y: (y,),
    (False, True): lambda x, y: (x, y), (True, False): lambda x, y: (y, x),
}  # fmt: skip
TAKEN = {"y", "dy", "out", "place", "i", "m"}  # have a meaning of their own in a formula, or around it


def _parameters(formula: Callable[..., Any]) -> list[str]:
    found = signature(formula).parameters
    if any(one.kind is not one.POSITIONAL_OR_KEYWORD for one in found.values()):
        raise ConfigError(f"{formula.__name__} takes options; docs/writing-an-op.md writes an op with such by hand")
    return list(found)


@op
def add(k, a, b):
    """y = a + b;  da = dy, db = dy."""
    x, z = spread(k, "add", a, b)
    return each(k, k.add, x, z), (a.shape, b.shape)


@add.vjp
def add_vjp(k, shapes, dy, needs):
    return [fold(k, dy, shape) if need else None for shape, need in zip(shapes, needs)]


@op
def sub(k, a, b):
    """y = a - b;  da = dy, db = -dy."""
    x, z = spread(k, "sub", a, b)
    return each(k, k.sub, x, z), (a.shape, b.shape)


@sub.vjp
def sub_vjp(k, shapes, dy, needs):
    da, db = fold(k, dy, shapes[0]) if needs[0] else None, None
    if needs[1]:
        db = each(k, k.neg, dy)
        db = fold(k, db, shapes[1])
    return da, db


@op
def mul(k, a, b):
    """y = a b;  da = dy b, db = dy a."""
    x, z = spread(k, "mul", a, b)
    return each(k, k.mul, x, z), (x, z, a.shape, b.shape)


@mul.vjp
def mul_vjp(k, saved, dy, needs):
    x, z, a_shape, b_shape = saved
    da = fold(k, each(k, k.mul, dy, z), a_shape) if needs[0] else None
    db = fold(k, each(k, k.mul, dy, x), b_shape) if needs[1] else None
    return da, db


@op
def div(k, a, b):
    """y = a / b;  da = dy / b, db = -dy y / b."""
    x, z = spread(k, "div", a, b)
    y = each(k, k.div, x, z)
    return y, (y, z, a.shape, b.shape)


@div.vjp
def div_vjp(k, saved, dy, needs):
    y, z, a_shape, b_shape = saved
    quotient = each(k, k.div, dy, z)
    da, db = fold(k, quotient, a_shape) if needs[0] else None, None
    if needs[1]:
        db = each(k, k.mul, quotient, y)
        k.neg(db, db)
        db = fold(k, db, b_shape)
    return da, db


@op
def neg(k, x):
    """y = -x;  dx = -dy."""
    return each(k, k.neg, x), None


@neg.vjp
def neg_vjp(k, saved, dy, needs):
    return [each(k, k.neg, dy)]


abs = elementwise(formulas.abs).slope(formulas.abs_vjp)
pow = elementwise(formulas.pow).slope(formulas.pow_vjp).slope(formulas.pow_vjp_exponent)


@op
def exp(k, x):
    """y = e^x;  dx = dy y."""
    y = each(k, k.exp, x)
    return y, y


@exp.vjp
def exp_vjp(k, y, dy, needs):
    return (each(k, k.mul, dy, y),)


@op
def log(k, x):
    """y = ln x;  dx = dy / x."""
    return each(k, k.log, x), x


@log.vjp
def log_vjp(k, x, dy, needs):
    return [each(k, k.div, dy, x)]


@op
def sqrt(k, x):
    """y = sqrt(x);  dx = dy / 2y."""
    y = each(k, k.sqrt, x)
    return y, y


@sqrt.vjp
def sqrt_vjp(k, y, dy, needs):
    dx = each(k, k.div, dy, y)
    k.scale(dx, dx, 0.5)
    return (dx,)


tanh = elementwise(formulas.tanh).slope(formulas.tanh_vjp)
sigmoid = elementwise(formulas.sigmoid).slope(formulas.sigmoid_vjp)
log_sigmoid = elementwise(formulas.log_sigmoid).slope(formulas.log_sigmoid_vjp)
relu = elementwise(formulas.relu).slope(formulas.relu_vjp)


@op
def where(k, a, b, *, mask):
    """y = a where mask, else b;  da = dy where mask, db = dy where not. mask (bool) broadcasts like a and b.

    It selects: what stands in the input that is not taken, NaN for one, changes neither y nor what flows back from it,
    and the cotangent of what is not taken is exactly zero. But it cannot mend what made that input. A VJP multiplies
    this zero by its slope, and 0 * inf is NaN: where(x > 0, sqrt(x), 0) has a gradient of NaN at x = 0, as in other
    libraries. The same holds for log, div and a power below 1. Write sqrt(where(x > 0, x, 1)) inside the where.
    """
    mask = take_mask("where", mask)
    try:
        shape = np.broadcast_shapes(a.shape, b.shape, mask.shape)
    except ValueError:
        raise ShapeError(f"where: a {a.shape}, b {b.shape} and mask {mask.shape} do not broadcast") from None
    x, z, m = (k.spread(array, shape) for array in (a, b, k.asarray(mask)))
    y = k.empty(shape, a.dtype)
    k.where(y, m, x, z)
    return y, (m, a.shape, b.shape)


@where.vjp
def where_vjp(k, saved, dy, needs):
    mask, a_shape, b_shape = saved
    zero, da, db = k.zeros(dy.shape, dy.dtype), k.empty(dy.shape, dy.dtype), k.empty(dy.shape, dy.dtype)
    k.where(da, mask, dy, zero)
    k.where(db, mask, zero, dy)
    return fold(k, da, a_shape), fold(k, db, b_shape)


@op
def dropout(k, x, *, rate, key):
    """y = x / (1 - rate), or 0 with probability rate;  dx = the same of dy (Srivastava et al. 2014).

    The mask is a function of `key` (an integer) alone: it is drawn again on the way back, not kept.
    """
    rate, key = real("dropout: rate", rate), np.uint64(whole("dropout: key", key) % 2**64)
    if not 0 <= rate < 1:
        raise ConfigError(f"dropout: rate must lie in 0..1 (1 excluded), not {rate}")
    return each(k, k.dropout, x, rate, key), (rate, key)


@dropout.vjp
def dropout_vjp(k, saved, dy, needs):
    return [each(k, k.dropout, dy, *saved)]


@op
def clip_message(k, x, *, limit):
    """y = x;  dx = dy, each number limited to +-limit. Put between two time steps, it limits what is passed back."""
    limit = real("clip_message: limit", limit)
    if not limit >= 0:
        raise ConfigError(f"clip_message: limit must be 0 or more, not {limit}")
    return x, limit


@clip_message.vjp
def clip_message_vjp(k, limit, dy, needs):
    return [each(k, k.clip, dy, limit)]
