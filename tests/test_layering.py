"""The order of the house: a file of micrornn/ imports only what stands above it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A new file or folder of micrornn/ gets its place here. Each may import what stands before it, and a folder's
# files one another.
HOUSE = (
    "__init__",
    "errors",
    "calls",
    "printable",
    "schema",
    "folders",
    "student",
    "owncode",
    "backprop",
    "setting",
    "config",
    "pool",
    "device",
    "kernels",
    "operators",
    "arguments",
    "marks",
    "cotangents",
    "active",
    "tape",
    "ops",
    "dropmask",
    "initializers",
    "parameters",
    "cells",
    "recurrent",
    "stepwise",
    "layers",
    "attention",
    "decoding",
    "optim",
    "initial",
    "gradcheck",
    "tapeview",
    "data",
    "checkpoint",
    "weights",
    "windows",
    "finite",
    "sampling",
    "evaluate",
    "tasks",
    "snapshot",
    "runs",
    "inspect",
    "recompute",
    "bptt",
    "startfrom",
    "divergence",
    "reports",
    "keeping",
    "train",
    "resume",
    "brief",
    "advise",
    "compare",
    "checks",
    "warmup",
    "bench",
    "recipes",
    "learn",
    "report",
)

# What may import less than its place allows: reading text and writing files has nothing to do with networks.
ESSENTIALS = {"errors", "printable", "schema", "folders", "student", "backprop", "setting", "config"}
ONLY = {"data": ESSENTIALS, "checkpoint": ESSENTIALS}

# Packages from outside, and where they may be imported. NumPy may be everywhere.
OUTSIDE = {
    "numpy": HOUSE, "numba": ("kernels",), "llvmlite": ("kernels",), "matplotlib": ("report",), "plotly": ("report",),
    "joblib": ("compare",), "distributed": ("compare",), "ray": ("compare",),
}  # fmt: skip

FILES = sorted((ROOT / "micrornn").rglob("*.py"))
CLI = sorted((ROOT / "cli").rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a file, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from micrornn import kernels` imports micrornn.kernels
            below = [f"{module}.{alias.name}" for alias in node.names] if module == "micrornn" else [module]
            yield from ((node.lineno, name) for name in below)


def place_of(path: Path) -> str:
    return path.relative_to(ROOT / "micrornn").parts[0].removesuffix(".py")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def check(path: Path, place: str) -> list[str]:
    """What a file at this place imports and must not."""
    assert place in HOUSE, (
        f"micrornn/{place} has no place in the house: enter it in HOUSE in tests/test_layering.py, "
        "behind everything that it imports and before everything that imports it"
    )
    above = HOUSE[: HOUSE.index(place)]
    allowed = ONLY.get(place, set(above)) | {place}
    wrong = []
    for line, name in imports(path):
        top, *rest = name.split(".")
        if top == "micrornn" and place != "__init__":  # the face of the house offers all of it
            if not rest or rest[0] not in allowed:
                reason = "stands below" if rest and rest[0] not in above else "is none of its business"
                wrong.append(f"{ids(path)}:{line} imports {name}, which {reason}")
        elif top == "":
            wrong.append(f"{ids(path)}:{line} imports relatively; write the whole name")
        elif top not in {"micrornn", *sys.stdlib_module_names} and place not in OUTSIDE.get(top, ()):
            wrong.append(f"{ids(path)}:{line} imports {top}, which may not be imported here")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_file_imports_only_what_stands_above_it(path: Path) -> None:
    assert not check(path, place_of(path))


def test_every_place_is_taken() -> None:
    assert set(HOUSE) == {place_of(path) for path in FILES}, "HOUSE in tests/test_layering.py names what is not there"


@pytest.mark.parametrize("path", CLI, ids=ids)
def test_the_command_line_imports_the_library_and_its_dependencies(path: Path) -> None:
    outside = {name.split(".")[0] for _, name in imports(path)} - sys.stdlib_module_names
    assert outside <= {"micrornn", "micrornn_cli", "click", "rich", "numpy", "numba"}


def test_cli_itself_is_no_package() -> None:
    assert not (ROOT / "cli" / "__init__.py").exists()


@pytest.mark.parametrize(
    "text, place, reason",
    [
        ("import micrornn.ops", "tape", "micrornn.ops, which stands below"),
        ("from micrornn import train", "optim", "micrornn.train, which stands below"),
        ("def f():\n    from micrornn.recurrent import Recurrent", "kernels", "f.py:2 imports micrornn.rec"),
        ("from micrornn.tape import Tape", "data", "none of its business"),
        ("from . import tape", "ops", "relatively"),
        ("import click", "train", "click"),
        ("from rich.table import Table", "config", "rich"),
        ("from micrornn_cli import main", "train", "micrornn_cli"),
        ("import numba", "ops", "numba"),
    ],
)  # fmt: skip
def test_the_test_itself(text: str, place: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "f.py"
    path.write_text(text)
    (message,) = check(path, place)
    assert reason in message
    with pytest.raises(AssertionError, match=r"new_idea has no place.*HOUSE in tests/test_layering.py"):
        check(path, "new_idea")
