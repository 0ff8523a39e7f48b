"""A number that is not known yet: a leaf, a constant, or an operation on other symbols.

    Symbol            op and arguments. Equal symbols are one object, so what is computed twice is there once
    leaf(*args)       a number from outside: a state, a pre-activation, a cotangent
    constant(value)   a number that is known
    apply(op, ...)    an operation, simplified: constants are folded, and what 0 and 1 do needs no instruction

An operation on one number each is all there is: what mixes units is a product, and products are no symbols but leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

import numpy as np

from micrornn.errors import CellError
from micrornn.kernels.maths import sigmoid

# What the operations do to numbers and arrays. The names are those of the kernels, so far as there is one.
COMPUTE: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "exp": np.exp,
    "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh, "sigmoid": sigmoid, "abs": np.abs, "sign": np.sign,
    "pow": np.power, "relu": lambda x: np.where(x <= 0, 0, x), "if_positive": lambda y, dy: np.where(y > 0, dy, 0),
    "clip": np.clip,
}  # fmt: skip
SIGNS = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal
}  # fmt: skip
# where<(a, b, x, y): x where a < b, else y
COMPUTE |= {
    f"where{sign}": lambda a, b, x, y, holds=holds: np.where(holds(a, b), x, y) for sign, holds in SIGNS.items()
}
# Where a gate's own value comes from. The others are arithmetic: quick, and computed again on the way back.
FUNCTIONS = ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "pow")


class Symbol:
    """One number of the computation. `op` is "leaf", "constant", or a name in COMPUTE; `args` are symbols, for a leaf
    what tells it apart, for a constant its value."""

    __slots__ = ("args", "op")

    def __init__(self, op: str, args: tuple[Any, ...]):
        self.op, self.args = op, args

    @property
    def inputs(self) -> tuple[Symbol, ...]:
        """The symbols it is computed from."""
        return () if self.op in ("leaf", "constant") else self.args

    def _refuse(self, *_: Any) -> Any:
        raise CellError(
            "step reads a number from a tensor, and chooses by it or computes with it in Python; "
            "the kernels of a cell are the same for all numbers"
        )

    __bool__ = __float__ = __int__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __sub__ = __mul__ = __truediv__ = __pow__ = __neg__ = __abs__ = __radd__ = __rsub__ = __rmul__ = _refuse
    __rtruediv__ = __rpow__ = exp = log = sqrt = tanh = sin = cos = _refuse  # as NumPy asks for

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(str, self.args))})"


_known: dict[tuple[Any, ...], Symbol] = {}


def _one(op: str, args: tuple[Any, ...]) -> Symbol:
    key = (op, *(id(a) if isinstance(a, Symbol) else a for a in args))
    if key not in _known:
        _known[key] = Symbol(op, args)
    return _known[key]


def leaf(*args: Any) -> Symbol:
    return _one("leaf", args)


def constant(value: float) -> Symbol:
    return _one("constant", (float(value) + 0.0,))  # -0 is 0 here


ZERO, ONE = constant(0), constant(1)


def apply(op: str, *args: Symbol) -> Symbol:
    """The result of an operation; not a new instruction where an older one, or none, will do."""
    if all(a.op == "constant" for a in args):
        with np.errstate(all="ignore"):
            return constant(COMPUTE[op](*(a.args[0] for a in args)))
    return _SIMPLER.get(op, _as_it_is)(op, *args)


def _as_it_is(op: str, *args: Symbol) -> Symbol:
    return _one(op, args)


def _add(op: str, a: Symbol, b: Symbol) -> Symbol:
    if a is ZERO or b is ZERO:
        return b if a is ZERO else a
    if b.op == "neg":
        return apply("sub", a, b.args[0])
    if a.op == "neg":
        return apply("sub", b, a.args[0])
    return _one(op, (a, b))


def _sub(op: str, a: Symbol, b: Symbol) -> Symbol:
    if b is ZERO:
        return a
    if a is ZERO:
        return apply("neg", b)
    if a is b:
        return ZERO
    if b.op == "neg":
        return apply("add", a, b.args[0])
    if b.op == "mul" and a in b.args:  # a - a b = a (1 - b), in which nothing cancels where b is near 1
        other = b.args[1] if b.args[0] is a else b.args[0]
        return apply("mul", a, apply("sub", ONE, other))
    return _one(op, (a, b))


def _mul(op: str, a: Symbol, b: Symbol) -> Symbol:
    if ZERO in (a, b):
        return ZERO
    if ONE in (a, b):
        return b if a is ONE else a
    for one, other in ((a, b), (b, a)):
        if one.op == "constant" and one.args[0] == -1:
            return apply("neg", other)
    return _one(op, (a, b))


def _div(op: str, a: Symbol, b: Symbol) -> Symbol:
    if a is ZERO or b is ONE:
        return a
    return _one(op, (a, b))


def _neg(op: str, a: Symbol) -> Symbol:
    if a.op == "neg":
        return a.args[0]
    return apply("sub", a.args[1], a.args[0]) if a.op == "sub" else _one(op, (a,))


def _pow(op: str, a: Symbol, b: Symbol) -> Symbol:
    if b is ZERO or b is ONE:
        return ONE if b is ZERO else a
    return apply("mul", a, a) if b is constant(2) else _one(op, (a, b))


def _if_positive(op: str, y: Symbol, dy: Symbol) -> Symbol:
    return ZERO if dy is ZERO else _one(op, (y, dy))


def _where(op: str, a: Symbol, b: Symbol, x: Symbol, y: Symbol) -> Symbol:
    if a.op == b.op == "constant":
        return x if SIGNS[op.removeprefix("where")](a.args[0], b.args[0]) else y
    return x if x is y else _one(op, (a, b, x, y))


_SIMPLER: dict[str, Callable[..., Symbol]] = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "neg": _neg, "if_positive": _if_positive, "pow": _pow,
    **dict.fromkeys((f"where{sign}" for sign in SIGNS), _where),
}  # fmt: skip


def walk(roots: tuple[Symbol, ...], ends: Container[Symbol] = ()) -> list[Symbol]:
    """All symbols that these are computed from, and themselves, each behind its inputs; of `ends` not what is below."""
    found: dict[Symbol, None] = {}

    def visit(symbol: Symbol) -> None:
        if symbol not in found:
            for one in symbol.inputs if symbol not in ends else ():
                visit(one)
            found[symbol] = None

    for root in roots:
        visit(root)
    return list(found)


def leaves_below(roots: tuple[Symbol, ...]) -> frozenset[tuple[Any, ...]]:
    """What tells apart the leaves that these are computed from."""
    return frozenset(symbol.args for symbol in walk(roots) if symbol.op == "leaf")


def rewrite(root: Symbol, change: Callable[[Symbol], Symbol | None], done: dict[Symbol, Symbol]) -> Symbol:
    """The same formula, in which `change` says what stands in the place of a symbol (None: look into it)."""
    if root not in done:
        new = change(root)
        if new is None:
            inputs = tuple(rewrite(one, change, done) for one in root.inputs)
            new = apply(root.op, *inputs) if inputs else root
        done[root] = new
    return done[root]
