"""The library names settings as Python has them; the command line makes flags of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from micrornn import tasks
from micrornn.compare.vary import axes
from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn_cli.flags import flags, typed
from micrornn_cli.main import COMMANDS, cli

LIBRARY = Path(__file__).parents[1] / "micrornn"
FLAG = re.compile(r"(?<![\w-])--[a-z]")
CODE = re.compile(r"^(from|import) ", re.MULTILINE)  # of a kernel that is written out
NAMED = re.compile(r"`([a-z][a-z_0-9]*)(?:=[^`]*)?`")


@cache
def strings() -> list[tuple[str, str, bool]]:
    """(where, a string of the library, whether it is told to anybody: docstrings are not)."""
    return list(_strings())


def _strings() -> Iterator[tuple[str, str, bool]]:
    for path in sorted(LIBRARY.rglob("*.py")):
        if path.parent.name == "learn":  # which speaks of Python: `return`
            continue
        tree = ast.parse(path.read_text("utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
                yield f"{path.name}:{node.lineno}", "".join(map(str, parts)), True
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                told = id(node) not in docs and not CODE.search(node.value)
                yield f"{path.name}:{node.lineno}", node.value, told


def known() -> set[str]:
    """What may stand behind -- somewhere."""
    names = {entry for name in tasks.names() for entry in tasks.find(name).Settings.__dataclass_fields__}
    left = [cli.get_command(click.Context(cli), name) for name in COMMANDS]
    for command in left:
        assert command is not None
        names |= {str(option)[2:].replace("-", "_") for one in command.params for option in one.opts}
        if isinstance(command, click.Group):
            inner = click.Context(command)
            left += [command.get_command(inner, name) for name in command.list_commands(inner)]
    return names


def test_no_string_of_the_library_holds_a_flag() -> None:
    others = ('style="--', "--vectorize-memory-check")  # of a page, of LLVM
    there = [(where, text) for where, text, _ in strings() if FLAG.search(text)]
    assert not [found for found in there if not any(other in found[1] for other in others)]


def test_what_stands_in_backticks_is_a_setting() -> None:
    """A slip in its name would make a flag that there is not."""
    names = known() | {"X"}
    wrong = {(where, name) for where, text, told in strings() if told for name in NAMED.findall(text)}
    assert not {(where, name) for where, name in wrong if name not in names}


@pytest.mark.parametrize(
    "wrong, python, shell",
    [
        (lambda: Config(hidden_size=0), "`hidden_size` is 0; it must be 1", "--hidden-size is 0; it must be 1"),
        (lambda: Config(memory_budget="1 bushel"), "`memory_budget` is '1 bushel'", "--memory-budget is '1 bushel'"),
        (lambda: Config(backprop="5,10", num_steps=7), "`backprop=5,10` takes", "--backprop 5,10 takes"),
        (lambda: axes(["lr:"], Config), "`vary=lr` has no values", "--vary lr has no values"),
        (lambda: tasks.find("sine").Settings(low=-1), "`low` is -1", "--low is -1"),
    ],
)
def test_python_reads_settings_and_the_shell_flags(wrong, python: str, shell: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert python in str(caught.value) and shell in flags(str(caught.value)), caught.value


@pytest.mark.parametrize(
    "text, told",
    [
        ("lower `lr`, or take `cell=lstm`.", "lower --lr, or take --cell lstm."),
        ("(`val_fraction=0`) `micrornn advise` says", "(--val-fraction 0) `micrornn advise` says"),
        ("there is no '`lr`' and no a`lr`b; compute it in `with tape:`", None),
    ],
)
def test_what_is_a_setting_and_what_is_not(text: str, told: str | None) -> None:
    assert flags(text) == (told or text) and len(flags(text)) == len(text)  # so that columns stay where they are


def test_what_is_typed_gives_the_same_settings() -> None:
    values = {"lr": 0.0061234567, "clip_norm": 5.0, "tied": True, "bidirectional": False, "cell": "gru", "echo": 3}
    assert typed(values) == ["--lr", "0.0061234567", "--clip-norm", "5", "--tied", "--no-bidirectional",
                             "--cell", "gru", "--set", "echo=3"]  # fmt: skip
