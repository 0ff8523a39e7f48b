"""From the functions of single numbers in formulas.py to kernels over arrays.

NAMES                     of the kernels that are told there
over_arrays()             NumPy: the function itself, on whole arrays
kernels(device, folder)   for Numba: one loop for each, written out as one would by hand (`loops`)

The loops lie in the folder of compiled kernels, where a debugger can step through them. They are written rather than
built of closures because Numba keeps nothing on disk of what it compiles of those.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.kernels import formulas
from micrornn.kernels.module import module_of

HEAD = '''"""Generated from micrornn/kernels/formulas.py: an edit there makes another file."""

import math

import numpy as np

from micrornn.kernels.{device} import maths as m
from micrornn.kernels.{device}.elementwise import flat
'''
ON_CARD = "from micrornn.kernels.cuda.jit import cuda\n"
RANGE = {"cpu": "range({first}.size)", "cuda": "range(cuda.grid(1), {first}.size, cuda.gridsize(1))"}


class Formula:
    """A function of formulas.py, taken apart.

    arrays, options    what stands for the numbers of arrays; what is the same for all of them
    once, body         statements that need nothing but options; statements for each number
    typed              options and names of `once` that keep the type they are annotated with
    results            expressions; where they are names of arrays, they are written over these, else there is an `out`
    """

    def __init__(self, told: ast.FunctionDef):
        self.function, self.name = vars(formulas)[told.name], told.name
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
FORMULAS = {told.name: Formula(told) for told in _told}
NAMES = tuple(FORMULAS)


def over_arrays() -> dict[str, Callable[..., None]]:
    """name -> kernel(out, arrays..., options...), told by NumPy."""

    def lifted(formula: Formula) -> Callable[..., None]:
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

    return {name: lifted(formula) for name, formula in FORMULAS.items()}


def kernels(device: str, folder: Path) -> dict[str, Callable[..., None]]:
    """name -> kernel(out, arrays..., options...) of "cpu" or "cuda"."""
    module = module_of("elementwise", loops(device), folder)
    return {name: getattr(module, name) for name in NAMES}


def loops(device: str) -> str:
    """A module of kernels; `flat` of that device makes each callable with arrays of any number of axes."""
    head = HEAD.format(device=device) + (ON_CARD if device == "cuda" else "")
    return head + "".join(f"\n\n{loop(name, device)}" for name in NAMES)


def loop(name: str, device: str) -> str:
    """The text of one kernel."""
    formula = FORMULAS[name]
    first, numbers, once = formula.parameters[0], _Numbers(formula.arrays), list(map(ast.unparse, formula.once))
    each = [numbers.text(one) for one in formula.body]
    each += [f"{out}[i] = {numbers.text(one)}" for out, one in zip(formula.outs, formula.results)]
    body = [f"for i in {RANGE[device].format(first=first)}:", *("    " + line for line in each)]
    if device == "cpu":
        casts = [f"{one} = {first}.dtype.type({one})" for one in formula.read if one not in formula.typed]
        return "@flat\n" + _function(name, formula.parameters, [*once, *casts, *body])
    if not once:  # a card's kernel gets its options in the precision of the array already
        return "@flat\n" + _function(name, formula.parameters, body)
    given = [*formula.parameters[: -len(formula.options)], *formula.read]
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
