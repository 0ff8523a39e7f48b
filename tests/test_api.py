"""What `import micrornn` offers: the names, their docstrings, and the examples in them."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from types import FunctionType, GenericAlias, ModuleType

import pytest

import micrornn as mr
from micrornn.tape import OPS, Op, Record

NAMES = (
    "Config", "Dropout", "Embedding", "Flat", "GRU", "LSTM", "Linear", "Module", "Parameter", "RNN", "Recurrent",
    "Tape", "Tensor", "Training", "gradcheck", "inspect", "load", "load_weights", "no_tape", "op", "ops", "optim",
    "save_weights", "stamp", "state_gradients", "tasks", "unroll",
)  # fmt: skip
SHAPES = ("(", "float32", "seq_len")  # how a docstring says what goes in and comes out


def test_the_names_are_these_and_the_ops() -> None:
    """A name that goes would break somebody's code; one that comes is a promise."""
    assert set(dir(mr)) == {"__version__", *NAMES, *mr.ops.__all__}
    assert {name for name, op in OPS.items() if op.forward.__module__.startswith("micrornn.ops")} <= set(dir(mr))


@pytest.mark.parametrize(
    "module",
    ["optim", "tasks", "inspect", "ops", "bptt", "cells", "checkpoint", "data", "learn", "parameters", "recipes"],
)
def test_a_module_shows_what_it_offers_and_nothing_else(module: str) -> None:
    """Tab completion reads dir(): what a file imports for itself is of no use to anybody there."""
    found = importlib.import_module(f"micrornn.{module}")
    names = dir(found)
    assert len(names) > 3 and not any(name.startswith("_") for name in names)
    for name in names:
        value = getattr(found, name)
        if isinstance(value, ModuleType | FunctionType | type) and not isinstance(value, GenericAlias):
            home = value.__name__ if isinstance(value, ModuleType) else value.__module__
            assert home.startswith("micrornn") and value.__doc__, name


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_docstring_whose_example_runs(name: str) -> None:
    found = getattr(mr, name)
    assert found.__doc__
    if isinstance(found, ModuleType):
        return
    assert any(word in found.__doc__ for word in SHAPES)
    namespace = dict(vars(sys.modules[found.__module__]))
    examples = doctest.DocTestFinder(recurse=False).find(found, name, globs=namespace)
    assert sum(len(test.examples) for test in examples) >= 1, f"mr.{name} has no example"
    runner = doctest.DocTestRunner(verbose=False)
    for test in examples:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", mr.ops.__all__)
def test_each_op_has_its_formula(name: str) -> None:
    found = getattr(mr, name)
    assert found.__doc__
    assert "=" in found.__doc__ or not isinstance(found, Op)


@pytest.mark.parametrize("module", ["micrornn", "micrornn.layers", "micrornn.optim", "micrornn.runs"])
def test_the_examples_of_files_run(module: str) -> None:
    __import__(module)
    assert doctest.testmod(sys.modules[module]).failed == 0


def test_the_glossary_has_each_name_and_no_other() -> None:
    text = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    said = [name for row in rows for name in re.findall(r"`mr\.(\w+)`", row)]
    assert sorted(said) == sorted(NAMES), "docs/glossary.md, The library, does not list what `import micrornn` offers"


def test_a_word_of_the_glossary_in_code_type_is_a_name_of_the_code() -> None:
    text = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text("utf-8")
    known = {entry.name for entry in dataclasses.fields(mr.Config)} | set(signature(mr.Recurrent.__init__).parameters)
    known |= {
        *signature(mr.Tape.backward).parameters,
        *mr.Tensor.__slots__,
        *Record.__slots__,
        *mr.LSTM(1, 1).cell.parameters,
        "seq_len",
    }
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    words = {word for row in rows for word in re.findall(r"`([\w.]+)`", row) if not word.startswith("mr.")}
    assert len(words) > 8 and words <= known


def test_no_file_has_the_name_of_an_op() -> None:
    """Once imported it would stand in the place of the op: `mr.dropout` would be a module."""
    files = {path.stem for path in (Path(mr.__file__).parent).glob("*.py")}
    assert not files & {*mr.ops.__all__, *NAMES} - {"gradcheck", "ops", "optim", "inspect", "tasks"}


def test_the_import_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import micrornn; from micrornn import folders"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not imported & {"numpy", "numba"}


def test_what_is_not_there_is_said_in_pythons_way() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        mr.nothing  # noqa: B018
    assert hasattr(mr, "gradcheck") and callable(mr.gradcheck)
    from micrornn.gradcheck import projected  # whoever imports the file leaves the name callable

    assert callable(mr.gradcheck) and projected
