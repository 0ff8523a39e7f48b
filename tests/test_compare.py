"""`micrornn compare`, from first to last: a grid, a search, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import re
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn

from micrornn.checkpoint import load
from micrornn.compare.folder import NAME, Comparison
from micrornn.compare.run import go
from micrornn_cli.exits import Exit

SMALL = ["--hidden-size", 5, "--num-updates", 30, "--jobs", 1, "--set", "length=600", "--schedule", "constant"]


def test_a_comparison_from_first_to_last(micrornn: Micrornn) -> None:
    """Trained, shown again, and each run an ordinary run; the same again goes on with it, another is refused."""
    arguments = ("compare", "echo", *SMALL, "--cell", "rnn,window2", "--seeds", 2, "--out", "c")
    code, out, err = micrornn(*arguments, "--save", "c.svg", "--html", "c.html")
    assert code == 0, err
    assert re.search(r"^setting +loss +\+- +to best", out, re.MULTILINE) and re.search(
        r"^window2 .* 2 of 2", out, re.MULTILINE
    )
    assert "4 runs to train, one after the other" in err and "window2, seed 1: 30 updates, validation loss" in err
    assert Path("c.svg").stat().st_size and "Loss over updates" in Path("c.html").read_text()
    assert re.search(r"^setting +us a step +seconds to loss 0\.\d+$", out, re.MULTILINE)
    code, out, _ = micrornn("compare", "show", "c", "--json")
    told = json.loads(out)
    assert told["what"] == "compare" and {row["state"] for row in told["runs"].values()} == {"done"}
    assert np.isfinite(told["arrays"]["loss"]["values"]).all() and told["settings"]["rnn"] == {"cell": "rnn"}
    assert told["command"].startswith("micrornn train echo") and "--set length=600" in told["command"]
    before = Path("c", NAME).read_bytes(), Path("c/01-rnn/seed-1/last.ckpt").stat().st_mtime_ns
    code, _, err = micrornn(*arguments)
    assert code == 0 and "to train" not in err
    assert before == (Path("c", NAME).read_bytes(), Path("c/01-rnn/seed-1/last.ckpt").stat().st_mtime_ns)
    code, _, err = micrornn("train", "--resume", "c/02-window2/seed-0", "--num-updates", 40)
    assert code == 0 and load("c/02-window2/seed-0/last.ckpt")[1]["updates"] == 40
    code, out, err = micrornn("compare", "echo", *SMALL, "--cell", "rnn,gru", "--out", "c")
    assert code == Exit.CHECKPOINT and "holds another comparison (it compares rnn | window2)" in err


def test_it_tells_what_each_setting_costs(micrornn: Micrornn) -> None:
    code, out, err = micrornn("compare", "echo", *SMALL[:2], *SMALL[4:], "--batch-size", "1,4", "--tokens", 1200,
                              "--out", "t", "--seeds", 1, "--num-steps", 10, "--json")  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["numbers"]["tokens"]["value"] == 1200 and told["varied"] == ["batch_size"]
    assert np.array(told["arrays"]["token_seconds"]["values"]).min() > 0
    assert np.isfinite(told["arrays"]["seconds_to_target"]["values"]).all() and "cost" in {
        v["kind"] for v in told["verdicts"]
    }
    out = micrornn("compare", "show", "t")[1]
    assert "Loss over steps" in out and "Loss over tokens" not in out


def test_a_window_of_two_beside_a_recurrence(micrornn: Micrornn) -> None:
    """Who learns what lies 10 time steps back, and why the other cannot, by measurement."""
    code, out, err = micrornn("compare", "echo", "--set", "echo=10", "--set", "length=20000", "--cell", "rnn,window2",
                              "--lr", 0.01, "--num-updates", 1200, "--seeds", 1, "--jobs", 1, "--json")  # fmt: skip
    assert code == 0, err
    words = next(verdict["words"] for verdict in json.loads(out)["verdicts"] if verdict["kind"] == "unlearned")
    assert re.match(
        r"window2 \(0\.6[89]\d*\) is .* no network: by guessing 0\.693\. rnn \(0\.[0-5]\d*\) does better", words
    )
    assert "rnn answer most to the input 10 time steps back" in words
    assert "window2 change with no input more than 1 time step back" in words


def test_search_drops_the_worse_half_and_goes_on_from_checkpoints(micrornn: Micrornn) -> None:
    code, out, err = micrornn("compare", "echo", *SMALL[:2], *SMALL[4:], "--search", 6, "--vary", "lr:1e-4..1e-1:log",
                              "--tokens", 75 * 40, "--out", "s", "--json")  # fmt: skip
    assert code == 0, err
    comparison = Comparison.open("s")
    assert comparison.plan.rungs == (0.25, 0.5, 1.0) and len({v.name for v in comparison.plan.variants}) == 6
    ends = sorted(load(comparison.folder(n, 0) / "last.ckpt")[1]["updates"] for n, _ in comparison.runs())
    assert ends == [10, 10, 10, 20, 40, 40]
    states = [comparison.outcome(n, 0).state for n, _ in comparison.runs()]
    assert sorted(states) == ["done", "done", *["dropped"] * 4]
    told = json.loads(out)
    assert told["what"] == "search" and told["arrays"]["trained"]["values"] == [1, 1, 0.5, 0.25, 0.25, 0.25]
    assert re.match(r"Of 6 settings, lr \S+ has the lowest loss, .* of the 2 that were", told["verdicts"][0]["words"])


def test_brackets_that_begin_to_drop_later(micrornn: Micrornn) -> None:
    """Hyperband, stopped in the middle and gone on with: each bracket drops the worse half of its own settings."""
    code, out, err = micrornn(
        "compare", "echo", *SMALL[:2], *SMALL[4:], "--search", 6, "--brackets", 3, "--vary", "lr:1e-4..1e-1:log",
        "--tokens", 75 * 16, "--out", "whole", "--json",
    )  # fmt: skip
    assert code == 0, err
    told, plan = json.loads(out), Comparison.open("whole").plan
    assert plan.brackets == (6, 5, 5) and plan.rungs == (0.25, 0.5, 1.0)
    won = int(told["arrays"]["bracket"]["values"][0])
    words = f"Bracket {won} of 3 has found it, which dropped nobody{['', ' before 25 %', ' before 50 %', ''][won]}"
    assert words in told["verdicts"][0]["words"]
    stopped = Comparison.create("s", plan)
    with closing(go(stopped)) as training:
        assert len(list(islice(filter(None, training), 13))) == 13
    assert micrornn("compare", "--resume", "s", "--json")[0] == 0
    names = [Comparison.run(stopped, *run) for run in stopped.runs()]
    ends = {name: [load(Path(folder, name, "last.ckpt")) for folder in ("whole", "s")] for name in names}
    updates = [one[1]["updates"] for one, _ in ends.values()]
    assert [sorted(updates[:6]), sorted(updates[6:11]), updates[11:]] == [
        [4, 4, 4, 8, 16, 16],
        [8, 8, 16, 16, 16],
        [16] * 5,
    ]
    for one, two in ends.values():
        assert one[1]["updates"] == two[1]["updates"]
        np.testing.assert_array_equal(one[0]["parameter/decoder.weight"], two[0]["parameter/decoder.weight"])


def test_the_way_of_batches_over_a_loss_surface(micrornn: Micrornn) -> None:
    from micrornn.compare import trajectory as way

    code, out, err = micrornn("compare", "--trajectory", "--json")
    assert code == 0, err
    told = json.loads(out)
    losses = {batch: told["arrays"][f"loss_{batch}"]["values"] for batch in way.BATCHES}
    assert [len(losses[batch]) for batch in way.BATCHES] == [1 + way.EPOCHS * way.EXAMPLES // b for b in way.BATCHES]
    assert all(row[-1] < 0.8 * row[0] for row in losses.values())
    noise = [told["numbers"][f"noise_{batch}"]["value"] for batch in way.BATCHES]
    assert noise[0] > noise[1] > noise[2] == 0
    x, y = way.examples(0)
    at, e = np.array([0.3, 0.4]), 1e-6
    numeric = [(way.loss_at(x, y, *(at + d)) - way.loss_at(x, y, *(at - d))) / (2 * e) for d in e * np.eye(2)]
    np.testing.assert_allclose(way.gradient(x, y, at), numeric, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments, what",
    [
        ([], "one setting is nothing to compare"),
        (["--vary", "hiden-size:3,4"], "'hiden-size' is no setting; did you mean hidden-size?"),
        (["--vary", "hidden-size:"], "--vary hidden-size has no values"),
        (["--vary", "hidden-size:4,4"], "names 4 twice"),
        (["--vary", "hidden-size:4,x"], "--vary hidden-size must be a whole number, not 'x'"),
        (["--vary", "lr:0.1,0.2", "--vary", "lr:0.3"], "names lr twice"),
        (["--vary", "nonsense"], "wanted NAME:VALUE,VALUE"),
        (["--hidden-size", ","], "--hidden-size is empty"),
        (["--cell", "rnn,lstmm"], "there is no 'lstmm'"),
        (["--vary", "cell:rnn,gru", "--cell", "lstm"], "--cell is varied, and given a value as well"),
        (["--embedding-size", "3,4"], "--embedding-size is no setting of the task echo"),
        (["--vary", "echo:2,3"], "2 and 3 do not learn from the same data"),
        (["--search", 4, "--vary", "echo:2..5"], "2 and 5 do not learn from the same data"),
        (["--vary", "length:900,800"], "900 and 800 do not learn from the same data"),
        (["--vary", "seed:1,2"], "--seeds says with how many"),
        (["--num-steps", "3,100000"], "num-steps 100000: --set length"),
        (["--vary", "lr:1e-3..1e-1"], "that is for --search N"),
        (["--search", 4], "--search draws from what --vary names"),
        (["--search", 4, "--brackets", 3, "--vary", "lr:1..9"], "--brackets 3: a search of 4 settings has 2 rungs"),
        (["--search", 8, "--brackets", 2, "--vary", "hidden-size:3..9"], "draws 14 settings, and there are 7"),
        (["--brackets", 3, "--vary", "lr:1,2"], "--brackets is for a search; give --search N"),
        (["--first-rung", 0.5, "--vary", "lr:1,2"], "--first-rung is for a search"),
        (["--search", 4, "--first-rung", "nan", "--vary", "lr:1..2"], "'nan' is no finite number"),
        (["--cell", "rnn,gru", "--target", "inf"], "'inf' is no finite number"),
        (["--cell", "rnn,gru", "--target", "price"], "that of the task is --set target=..."),
        (["--search", 4, "--vary", "lr:1e-1..1e-3"], "the lower end must come first"),
        (["--search", 4, "--vary", "clip-norm:0..1:log"], "must begin above 0"),
        (["--search", 4, "--vary", "lr:1e-3..1e-1", "--max-minutes", 1], "--search needs to know where"),
        (["--cell", "rnn,gru", "--tokens", 100, "--epochs", 1], "--tokens is a limit of its own"),
        (["--cell", "rnn,gru", "--backend", "spark"], "there is no 'spark'; choose loky"),
        (["--cell", "rnn,gru", "--backend", "loky:here"], "loky starts processes of this machine"),
        (["--cell", "rnn,gru", "-"], "write standard input to a file first"),
    ],
)  # fmt: skip
def test_bad_input(micrornn: Micrornn, arguments: list[object], what: str) -> None:
    code, out, err = micrornn("compare", "echo", *arguments)
    assert code == Exit.USAGE and out == "" and what in err and "Traceback" not in err
    assert len([line for line in err.splitlines() if line and not line.startswith(("Usage", "Try"))]) <= 2
    assert not list(Path().iterdir()), "nothing is left behind"


def test_data_that_differs_is_found_by_looking_at_it(micrornn: Micrornn) -> None:
    """Windows of any length cut the same text; of the task adding, num_steps is the length of its sequences."""
    code, _, err = micrornn("compare", "adding", "--num-steps", "5,6")
    assert code == Exit.USAGE and "--vary num-steps: 5 and 6 do not learn from the same data" in err
    Path("t.txt").write_text("to be or not to be " * 200)
    for name, values in {"level": "char,word", "val-fraction": "0.1,0.2", "vocab-size": "3,4"}.items():
        code, _, err = micrornn("compare", "t.txt", f"--{name}", values, "--batch-size", 2, "--num-steps", 4)
        assert code == Exit.USAGE and f"--vary {name}: " in err and "do not learn from the same data" in err


def test_folders_that_are_none(micrornn: Micrornn) -> None:
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/x").touch()
    Path("torn").mkdir()
    Path("torn", NAME).write_text("{")
    for arguments, what in {
        ("show", "nowhere"): "no such folder",
        ("show", "empty"): "no comparison.json in it",
        ("show", "torn"): "not valid JSON",
        ("--resume", "nowhere"): "no such folder",
        ("echo", "--cell", "rnn,gru", "--out", "full"): "exists and is not empty",
    }.items():
        code, _, err = micrornn("compare", *arguments)
        assert code == Exit.CHECKPOINT and what in err, err
    code, _, err = micrornn("compare", "show", "empty", "--cell", "rnn")
    assert code == Exit.USAGE and "--cell means nothing here" in err


def test_data_that_has_changed_is_refused(micrornn: Micrornn) -> None:
    """Also of a task that draws by the seed what it holds out; there each seed has data of its own."""
    Path("t.tsv").write_text("label\ttext\n" + "yes\tit was good\nno\tit was bad\n" * 20)
    arguments = ("compare", "sentiment", "t.tsv", "--vary", "read:last,max", *SMALL[:2], "--embedding-size", 3,
                 "--num-updates", 3, "--batch-size", 4, "--jobs", 1, "--seeds", 2, "--out", "c")  # fmt: skip
    code, out, err = micrornn(*arguments)
    assert code == 0 and "failed" not in out, out + err
    Path("t.tsv").write_text("label\ttext\n" + "yes\tit was good\nno\tit was bad\n" * 30)
    found = Comparison.open("c")
    found.outcomes.clear()
    found.write()
    code, _, err = micrornn("compare", "--resume", "c")
    assert code == Exit.CHECKPOINT and "the data of this comparison has changed since it began" in err


def test_an_extra_that_is_missing_is_named(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("ray", "joblib") else find(name))
    code, _, err = micrornn("compare", "echo", "--cell", "rnn,gru", "--jobs", 2)
    assert code == Exit.MISSING and "pip install 'micrornn[compare]'" in err
    code, _, err = micrornn("compare", "echo", *SMALL[:4], *SMALL[6:], "--cell", "rnn,gru", "--seeds", 1)
    assert code == 0 and "one run after the other" in err


def test_a_setting_that_fails_leaves_the_others_alone(micrornn: Micrornn) -> None:
    code, out, _ = micrornn("compare", "echo", *SMALL, "--cell", "rnn_relu", "--lr", "0.01,1e8", "--optimizer", "sgd",
                            "--clip-norm", 0, "--seeds", 1, "--out", "f", "--json")  # fmt: skip
    told = json.loads(out)
    assert code == 0 and [row["state"] for row in told["runs"].values()] == ["done", "failed"]
    assert any(v["kind"] == "failed" and "lr 1e+08 failed in 1 of 1 run" in v["words"] for v in told["verdicts"])
