"""From functions of single numbers to kernels over arrays: those of formulas.py, and those in the file of an op.

NAMES                               of the kernels that formulas.py tells
own(function)                       a formula that stands elsewhere
over_arrays(formula)                NumPy: the function itself, on whole arrays
kernels(device, folder, formulas)   for Numba: one loop for each, written out as one would by hand (`loop`)

The loops lie in the folder of compiled kernels, where a debugger can step through them. They are written rather than
built of closures because Numba keeps nothing on disk of what it compiles of those.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.errors import ConfigError
from micrornn.kernels import formulas, maths
from micrornn.kernels.module import module_of

HEAD = '''"""Generated from the formulas of {source}: an edit there makes another file."""

import math

import numpy as np

from micrornn.kernels.{device} import maths as m
from micrornn.kernels.{device}.elementwise import flat
'''
ON_CARD = "from micrornn.kernels.cuda.jit import cuda\n"
RANGE = {"cpu": "range({first}.size)", "cuda": "range(cuda.grid(1), {first}.size, cuda.gridsize(1))"}


class Formula:
    """A function of single numbers, taken apart.

    arrays, options    what stands for the numbers of arrays; what is the same for all of them
    once, body         statements that need nothing but options; statements for each number
    typed              options and names of `once` that keep the type they are annotated with
    results            expressions; where they are names of arrays, they are written over these, else there is an `out`
    """

    def __init__(self, told: ast.FunctionDef, function: Callable[..., Any]):
        self.function, self.name = function, told.name
        self.arrays = [one.arg for one in told.args.args if one.arg != "place"]
        self.options = [one.arg for one in told.args.kwonlyargs]
        self.placed = len(self.arrays) < len(told.args.args)
        *statements, last = told.body[isinstance(told.body[0], ast.Expr) :]
        assert isinstance(last, ast.Return) and last.value is not None
        self.results = last.value.elts if isinstance(last.value, ast.Tuple) else [last.value]
        over = [ast.unparse(one) for one in self.results]
        self.outs = over if set(over) <= set(self.arrays) else ["out"]
        self.parameters = [*([] if self.outs == over else ["out"]), *self.arrays, *self.options]
        varying = {*self.arrays, "place"}
        self.once = [one for one in statements if not varying & _names(one)]
        self.body = [one for one in statements if varying & _names(one)]
        self.typed = {one.arg for one in told.args.kwonlyargs if one.annotation}
        self.typed |= {_target(one) for one in self.once if isinstance(one, ast.AnnAssign)}
        read = set().union(*map(_names, [*self.body, *self.results]))
        self.read = [name for name in (*self.options, *map(_target, self.once)) if name in read]  # by the loop


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _target(statement: ast.stmt) -> str:
    return ast.unparse(statement.target if isinstance(statement, ast.AnnAssign) else statement.targets[0])  # type: ignore[attr-defined]


_told = [one for one in ast.parse(inspect.getsource(formulas)).body if isinstance(one, ast.FunctionDef)]
FORMULAS = {told.name: Formula(told, vars(formulas)[told.name]) for told in _told}
NAMES = tuple(FORMULAS)


def own(function: Callable[..., Any]) -> Formula:
    """A formula from the file of an op: one expression of its parameters, of numbers and of `m`. Numbers get the
    precision of the arrays, as options do. ConfigError where it is something else."""
    name = function.__name__
    try:
        (told,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except OSError:
        raise ConfigError(f"formula {name}: its text is needed; write it into a file") from None
    *before, last = told.body if isinstance(told, ast.FunctionDef) else [told]
    if not isinstance(told, ast.FunctionDef) or not isinstance(last, ast.Return) or last.value is None or any(
        not isinstance(one, ast.Expr) for one in before
    ):  # fmt: skip
        raise ConfigError(f"formula {name}: expected one expression behind a return, and nothing else")
    constants = _Constants(name, list(inspect.signature(function).parameters))
    last.value = constants.visit(last.value)
    if isinstance(last.value, ast.Name):  # as it stands it would mean that this array is written over
        last.value = ast.UnaryOp(ast.UAdd(), last.value)
    told.body = [*constants.assigned, last]
    return Formula(told, function)


def over_arrays(formula: Formula) -> Callable[..., None]:
    """kernel(out, arrays..., options...), told by NumPy."""

    def kernel(*given: Any) -> None:
        named = dict(zip(formula.parameters, given))
        outs = [named[name] for name in formula.outs]
        if "out" not in formula.arrays:
            named.pop("out", None)
        if formula.placed:
            named["place"] = np.arange(outs[0].size).reshape(outs[0].shape)
        with np.errstate(all="ignore"):
            values = formula.function(**named)
            for out, value in zip(outs, values if len(outs) > 1 else [values]):
                out[...] = value

    kernel.__name__ = kernel.__qualname__ = formula.name
    kernel.__doc__ = formula.function.__doc__
    kernel.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in formula.parameters]
    )
    return kernel


def kernels(device: str, folder: Path, formulas: Sequence[Formula] = tuple(FORMULAS.values())) -> dict[str, Any]:
    """name -> kernel(out, arrays..., options...) of "cpu" or "cuda"."""
    name = "elementwise" if len(formulas) > 1 else formulas[0].name
    module = module_of(name, loops(device, formulas), folder)
    return {one.name: getattr(module, one.name) for one in formulas}


def loops(device: str, formulas: Sequence[Formula] = tuple(FORMULAS.values())) -> str:
    """A module of kernels; `flat` of that device makes each callable with arrays of any number of axes."""
    head = HEAD.format(device=device, source=formulas[0].function.__module__) + (ON_CARD if device == "cuda" else "")
    return head + "".join(f"\n\n{loop(formula, device)}" for formula in formulas)


def loop(formula: Formula, device: str) -> str:
    """The text of one kernel."""
    name = formula.name
    first, numbers, once = formula.parameters[0], _Numbers(formula.arrays), list(map(ast.unparse, formula.once))
    each = [numbers.text(one) for one in formula.body]
    each += [f"{out}[i] = {numbers.text(one)}" for out, one in zip(formula.outs, formula.results)]
    body = [f"for i in {RANGE[device].format(first=first)}:", *("    " + line for line in each)]
    if device == "cpu":
        casts = [f"{one} = {first}.dtype.type({one})" for one in formula.read if one not in formula.typed]
        return "@flat\n" + _function(name, formula.parameters, [*once, *casts, *body])
    if not once:  # a card's kernel gets its options in the precision of the array already
        return "@flat\n" + _function(name, formula.parameters, body)
    given = [*(one for one in formula.parameters if one not in formula.options), *formula.read]
    inner = "@flat\n" + _function(f"_{name}", given, body)
    return inner + "\n\n" + _function(name, formula.parameters, [*once, f"_{name}({', '.join(given)})"])


def _function(name: str, parameters: list[str], lines: list[str]) -> str:
    return f"def {name}({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in lines)


class _Numbers(ast.NodeTransformer):
    """x becomes x[i], or x_i after an assignment to it; m.where(c, a, b) becomes a if c else b."""

    def __init__(self, arrays: list[str]):
        self.now = {name: f"{name}[i]" for name in arrays} | {"place": "i"}

    def text(self, told: ast.stmt | ast.expr) -> str:
        if not isinstance(told, ast.Assign):
            return ast.unparse(self.visit(ast.parse(ast.unparse(told), mode="eval")))
        value, name = self.text(told.value), _target(told)
        if name in self.now:
            self.now[name] = f"{name}_i"
        return f"{self.now.get(name, name)} = {value}"

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(self.now.get(node.id, node.id))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "where":
            condition, a, b = node.args
            return ast.IfExp(condition, a, b)
        return node


class _Constants(ast.NodeTransformer):
    """Numbers become names, which are assigned to once; a whole exponent stays, for it is a product."""

    def __init__(self, name: str, parameters: list[str]):
        self.name, self.parameters, self.assigned = name, parameters, list[ast.stmt]()

    def refuse(self, words: str) -> ConfigError:
        return ConfigError(f"formula {self.name}: {words}")

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, int | float):
            raise self.refuse(f"{node.value!r} is no number")
        name = f"c{len(self.assigned)}"
        self.assigned += ast.parse(f"{name} = {float(node.value)!r}").body
        return ast.Name(name)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        whole = isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant) and type(node.right.value) is int
        node.left = self.visit(node.left)
        node.right = node.right if whole else self.visit(node.right)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self.parameters:
            raise self.refuse(f"{node.id} is none of its parameters, and only m is known besides")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if ast.unparse(node.value) != "m" or node.attr not in MATHS:
            raise self.refuse(f"{ast.unparse(node)} is not known; m has {', '.join(MATHS)}")
        return node


MATHS = ("exp", "log", "sqrt", "tanh", "sigmoid", "where", "ZERO", "ONE")  # of maths.py, on every device
assert all(hasattr(maths, name) for name in MATHS)
