"""The library names settings as Python has them; the command line makes flags of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from micrornn import tasks
from micrornn.compare.vary import axes
from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn_cli.flags import flags, typed

LIBRARY = Path(__file__).parents[1] / "micrornn"
FLAG = re.compile(r"(?<![\w-])--[a-z]")


def test_no_string_of_the_library_holds_a_flag() -> None:
    """That there is a flag for each setting that is named, test_advice.py looks at."""
    others = ('style="--', "--vectorize-memory-check")  # of a page, of LLVM
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and FLAG.search(node.value):
                assert any(other in node.value for other in others), f"{path.name}:{node.lineno}: {node.value}"


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
