"""What stands where in the reader's file, read from its syntax tree.

lines_of   the line of each name
missing    what is said of a name that is not there: another one that is meant, or one that nobody outside can see
of_none    what is said of a None that something was done with: which function has no `return`
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from difflib import get_close_matches

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = FUNCTIONS | ast.ClassDef


def lines_of(tree: ast.Module) -> dict[str, int]:
    """The line where each name of the file is defined or imported, the last one if there are several."""
    found: dict[str, int] = {}
    for node in tree.body:
        for inner in [node] if isinstance(node, DEFINITIONS) else ast.walk(node):
            if isinstance(inner, DEFINITIONS):
                found[inner.name] = inner.lineno
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                found[inner.id] = inner.lineno
            elif isinstance(inner, ast.alias):
                found[inner.asname or inner.name] = inner.lineno
    return found


def missing(tree: ast.Module, name: str, lines: dict[str, int]) -> str:
    """Where the name stands inside of another definition; else one that is spelled nearly so; else nothing."""
    for outer in ast.walk(tree):
        if isinstance(outer, DEFINITIONS):
            for inner in ast.walk(outer):
                if inner is not outer and isinstance(inner, DEFINITIONS) and inner.name == name:
                    return f"; line {inner.lineno} defines one inside of {outer.name}, where nobody else sees it"
    for near in get_close_matches(name, lines, 1, 0.75):
        return f"; line {lines[near]} defines {near}: is that it?"
    return ""


def of_none(tree: ast.Module, line: int | None) -> str:
    """The functions without `return` that are called around the line."""
    around = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS) and line and _holds(node, line)]
    within: ast.AST = around[-1] if around else tree
    called = {
        node.func.id for node in ast.walk(within) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, FUNCTIONS) and node.name in called and not any(_gives(node)):
            return f"; {node.name}, line {node.lineno}, ends without `return` and so gives None"
    return "; something is None here: a function that ends without `return` gives that"


def _holds(node: ast.AST, line: int) -> bool:
    return getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", None) or 0)


def _gives(function: ast.AST) -> Iterator[bool]:
    """For each return and yield of this function itself: whether it gives a value."""
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.Return):
            yield node.value is not None
        elif isinstance(node, ast.Yield | ast.YieldFrom):
            yield True
        elif not isinstance(node, DEFINITIONS | ast.Lambda):
            yield from _gives(node)
