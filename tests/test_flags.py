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
from micrornn_cli.exits import Exit
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


@pytest.mark.parametrize(
    "words, told",
    [
        ("gradcheck --cell nothing", "--cell: there is no 'nothing'; choose one of all, rnn,"),
        ("train --cell lsmt", "--cell: there is no 'lsmt'; did you mean lstm?"),
        ("train --backprop nowhere", "no way 'nowhere' to propagate back; choose one of full, window[:K],"),
        ("inspect credits run", "No such command 'credits'; did you mean credit?"),
        ("gradcheck digit", "there is no run digit; did you mean --task digits?"),
        ("gradcheck gruu", "there is no run gruu; did you mean --cell gru?"),
        ("eval parity", "there is no run parity; it is a task, and `micrornn train parity` makes a run of it"),
        ("learn 4", "learn show 4`?"),
        ("recipe co2", "recipe show co2`?"),
        ("learn shwo 4", "No such command 'shwo'; choose one of check, show"),
        ("trian text.txt", "No such command 'trian'; did you mean train?"),
        ("train text --set eco=3", "the task text's own; it has none"),
        ("train series --set horizn=3", "the task series's own; did you mean horizon?"),
        ("train series wide.csv --target nothing", "there is no column 'nothing'; the table has 1 when, 2 column_1,"),
        ("train series wide.csv --set target=", "which is to be forecast?"),
    ],
)
def test_a_list_of_names_is_short_or_in_lines(words: str, told: str, micrornn) -> None:
    rows = [",".join(f"{n}.5" for n in range(60)) for _ in range(5)]
    names = ",".join(f"column_{n}" for n in range(1, 61))
    Path("wide.csv").write_text("\n".join([f"when,{names}", *(f"202{n}-01-01,{row}" for n, row in enumerate(rows))]))
    code, out, err = micrornn(*words.split())
    lines = err.strip().splitlines()
    assert code in (Exit.USAGE, Exit.DATA, Exit.CHECKPOINT) and told in err and not out, err
    assert max(map(len, lines)) <= 160 and len(lines[[line[:5] for line in lines].index("Error") :]) <= 6, err
