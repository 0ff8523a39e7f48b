"""What is typed is interpreted as it stands: empty words, -, ~, brackets; and what is wrong is named by its place."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import made_up

from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import find, located
from micrornn.errors import ConfigError, DataError
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

SMALL = ["--hidden-size", "8", "--batch-size", "2", "--num-steps", "8", "--threads", "1", "--num-updates", "2"]
TEXT = "".join(f"{n} doors in the long wall\n" for n in range(60))
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made_up("healthy", tmp_path_factory.mktemp("run")).path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a text."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "text.txt").write_text(TEXT)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return int(end.value.code or 0), out, err

    return call


# --- empty words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, code, told",
    [
        ("train _", Exit.DATA, "no such file or folder: ''"),
        ("train ../text.txt _", Exit.DATA, "no such file or folder: ''"),
        ("train --out _", Exit.USAGE, "--out is empty"),
        ("train text.txt --out=", Exit.USAGE, "--out is empty"),
        ("train --resume _", Exit.USAGE, "--resume is empty"),
        ("train text.txt --resume _ --num-updates 3", Exit.USAGE, "--resume is empty"),
        ("train --config _", Exit.USAGE, "--config is empty"),
        ("train text.txt --init-from _", Exit.USAGE, "--init-from is empty"),
        ("train ../text.txt --schedule _", Exit.USAGE, "no schedule ''"),
        ("sample _", Exit.USAGE, "RUN is empty"),
        ("eval _", Exit.USAGE, "RUN is empty"),
        ("eval RUN _", Exit.DATA, "no such file or folder: ''"),
        ("gradcheck _", Exit.USAGE, "RUN is empty"),
        ("inspect flow _", Exit.USAGE, "RUN is empty"),
        ("inspect credit RUN --text _", Exit.DATA, "no such file or folder: ''"),
        ("inspect flow RUN --save _", Exit.USAGE, "--save is empty"),
        ("inspect all RUN --html _", Exit.USAGE, "--html is empty"),
        ("inspect flow RUN --fail-on _", Exit.USAGE, "--fail-on is empty"),
        ("advise _", Exit.DATA, "no such file or folder: ''"),
        ("advise RUN --save _", Exit.USAGE, "--save is empty"),
    ],
)
def test_an_empty_word_is_nothing(words: str, code: int, told: str, call: Call, run: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(run)  # where an empty path would be a run, and a folder of texts
    before = sorted(run.rglob("*"))
    assert (run / "config.toml").exists()
    given = [{"_": "", "RUN": str(run)}.get(word, word) for word in words.split()]
    found, out, err = call(*given)
    assert (found, out) == (code, "") and told in err, err
    assert sorted(run.rglob("*")) == before


# --- standard input --------------------------------------------------------------------------------------------------


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    opened = []

    def stdin(text: str) -> None:
        """A pipe with this text in it."""
        reader, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)
        opened.append(os.fdopen(reader))
        monkeypatch.setattr("sys.stdin", opened[-1])

    yield stdin
    for file in opened:
        file.close()


def cached() -> list[str]:
    return os.listdir(Path(os.environ["MICRORNN_CACHE"], "streams"))


@pytest.mark.parametrize("name", ["-", "/dev/fd/N"])
def test_a_run_on_standard_input_can_be_resumed(name: str, here: Path, call: Call, stdin: Callable[[str], None],
                                                tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # the kernels of this process are where they were
    if name != "-" and not os.path.exists("/dev/fd"):
        pytest.skip("this system has no /dev/fd")
    if name == "-":
        stdin(TEXT)
    else:
        reader, writer = os.pipe()
        os.write(writer, TEXT.encode())
        os.close(writer)
        name = f"/dev/fd/{reader}"
    code, _, err = call("train", name, *SMALL, "--out", "run")
    assert code == 0, err
    assert (here / "run" / "text.txt").read_text() == TEXT and cached() == []
    assert RunFolder.open("run").config["files"] == [str(here / "run" / "text.txt")]
    monkeypatch.chdir(tmp_path)
    assert call("train", "--resume", here / "run", "--num-updates", "4")[0] == 0
    assert call("eval", here / "run")[0] == 0


def test_standard_input_is_read_by_all_that_reads_text(run: Path, here: Path, call: Call,
                                                       stdin: Callable[[str], None]) -> None:  # fmt: skip
    text = (run.parent / "text.txt").read_text()
    (here / "same.txt").write_text(text)
    wanted = call("eval", run, "same.txt", "--json")[1].replace("same.txt", "-")
    stdin(text)
    assert call("eval", run, "-", "--json")[:2] == (0, wanted)
    stdin(text)
    code, out, _ = call("inspect", "states", run, "--text", "-", "--json")
    assert code == 0 and '"-"' in out
    (here / "-").write_text(TEXT)
    assert call("train", "./-", *SMALL, "--out", "run")[0] == 0  # a file of this name


def test_what_standard_input_cannot_be(here: Path, call: Call, stdin: Callable[[str], None],
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    stdin("")
    code, _, err = call("train", "-", *SMALL)
    assert code == Exit.DATA and "empty" in err and "standard-input" in err
    monkeypatch.setattr("sys.stdin", None)
    assert call("train", "-", *SMALL)[0] == Exit.DATA
    monkeypatch.setattr("sys.stdin", io.StringIO("no file"))
    assert call("train", "-", *SMALL)[0] == Exit.DATA
    pty = pytest.importorskip("pty")
    _, terminal = pty.openpty()
    with open(terminal) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        code, _, err = call("train", "-", *SMALL)
    assert code == Exit.DATA and "a terminal; give a text, as in: cat book.txt | micrornn train -" in err
    os.mkfifo(here / "pipe")  # nobody writes into it: to open it would wait for ever
    code, _, err = call("train", "pipe", *SMALL)
    assert code == Exit.DATA and "micrornn train - < pipe" in err


# --- ~ and brackets --------------------------------------------------------------------------------------------------


def test_a_tilde_is_a_home_folder_wherever_a_path_is_given(here: Path, call: Call, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    home = tmp_path / "home"
    home.mkdir()
    (home / "book.txt").write_text(TEXT)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))  # else ~/.cache may appear in the folder looked at
    monkeypatch.setenv("HOME", str(home))
    assert call("train", "~/book.txt", *SMALL, "--out", "~/one")[0] == 0
    assert RunFolder.open(home / "one").config["files"] == [str(home / "book.txt")]
    monkeypatch.setenv("MICRORNN_OUT", "~/two")
    assert call("train", "~/*.txt", *SMALL)[0] == 0
    odd = tmp_path / "[home]"
    odd.mkdir()
    (odd / "t.txt").write_text(TEXT)
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(odd))
        assert find(["~/*.txt"]) == find(["~"]) == find([located("~/*.txt")]) == [odd / "t.txt"]
    monkeypatch.delenv("MICRORNN_OUT")
    (home / "c.toml").write_text('files = ["~/book.txt"]\nout = "~/three"\n')
    assert call("train", "--config", "~/c.toml", *SMALL, "--init-from", "~/one")[0] == 0
    config = home / "two" / "config.toml"
    config.write_text(config.read_text().replace(f"{home}/*.txt", "~/book.txt"))
    assert call("train", "--resume", "~/two", "--num-updates", "3")[0] == 0
    for words in (
        ["sample", "~/two"],
        ["eval", "~/two", "~/book.txt"],
        ["inspect", "flow", "~/two", "--text", "~/book.txt"],
    ):
        assert call(*words)[0] == 0
    assert sorted(path.name for path in home.iterdir()) == ["book.txt", "c.toml", "one", "three", "two"]
    assert [path.name for path in here.iterdir()] == ["text.txt"]


@pytest.mark.parametrize(
    "words, code",
    [
        ("train ~no-such-user/x", Exit.DATA), ("train text.txt --out ~no-such-user/x", Exit.USAGE),
        ("train --resume ~no-such-user/x", Exit.USAGE), ("train --config ~no-such-user/x", Exit.USAGE),
        ("train text.txt --config c.toml", Exit.USAGE), ("train text.txt --init-from ~no-such-user/x", Exit.USAGE),
        ("sample ~no-such-user/x", Exit.USAGE), ("eval RUN ~no-such-user/x", Exit.DATA),
        ("inspect flow RUN --text ~no-such-user/x", Exit.DATA), ("inspect flow RUN --save ~no-such-user/x", Exit.USAGE),
        ("advise ~no-such-user/x", Exit.USAGE),
    ],
)  # fmt: skip
def test_a_user_who_is_not_there(words: str, code: int, here: Path, run: Path, call: Call) -> None:
    (here / "c.toml").write_text('out = "~no-such-user/x"')
    found, _, err = call(*[str(run) if word == "RUN" else word for word in words.split()])
    assert found == code and "there is no user 'no-such-user'" in err and not list(here.glob("~*")), err


@pytest.mark.parametrize("folder", ["[old]", "a*b?", "{x} [!y]", "[", "~draft"])
def test_folders_whose_names_are_patterns(
    folder: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / folder
    inside.mkdir()
    (tmp_path / "o").mkdir()  # which [old] matches, as a pattern
    (tmp_path / "o" / "one.txt").write_text("not this")
    (inside / "one.txt").write_text(TEXT)
    (inside / "t[1].txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    assert find([folder]) == [Path(folder, "one.txt"), Path(folder, "t[1].txt")]
    monkeypatch.chdir(inside)
    assert find(["t[1].txt"]) == [Path("t[1].txt")]
    elsewhere = {name: located(name) for name in ("one.txt", "t[1].txt", "*.txt", "t[[]1].txt", ".")}
    found = {name: [path.name for path in find([name])] for name in elsewhere}
    monkeypatch.chdir("/")
    assert {name: [path.name for path in find([where])] for name, where in elsewhere.items()} == found
    monkeypatch.chdir(inside)
    if folder == "[old]":
        assert call("train", "*.txt", *SMALL, "--out", "[run]")[0] == 0
        monkeypatch.chdir(tmp_path)
        code, _, err = call("train", "--resume", inside / "[run]", "--num-updates", "3")
        assert code == 0 and "[run]" in err


def test_names_are_looked_up_as_they_were_typed(here: Path, call: Call) -> None:
    (here / "https:").mkdir()
    (here / "https:" / "x").write_text(TEXT)
    (here / "far").symlink_to(here.parent)
    (here.parent / "beside.txt").write_text(TEXT)
    assert located("far/beside.txt") == f"{here}/far/beside.txt"
    up = f"far/../{here.parent.name}/here/text.txt"  # .. is what lies above the folder that the link leads to
    assert located(up) == f"{here}/{up}"
    for name in ("a\0b", "~a\0b", "", " ", "text.txt ", "https://nowhere", "no/../text.txt", "*.md"):
        with pytest.raises(DataError):
            located(name)
    assert call("train", "no/../text.txt", *SMALL)[0] == Exit.DATA


# --- where a mistake stands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "toml, variables, flags, told",
    [
        ("batch_size = 2.5", {}, [], "--config c.toml: batch_size must be a whole number, not 2.5"),
        ('lr = "fast"', {}, [], "--config c.toml: lr must be a number, not 'fast'"),
        ("dropout = 1.0", {}, [], "--config c.toml: dropout is 1.0; it must be"),
        ('cell = "lsmt"', {}, [], "--config c.toml: cell: there is no 'lsmt'"),
        ('memory_budget = "lots"', {}, [], "--config c.toml: memory_budget is 'lots'"),
        ("hiden_size = 3", {}, [], "--config c.toml has no setting 'hiden_size'; did you mean hidden_size?"),
        ("files = [1]", {}, [], "--config c.toml: files must be"),
        ('out = ""', {}, [], "--config c.toml: out is empty"),
        ('out = "a\\u0000b"', {}, [], "no path has a NUL"),
        ("", {"NUM_STEPS": "many"}, [], "MICRORNN_NUM_STEPS must be a whole number, not 'many'"),
        ("", {"CLIP_NORM": "-1"}, [], "MICRORNN_CLIP_NORM is -1.0; it must be 0 or more"),
        ("", {"CELL": "transformer"}, [], "MICRORNN_CELL: there is no 'transformer'"),
        ("", {"MEMORY_BUDGET": "2 XB"}, [], "MICRORNN_MEMORY_BUDGET is '2 XB'"),
        ("", {"BIDIRECTIONAL": "perhaps"}, [], "MICRORNN_BIDIRECTIONAL"),
        ("", {"OUT": "~no-such-user"}, [], "MICRORNN_OUT: '~no-such-user'"),
        ("num_layers = 2", {"NUM_LAYERS": "3"}, ["--num-layers", "0"], "--num-layers is 0"),
    ],
)
def test_a_mistake_is_blamed_on_where_it_stands(toml: str, variables: dict[str, str], flags: list[str], told: str,
                                                here: Path, call: Call,
                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    (here / "c.toml").write_text(toml)
    for name, value in variables.items():
        monkeypatch.setenv(f"MICRORNN_{name}", value)
    code, _, err = call("train", "text.txt", "--config", "c.toml", *flags)
    assert code == Exit.USAGE and told in " ".join(err.split()), err
    assert ("--config" in err) == bool(toml and not flags) and [path.name for path in here.glob("r*")] == []


def test_the_library_blames_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"^notes.toml: lr is -1.0"):
        Config.from_dict({"lr": -1}, "notes.toml")


def test_variables_that_nothing_reads_are_told(here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MICRORNN_HIDEN_SIZE", "MICRORNN_COLOUR", "micrornn_lr", "MICRORNN_TEST_KILLS", "MICRORNN_BATCH_SIZE"):
        monkeypatch.setenv(name, "2")
    _, _, err = call("info")
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    assert notes == [
        "Note: MICRORNN_COLOUR is no variable of micrornn",
        "Note: MICRORNN_HIDEN_SIZE is no variable of micrornn; did you mean MICRORNN_HIDDEN_SIZE?",
    ]
