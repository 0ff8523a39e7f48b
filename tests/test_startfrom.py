"""Starting from the weights of another run, and going on after a divergence: what is copied, what is told."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from micrornn.checkpoint import RunFolder, load
from micrornn.runs import load_run
from micrornn.tape import no_tape
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(150, 0, -1))
SIZES = ["--cell", "gru", "--hidden-size", 10, "--embedding-size", 6]
LANES = ["--batch-size", 4, "--num-steps", 8, "--threads", 1]


def micrornn(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(list(map(str, arguments)))
    return int(done.value.code or 0), *capsys.readouterr()


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run on TEXT, and beside it other.txt, which lacks some of its symbols and has new ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text(TEXT)
    Path("other.txt").write_text(TEXT.upper().replace("9", "é") + "wall\n" * 40)
    assert micrornn(capsys, "train", "text.txt", *SIZES, *LANES, "--num-updates", 20, "--out", "old")[0] == 0
    return tmp_path / "old"


def weights(path: str | Path) -> dict[str, np.ndarray]:
    return {name: array for name, array in load(path)[0].items() if name.startswith("parameter/")}


def test_the_same_text_starts_with_the_same_weights_and_another_rate(old, capsys):
    flags = ["--lr", 1e-9, "--schedule", "constant", "--optimizer", "sgd", "--num-updates", 1]
    code, _, err = micrornn(capsys, "train", "text.txt", "--init-from", "old", *LANES, *flags, "--out", "new")
    assert code == 0 and re.search(r"starts from\s+\S+", err) and "at update 20" in " ".join(err.split()), err
    one, two = weights("old/best.ckpt"), weights("new/last.ckpt")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-8)
    config = RunFolder.open("new").config
    assert config["init_from"] == str(old) and (config["cell"], config["hidden_size"]) == ("gru", 10)


def test_another_vocabulary_takes_the_rows_of_common_symbols(old, capsys):
    flags = ["--lr", 1e-9, "--schedule", "constant", "--optimizer", "sgd", "--num-updates", 1]
    code, _, err = micrornn(
        capsys, "train", "other.txt", "--init-from", "old/last.ckpt", *LANES, *flags, "--out", "new"
    )
    (before, _), (after, vocab) = ((load_run(path)[:2]) for path in ("old/last.ckpt", "new/last.ckpt"))
    symbols = load_run("old/last.ckpt")[1].tokens
    common = [token for token in vocab.tokens if token in symbols]
    told = f"{len(common)} of {vocab.size} characters have their weights from there; new here: "
    assert code == 0 and 10 < len(common) < vocab.size and told in " ".join(err.split()), err
    for name in ("embedding.weight", "decoder.weight", "decoder.bias"):
        one, two = (model.flat.parameters[name].data for model in (before, after))
        for n, token in enumerate(vocab.tokens):
            same = np.allclose(two[n], one[symbols.index(token)], atol=1e-8) if token in symbols else False
            assert same == (token in symbols), (name, token)
    for name in before.rnn.weights:
        np.testing.assert_allclose(after.rnn.weights[name].data, before.rnn.weights[name].data, atol=1e-8)


def test_it_is_resumed_to_the_bit_even_if_the_old_run_is_gone(old, capsys):
    flags = ["--init-from", "old", *LANES, "--num-updates"]
    assert micrornn(capsys, "train", "other.txt", *flags, 20, "--schedule", "constant", "--out", "whole")[0] == 0
    assert micrornn(capsys, "train", "other.txt", *flags, 11, "--schedule", "constant", "--out", "half")[0] == 0
    old.rename("elsewhere")
    assert micrornn(capsys, "train", "--resume", "half", "--num-updates", 20)[0] == 0
    one, two = (load(f"{run}/last.ckpt")[0] for run in ("whole", "half"))
    assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in two.items()}


WRONG = {
    "another size": (["--hidden-size", 11], Exit.USAGE, "--hidden-size is 11, but the weights of"),
    "another cell": (["--cell", "lstm"], Exit.USAGE, "--cell is lstm"),
    "another level": (["--level", "word"], Exit.USAGE, "--level is word"),
    "nothing": (["--init-from", ""], Exit.USAGE, "--init-from is empty"),
    "no run": (["--init-from", "none"], Exit.CHECKPOINT, "none"),
    "no common symbol": (["greek.txt"], Exit.USAGE, "no symbol in common"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told_before_anything_is_written(old, capsys, case):
    flags, wanted, words = WRONG[case]
    Path("greek.txt").write_text("αβγδ" * 100)
    files = [] if case == "no common symbol" else ["text.txt"]
    start = [] if "--init-from" in flags else ["--init-from", "old"]
    code, _, err = micrornn(capsys, "train", *files, *start, *flags, *LANES, "--num-updates", 1, "--out", "new")
    assert code == wanted and words in err and not Path("new").exists(), err


@pytest.mark.parametrize(
    "cell, flags", [("rnn_relu", ["--lr", "1e6"]), ("lstm", ["--lr", "3e7", "--clip-norm", "0.5"])]
)
def test_the_advice_after_a_divergence_works(old, capsys, cell, flags):
    given = ["--cell", cell, "--hidden-size", 8, "--embedding-size", 4, *LANES, "--schedule", "constant", *flags]
    more = (
        ["--optimizer", "sgd", "--num-updates", 60, "--clip-norm", 0] if cell == "rnn_relu" else ["--num-updates", 60]
    )
    code, _, err = micrornn(capsys, "train", "text.txt", *given, *more, "--out", "a run")
    assert code == Exit.DIVERGED and Path("a run/diverged.txt").exists(), err
    error = err[err.index("Error:") :]
    resume, again = re.findall(r"micrornn (train .*?)(?:, or,|\n)", error)
    assert "--resume" in resume and "--init-from" in again
    code, _, err = micrornn(capsys, *shlex.split(again), "--out", "again")
    assert code == 0, err
    code, _, err = micrornn(capsys, "train", "--resume", "a run", "--hidden-size", 9)
    assert code == Exit.USAGE and "--lr" in err  # may change
    code, _, err = micrornn(capsys, *shlex.split(resume))
    assert code == 0 and "it diverged" in err and f"--lr {float(flags[1])}" in err, err
    assert not Path("a run/diverged.txt").exists()
    assert RunFolder.open("a run").config["lr"] == load("a run/last.ckpt")[1]["config"]["lr"] <= 0.01
    assert micrornn(capsys, "train", "--resume", "a run", "--lr", 0.5)[0] == Exit.USAGE  # it is a run like others again


def test_without_an_embedding_symbols_have_columns(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text(TEXT)
    Path("other.txt").write_text(TEXT.upper().replace("1", "é"))
    flags = ["--lr", 1e-9, "--schedule", "constant", "--optimizer", "sgd", "--num-updates", 2]
    sizes = ["--cell", "gru", "--hidden-size", 10, "--embedding-size", 0, "--input-dropout", 0.4]
    assert micrornn(capsys, "train", "text.txt", *sizes, *LANES, "--num-updates", 3, "--out", "old")[0] == 0
    assert micrornn(capsys, "sample", "old", "--length", 5)[0] == 0
    code, _, err = micrornn(capsys, "train", "other.txt", "--init-from", "old", *LANES, *flags, "--out", "new")
    assert code == 0 and "one of" in err, err
    (old, _, _), (new, _, _) = load_run("old", "last"), load_run("new", "last")
    places = [load_run(name, "last")[1].tokens.index("4") for name in ("old", "new")]
    one, two = (model.flat.parameters["rnn.weight_ih_l0"].data[:, at] for model, at in zip((old, new), places))
    np.testing.assert_allclose(one, two, atol=1e-7)
    assert places[0] != places[1] and not any("embedding" in name for name in old.flat.parameters)
    with no_tape():
        ids = np.full((50, 4), places[0], np.int32)
        old.train()
        drawn = [old.features(ids).data for old.input_dropout.key in (1, 1, 2)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    kept = drawn[0][..., places[0]]
    assert set(np.unique(kept.round(4))) == {np.float32(0), np.float32(1.6667)} and 0.45 < (kept > 0).mean() < 0.75


TAGGED = "the DET\ncat NOUN\nsat VERB\n\na DET\ndog NOUN\n\nthe DET\ndog NOUN\nran VERB\n\n" * 3
OTHER = TAGGED.replace("cat", "cow").replace("VERB", "V") + "the DET\ncow NOUN\n\n"
SYMBOLS = {  # a task -> files of the old run and of the new one; parameter -> the symbols of its rows; what is told
    "tags": (
        TAGGED, OTHER, {"embedding.weight": "words", "decoder.weight": "labels", "decoder.bias": "labels"},
        "6 of 7 words have their weights from there; new here: cow; 2 of 3 tags have their weights from there; new "
        "here: V",
    ),
    "pairs": (
        "ab\tA B\nba\tB A\nc\tC\n", "ab\tA B\nbd\tB D\nd\tD\n",
        {"source_embedding.weight": "source_tokens", "target_embedding.weight": "target_tokens",
         "output.weight": "target_tokens", "output.bias": "target_tokens"},
        "new here: d; 4 of 5 symbols of targets have their weights from there; new here: D",
    ),
}  # fmt: skip


@pytest.mark.parametrize("task", SYMBOLS)
def test_words_labels_and_symbols_keep_their_weights(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before, after, rows, words = SYMBOLS[task]
    for name, text in (("one.txt", before), ("two.txt", after)):
        Path(name).write_text(text)
    sizes = ["--hidden-size", 6, "--batch-size", 4, "--val-fraction", 0, "--schedule", "constant"]
    own = ["--min-count", 1] if task == "tags" else ["--target-level", "word", "--attention", "none"]
    assert micrornn(capsys, "train", task, "one.txt", *sizes, *own, "--num-updates", 9, "--out", "old")[0] == 0
    given = [*sizes[2:], *own[:2], "--num-updates", 1, "--lr", 1e-9, "--init-from", "old"]
    code, _, err = micrornn(capsys, "train", task, "two.txt", *given, "--out", "new")
    assert code == 0 and words in " ".join(err.split()), err  # of sizes and attention those of the old run
    (one, old), (two, new) = (load(f"{run}/last.ckpt") for run in ("old", "new"))
    for name in (name.removeprefix("parameter/") for name in weights("old/last.ckpt")):
        a, b = (arrays[f"parameter/{name}"] for arrays in (one, two))
        if name not in rows:
            assert a.shape != b.shape or np.allclose(a, b, atol=1e-6), name
            continue
        for n, token in enumerate(new[rows[name]]):
            kept = token in old[rows[name]] and np.allclose(b[n], a[old[rows[name]].index(token)], atol=1e-6)
            assert kept == (token in old[rows[name]]), (name, token)
    code, _, err = micrornn(capsys, "train", "echo", "--init-from", "old")
    assert code == Exit.USAGE and f"old is of the task {task}, not of echo" in err


def test_other_inputs_or_outputs_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for symbols, given in ((3, []), (4, ["--init-from", "old"])):
        flags = ["--hidden-size", 6, "--alphabet", symbols, "--num-updates", 1, "--out", "new" if given else "old"]
        code, _, err = micrornn(capsys, "train", "copy", *given, *(flags[2:] if given else flags))
    assert code == Exit.USAGE and "--alphabet is 4, but the weights of " in err and not Path("new").exists()
    code, _, err = micrornn(capsys, "train", "copy", "--init-from", "old", "--num-updates", 1, "--out", "new")
    assert code == 0 and "all weights are those" in " ".join(err.split()), err
    Path("t.csv").write_text("".join(f"{n % 4},{n % 3}\n" for n in range(200)))
    for target, given in (("1", []), ("1,2", ["--init-from", "one"])):
        flags = ["--target", target, "--num-updates", 1, "--out", "both" if given else "one"]
        code, _, err = micrornn(capsys, "train", "series", "t.csv", *given, *flags)
    assert code == Exit.USAGE and "(128, 2) here and (128, 1) in" in err and not Path("both").exists()
