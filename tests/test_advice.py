"""What an error or a screen tells people to do works: each advice is followed, as far as a machine can follow it."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from made_up_runs import made_up

from micrornn import tasks
from micrornn.inspect.register import names
from micrornn_cli.exits import Exit
from micrornn_cli.flags import flags
from micrornn_cli.main import COMMANDS, cli, main

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"^(from|import) ", re.MULTILINE)  # of a kernel that is written out
SMALL = "--hidden-size 8 --embedding-size 8 --batch-size 2 --num-steps 8 --threads 1 --num-updates 3"
TEXT = "".join(f"{n} doors in the long wall, and no more\n" for n in range(80))
Call = Callable[[str], tuple[int, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text and a run on it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(words: str) -> tuple[int, str]:
        """The exit code of a command, written as in a shell, and all that it told."""
        with pytest.raises(SystemExit) as end:
            main(shlex.split(words.replace("SMALL", SMALL)))
        out, err = capfd.readouterr()
        return int(end.value.code or 0), out + err

    return call


def commands_in(told: str) -> list[str]:
    """The commands that stand in a message: from `micrornn` to the end of the line, a comma or what explains it."""
    found = re.findall(r"micrornn ((?:train|sample|eval|inspect|advise|warmup|info) [^\n`]*)", told)
    return [re.split(r", or| {3,}|, and\b", words)[0].strip(" .,;") for words in found]


# before, what goes wrong, its exit code, what the message has to name, what it advises
ADVICE: dict[str, tuple[list[str], str, int, str, list[str]]] = {
    "a folder that has a run": (
        ["train text.txt SMALL --out run"], "train text.txt SMALL --out run", Exit.CHECKPOINT, "Use --resume run",
        ["train --resume run --num-updates 4", "train text.txt SMALL --out another"],
    ),
    "a text that is too short": (
        [], "train short.txt --out run --batch-size 32 --num-steps 64", Exit.DATA, "--batch-size or --num-steps",
        ["train short.txt text.txt SMALL --out more", "train short.txt SMALL --val-fraction 0 --out less"],
    ),
    "nothing held out": (
        ["train text.txt SMALL --val-fraction 0 --out run"], "eval run", Exit.USAGE, "Name FILES",
        ["eval run text.txt"],
    ),
    "sizes beside a run": (
        ["train text.txt SMALL --out run"], "advise run --lr 0.1", Exit.USAGE, "leave --lr out", [],
    ),
    "a setting that cannot change": (
        ["train text.txt SMALL --out run"], "train --resume run --hidden-size 9", Exit.USAGE, "--num-updates",
        ["train --resume run --num-updates 5"],
    ),
    "words without spaces": (
        [], "train unspaced.txt SMALL --level word --out run", Exit.DATA, "use --level char",
        ["train unspaced.txt SMALL --level char --out run"],
    ),
    "an empty out": ([], "train text.txt --out ''", Exit.USAGE, "leave it out", ["train text.txt SMALL"]),
    "ties of two sizes": (
        [], "train text.txt SMALL --tied --embedding-size 4 --out run", Exit.USAGE, "the same",
        ["train text.txt SMALL --tied --out run"],
    ),
    "a prompt of new symbols": (
        ["train text.txt SMALL --out run"], "sample run --prompt Ω", Exit.DATA, "--unseen skip",
        ["sample run --prompt Ωd --unseen skip --length 5"],
    ),
    "a text of new symbols": (
        ["train text.txt SMALL --out run"], "eval run other.txt", Exit.DATA, "--unseen skip",
        ["eval run other.txt --unseen skip"],
    ),
    "a glob of nothing": ([], "train '*.md' SMALL", Exit.DATA, "'**' goes into folders", ["train '**/*.txt' SMALL"]),
    "a figure of another kind": (
        ["train text.txt SMALL --out run"], "inspect flow run --save f.pdf", Exit.USAGE, ".png or an .svg",
        ["inspect flow run --save f.svg"],
    ),
    "too much memory": (
        [], "train text.txt SMALL --hidden-size 65536 --num-layers 64 --out run", Exit.USAGE, "lower --hidden-size",
        ["train text.txt SMALL --out run"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADVICE)
def test_an_advice_is_followed(name: str, here: Path, call: Call) -> None:
    (here / "short.txt").write_text(TEXT[:300])
    (here / "unspaced.txt").write_text("いろはにほへとちりぬるを" * 60)
    (here / "other.txt").write_text(TEXT.replace("door", "δoor"))
    before, wrong, code, named, advised = ADVICE[name]
    for words in before:
        assert call(words)[0] == 0
    found, told = call(wrong)
    assert found == code and named in told, told
    for words in advised:
        found, told = call(words)
        assert found == 0, (words, told)


def test_the_commands_at_the_end_of_training(here: Path, call: Call) -> None:
    code, told = call("train text.txt SMALL --out 'my run'")
    commands = commands_in(told)
    assert code == 0 and len(commands) >= 3, told
    assert {words.split()[0] for words in commands} >= {"sample", "eval", "train"}
    for words in commands:
        code, told = call(words)
        assert code == 0, (words, told)


def test_a_run_that_diverged_goes_on_as_it_is_told(here: Path, call: Call) -> None:
    wild = "--cell rnn_relu --lr 1e9 --clip-norm 0 --num-updates 60 --val-every 1"
    code, told = call(f"train text.txt SMALL {wild} --out run")
    commands = commands_in(told)
    assert code == Exit.DIVERGED and commands, told
    for words in commands:
        code, told = call(f"{words} --num-updates 2")
        assert code == 0, (words, told)


def test_a_text_that_was_moved(here: Path, call: Call) -> None:
    assert call("train text.txt SMALL --out run")[0] == 0
    (here / "text.txt").rename(here / "book.txt")
    code, told = call("train --resume run --num-updates 4")
    (words,) = commands_in(told)
    assert code == Exit.DATA and words.endswith("FILES"), told
    assert call(words.replace("FILES", "book.txt --num-updates 4"))[0] == 0
    (here / "book.txt").rename(here / "tome.txt")
    code, told = call("inspect credit run")
    assert code == Exit.DATA and "--text FILE" in told
    assert call("inspect credit run --text tome.txt")[0] == 0
    assert call("eval run")[0] == Exit.DATA and call("eval run tome.txt")[0] == 0


@pytest.mark.parametrize(
    "content",
    [
        ("Füße über Äcker – „schön“, sagt er.\n" * 40).encode("cp1252"),
        ("Привет, мир! Как дела сегодня?\n" * 40).encode("cp1251"),
        ("ein Text\n" * 40).encode("utf-16"),
        ("größer als früher\n" * 20).encode() + b"caf\xe9\n" + ("über Äcker\n" * 20).encode(),
        ("Ende größer\n" * 40).encode()[:-3] + b"\xc3",
    ],
    ids=["cp1252", "cp1251", "utf-16", "stray byte", "cut"],
)
def test_an_encoding(content: bytes, here: Path, call: Call) -> None:
    (here / "t.txt").write_bytes(content)
    code, told = call("train t.txt SMALL --out run")
    assert code == Exit.DATA, told
    encodings, lines = re.findall(r"--encoding ([\w-]+)", told), re.findall(r"^ *(iconv .*)$", told, re.M)
    assert encodings or lines, told
    for n, name in enumerate(encodings):
        code, told = call(f"train t.txt SMALL --encoding {name} --out e{n}")
        assert code == 0, told
    for n, line in enumerate(lines):
        done = subprocess.run(["sh", "-c", line], cwd=here, capture_output=True, text=True)
        assert (here / "utf8.txt").stat().st_size, done.stderr  # iconv -c ends with 1 where it left something out
        code, told = call(f"train utf8.txt SMALL --out i{n}")
        assert code == 0, told


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
def test_a_pipe_as_standard_input(here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    os.mkfifo(here / "a pipe")
    code, told = call("train 'a pipe' SMALL")
    (words,) = commands_in(told)
    command, _, pipe = words.partition(" < ")
    assert code == Exit.DATA and command == "train -" and shlex.split(pipe) == ["a pipe"]
    writer = threading.Thread(target=lambda: (here / "a pipe").write_text(TEXT))
    writer.start()
    with open("a pipe") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert call(f"{command} SMALL --out run")[0] == 0
    writer.join()


def test_a_card_that_is_not_there(here: Path, call: Call) -> None:
    from micrornn import device

    if device.available("cuda") is None:
        pytest.skip("there is one, or its simulator")
    code, told = call("train text.txt SMALL --device cuda")
    assert code == Exit.DEVICE and "--device cpu" in told
    assert call("train text.txt SMALL --device cpu")[0] == 0


def test_measures_that_a_verdict_points_to(tmp_path: Path, call: Call) -> None:
    """`micrornn inspect flow` says which: without more words, they are asked of the same run."""
    pointed = 0
    for kind in ("vanishing", "exploding", "saturated"):
        run = made_up(kind, tmp_path / kind).path
        told = call(f"inspect flow {run}")[1] + call(f"inspect credit {run}")[1]
        for name in set(re.findall(r"micrornn inspect (\w+)", told)):
            code, told = call(f"inspect {name} {run}")
            assert (name in names() and code == 0) or (name, code) == ("nonfinite", Exit.DIVERGED), told
            pointed += 1
    assert pointed


# --- what stands in the sources ---------------------------------------------------------------------------------------


@cache
def words_of_the_sources() -> list[tuple[str, str]]:
    """(file:line, text) of every string in the sources; settings that a message names are flags, as on a screen."""
    found = []
    for path in sorted([*(ROOT / "micrornn").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value if id(node) in docs or CODE.search(node.value) else flags(node.value)
                found.append((f"{path.relative_to(ROOT)}:{node.lineno}", text))
    return found


def every_command(group: click.Group = cli) -> Iterator[click.Command]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield command
            if isinstance(command, click.Group):
                yield from every_command(command)


def test_every_flag_that_is_named_exists() -> None:
    there = {"--help", "--version", "--upgrade", "--flag", "--no-flag"}  # pip's, and one that stands for any
    for command in every_command():
        for parameter in command.params:
            there |= {*parameter.opts, *parameter.secondary_opts}
    for task in map(tasks.find, tasks.names()):
        there |= {"--" + name.replace("_", "-") for name in task.Settings().to_dict()}
    there |= {"--vectorize-memory-check-threshold", "--return"}  # LLVM's; a word of Python
    one = re.compile(r"(?<![\w-])--[a-z][a-z-]+[a-z]")
    named = [(at, flag) for at, text in words_of_the_sources() for flag in one.findall(text)]
    assert len(named) > 200
    assert not {(at, flag) for at, flag in named if flag not in there}


def test_every_command_and_extra_that_is_named_exists() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = extras = 0
    for at, text in words_of_the_sources():
        for name in re.findall(r"`micrornn ([a-z]+)", text):
            assert name in (*COMMANDS, "checkpoint"), at  # the line that a checkpoint begins with
            commands += 1
        for name in re.findall(r"`micrornn inspect ([a-z]+)", text):
            assert name in names() or name == "diagnosis", at
        for name, extra in re.findall(r"pip install (?:--upgrade )?'?([a-z]+)(?:\[(\w+)\])?'?", text):
            assert name in (project["name"], "numba"), at  # numba-cuda is numba's
            assert not extra or extra in project["optional-dependencies"], at
            extras += bool(extra)
    assert commands > 20 and extras > 2
