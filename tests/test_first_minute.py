"""What `micrornn train` shows: it fits, it leaves no remains, it changes nothing in training, and it is true."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from micrornn.checkpoint import load
from micrornn.config import Config
from micrornn.data import Vocab, tokenize
from micrornn.errors import DivergedError
from micrornn.printable import cells
from micrornn.sampling import sample, typical
from micrornn.tasks.text import LanguageModel
from micrornn.train import Training, run
from micrornn_cli import console, curve, ending, progress, waiting
from micrornn_cli.main import main

TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(300, 0, -1))
SIZES = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "num_steps": 8, "threads": 1}
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def training(text: Path, **settings: Any) -> Training:
    config = Config(**(SIZES | {"num_updates": 60, "val_every": 20, "dropout": 0.2} | settings))
    return Training(config, tokenize([text], config.level, text.parent / "cache"))


def micrornn(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(list(map(str, arguments)))
    return int(done.value.code or 0), *capsys.readouterr()


class Terminal(io.StringIO):
    """A terminal of one width that understands \\r, \\n and the few sequences that move the cursor and erase."""

    def screen(self, width: int) -> list[str]:
        rows, row, column = [""], 0, 0
        for control, code, plain in re.findall(r"\x1b\[([?0-9;]*)([A-Za-z])|([^\x1b])", self.getvalue()):
            if code == "A":
                row -= int(control or 1)
            elif code == "K":
                rows[row] = rows[row][:column] if control in ("", "0") else ""
            elif plain == "\r":
                column = 0
            elif plain == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif plain:
                assert column < width, f"{rows[row]!r} is too long"
                rows[row] = rows[row][:column].ljust(column) + plain + rows[row][column + 1 :]
                column += 1
        return rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stderr as a terminal of 80 columns, on which everything that may be shown is shown at every update."""
    screen = Terminal()
    err = Console(file=screen, force_terminal=True, width=80, height=40, highlight=False, legacy_windows=False)
    for module in (console, progress):
        monkeypatch.setattr(module, "err", err)
    for name in ("REFRESH_SECONDS", "CURVE_SECONDS", "SAMPLE_SECONDS"):
        monkeypatch.setattr(progress, name, 0.0)
    monkeypatch.setattr(progress, "SHARE", 1e9)
    return screen


@pytest.mark.parametrize("level", ["char", "word"])
def test_what_a_terminal_shows_fits_changes_nothing_and_is_gone_at_the_end(text, terminal, level):
    plain, watched = training(text, level=level), training(text, level=level)
    expected = [report.loss for report in run(plain)]
    with progress.Live(watched) as live:
        seen = []
        for report in run(watched):
            live.show(report)
            seen.append(report.loss)
    assert seen == expected
    assert np.array_equal(watched.model.flat.data, plain.model.flat.data) and watched.history[-1]["update"] == 60
    shown = terminal.getvalue()
    assert "writes" in shown and "by frequency alone" in shown and "⣀" in shown
    rows = [row.rstrip() for row in terminal.screen(80)]
    left = [row for row in rows if row]
    assert len(left) == 3 and all(re.match(r"update +\d+  .*validation.*", row) for row in left), left


def test_a_model_that_overflows_while_it_writes_does_not_end_the_training(text, terminal, monkeypatch):
    def broken(*_: Any, **__: Any) -> Any:
        yield "ab"
        raise DivergedError("the state became infinite")

    monkeypatch.setattr(progress, "sample", broken)
    one = training(text)
    with progress.Live(one) as live:
        for report in run(one):
            live.show(report)
    assert one.updates == 60 and "ab ..." in terminal.getvalue()


def test_progress_leaves_no_remains(terminal, monkeypatch):
    """Two tell of what they do, one in the other, with lines of their own in between; one is too long for the line."""
    monkeypatch.setattr(waiting, "PATIENCE", -1.0)
    with waiting.progress("a thing that takes its time, with a name that is " + "far too long " * 5) as tell:
        tell(1, 3)
        waiting.line.write("compiling: rnn")
        waiting.line.clear()
        console.err.print("said meanwhile")
        with waiting.progress("another") as other:
            other(1, 2)
    console.err.print("rnn")
    assert [row.rstrip() for row in terminal.screen(80)] == ["said meanwhile", "rnn", ""]


def test_the_curve_keeps_a_bounded_number_of_points(text):
    one = curve.CurveSoFar("char", ("by frequency alone", 3.0), [])
    report = next(run(training(text)))
    for update in range(1, 20_000):
        one.add(progress.Report(**(report.to_dict() | {"update": update})), 1.0)
    assert len(one.points) <= curve.MOST_POINTS and one.points[-1][0] > 19_900
    assert max(map(cells, one.drawn(80, 8).plain.splitlines())) < 80


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("val_loss", [None, 2.0])
def test_a_row_fits(text, width, val_loss):
    one = training(text, num_updates=2_000_000)
    report = next(run(one))
    live = progress.Live(one, quiet=True)
    live.show(report)
    live.loss, live.speed = 9.0, 12_345_678.0
    large = progress.Report(**(report.to_dict() | {"update": 1_234_567, "val_loss": val_loss, "grad_norm": 123456.0}))
    row = live.row(large, width)
    assert cells(row.plain) <= max(width, 52) and "update 1,234,567" in row.plain
    assert "|g|" in row.plain or width < 200


@pytest.mark.parametrize("level", ["char", "word"])
def test_everything_that_is_printed_fits_into_80_columns(text, capsys, level):
    code, out, err = micrornn(capsys, "train", text, *FLAGS, "--level", level, "--num-updates", 40, "--val-every", 10)
    assert code == 0 and out.strip()
    too_long = [line for line in err.splitlines() if cells(line.rstrip()) > 80]
    assert not too_long, too_long
    for command in re.findall(r"^ +(micrornn (?:.*\\\n)?.*?)(?:   .*)?$", err, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", ""))
        assert words[1] in ("sample", "eval", "train") and Path(words[2 + (words[1] == "train")]).is_dir(), command


def test_a_long_command_is_cut_where_a_shell_reads_on() -> None:
    name = "a very long name of a run, as people give them to their runs"
    command = f"micrornn train --resume 'runs/{name}' --num-updates 100"
    text = ending._listed({command: "train on"}, 80).plain
    assert shlex.split(text.split("\n", 1)[1].replace("\\\n", "")) == shlex.split(command)


def test_a_run_that_learned_nothing_is_told_so_with_advice_that_works(text, capsys):
    flags = [*FLAGS, "--schedule", "constant"]
    code, _, err = micrornn(capsys, "train", text, *flags, "--num-updates", 2, "--lr", 1e-5, "--out", "poor")
    told = " ".join(err.split())
    assert code == 0 and "learned nothing yet" in told and "higher learning rate, in a new run: --lr 0.006" in told
    again = shlex.split(re.search(r"micrornn (train --resume poor --num-updates \d+)", err)[1])
    assert micrornn(capsys, *again)[0] == 0 and load("poor/last.ckpt")[1]["updates"] == 1000
    code, _, err = micrornn(capsys, "train", text, *flags, "--num-updates", 300, "--lr", 0.02, "--out", "good")
    assert code == 0 and "learned nothing" not in err


def test_the_loss_is_measured_by_what_can_be_learned_of_the_text_that_is_held_out(tmp_path, capsys):
    few, same, half = (tmp_path / name for name in ("few.txt", "same.txt", "half.txt"))
    few.write_text("aaaaaaaaab" * 300), same.write_text("a" * 3000), half.write_text("ab" * 500)
    code, _, err = micrornn(capsys, "train", few, *FLAGS, "--num-updates", 1, "--validation", half)
    assert code == 0 and "by frequency alone: 1.000 bits" in " ".join(err.split())
    code, _, err = micrornn(capsys, "train", same, *FLAGS, "--num-updates", 1)
    assert code == 0 and "nothing to learn: all tokens" in err and "more updates" not in err


def test_the_text_that_is_shown_is_the_one_most_like_the_text() -> None:
    vocab = Vocab.build(["abcdefgh \n"], "char")
    model = LanguageModel(Config(hidden_size=8, embedding_size=4), vocab.size)
    ids = vocab.encode("abababab cd\n" * 50)
    shares = np.bincount(ids, minlength=vocab.size) / len(ids)

    def far(written: str) -> float:
        own = np.bincount(vocab.encode(written), minlength=vocab.size) / len(written)
        return float(sum(p * np.log(p / (q + 1e-3)) for p, q in zip(own, shares) if p))

    model.decoder.bias.data[vocab.encode("a")] += 2
    texts = ["".join(sample(model, vocab, length=60, seed=seed)) for seed in range(6)]
    assert typical(model, vocab, ids, draws=6, length=60) == (min(texts, key=far), 6)
    assert typical(model, vocab, ids, draws=6, length=60, seconds=0) == (texts[0], 1)


def test_a_sample_that_fell_into_a_loop_of_blanks_is_not_shown() -> None:
    """Half of the time the first letter leads to blanks without end."""
    vocab = Vocab.build(["ab \n"], "char")
    model = LanguageModel(Config(cell="rnn", hidden_size=4, embedding_size=4), vocab.size)
    newline, blank, a, b = range(4)
    assert vocab.tokens == ["\n", " ", "a", "b"]
    for parameter in model.flat.parameters.values():
        parameter.data[...] = 0
    model.embedding.weight.data[...] = 4 * np.eye(4)
    model.rnn.weights["weight_ih_l0"].data[...] = np.eye(4)
    logits = {newline: {a: 50, blank: 50}, a: {b: 50, a: 50}, b: {a: 50}, blank: {blank: 50}}
    for token, after in logits.items():
        for other, size in after.items():
            model.decoder.weight.data[other, token] = size
    texts = {"".join(sample(model, vocab, length=30, seed=seed)).isspace() for seed in range(8)}
    assert texts == {True, False}
    assert not typical(model, vocab, vocab.encode("aabab a\n" * 20), draws=8, length=30)[0].isspace()


@pytest.mark.parametrize("given, wanted", [
    ("\n\nab\ncd\nef", "ab\ncd"), ("one long line that does not end", "one long line that does not end"),
    ("ab\nthis is by far the longer part", "ab\nthis is by far the longer part"), ("   x\n\n", "   x"),
])  # fmt: skip
def test_whole_lines_are_shown(given: str, wanted: str) -> None:
    assert ending.shown(given) == wanted
