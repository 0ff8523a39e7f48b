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

FORMULAS = {name: one for name, one in vars(formulas).items() if inspect.isfunction(one)}
NAMES = tuple(FORMULAS)
LOOP = {"cpu": "range(out.size)", "cuda": "range(cuda.grid(1), out.size, cuda.gridsize(1))"}
HEAD = '''"""Generated from micrornn/kernels/formulas.py: an edit there makes another file."""

from micrornn.kernels.{device} import maths as m
from micrornn.kernels.{device}.elementwise import flat
from micrornn.kernels.{device}.jit import cuda
'''


def over_arrays() -> dict[str, Callable[..., None]]:
    """name -> kernel(out, arrays..., options...), told by NumPy."""

    def lifted(function: Callable[..., Any]) -> Callable[..., None]:
        arrays, options = _parameters(function)

        def kernel(out: np.ndarray, *given: Any) -> None:
            kind = out.dtype.type
            named = {name: kind(value) for name, value in zip(options, given[len(arrays) :])}
            with np.errstate(all="ignore"):
                out[...] = function(*given[: len(arrays)], **named)

        kernel.__name__ = kernel.__qualname__ = function.__name__
        kernel.__doc__ = function.__doc__
        names = ("out", *arrays, *options)
        kernel.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        )
        return kernel

    return {name: lifted(function) for name, function in FORMULAS.items()}


def kernels(device: str, folder: Path) -> dict[str, Callable[..., None]]:
    """name -> kernel(out, arrays..., options...) of "cpu" or "cuda"."""
    module = module_of("elementwise", loops(device), folder)
    return {name: getattr(module, name) for name in NAMES}


def loops(device: str) -> str:
    """A module of kernels; `flat` of that device makes each callable with arrays of any number of axes."""
    head = HEAD.format(device=device)
    if device == "cpu":
        head = head.replace("from micrornn.kernels.cpu.jit import cuda\n", "")
    return head + "".join(loop(name, device) for name in NAMES)


def _parameters(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """(what stands for the numbers of arrays, options)."""
    found = inspect.signature(function).parameters.values()
    options = [one.name for one in found if one.kind is one.KEYWORD_ONLY]
    return [one.name for one in found if one.name not in options], options


def loop(name: str, device: str) -> str:
    """The text of one kernel."""
    arrays, options = _parameters(FORMULAS[name])
    (told,) = (one for one in _page.body if isinstance(one, ast.FunctionDef) and one.name == name)
    last = told.body[-1]
    assert isinstance(last, ast.Return) and last.value is not None
    formula = ast.unparse(_Numbers(arrays).visit(ast.parse(ast.unparse(last.value), mode="eval")))
    # a card's kernel gets its options in the precision of the array already
    cast = "".join(f"    {one} = out.dtype.type({one})\n" for one in options) if device == "cpu" else ""
    head = f"\n\n@flat\ndef {name}({', '.join(['out', *arrays, *options])}):\n{cast}"
    return f"{head}    for i in {LOOP[device]}:\n        out[i] = {formula}\n"


class _Numbers(ast.NodeTransformer):
    """x becomes x[i], and m.where(c, a, b) becomes a if c else b."""

    def __init__(self, arrays: list[str]):
        self.arrays = arrays

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Subscript(node, ast.Name("i"), ast.Load()) if node.id in self.arrays else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "where":
            condition, a, b = node.args
            return ast.IfExp(condition, a, b)
        return node


_page = ast.parse(inspect.getsource(formulas))
