"""`micrornn compare`: the same data and seeds for several settings, and no more said than the numbers allow."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn

from micrornn.checkpoint import load
from micrornn.compare.folder import NAME, Comparison, Outcome
from micrornn.compare.plan import Plan, Variant
from micrornn.compare.results import of_rows
from micrornn.compare.run import go
from micrornn.compare.search import brackets, draws, rungs, survivors
from micrornn.compare.summary import Summary, summarize
from micrornn.compare.vary import Range, axes, combined, told
from micrornn.compare.verdict import verdicts
from micrornn.config import Config
from micrornn.errors import CheckpointError
from micrornn_cli.exits import Exit

SMALL = ["--hidden-size", 5, "--num-updates", 30, "--jobs", 1, "--set", "length=600", "--schedule", "constant"]


# --- what is varied -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("hidden-size:8,16", [{"hidden_size": 8}, {"hidden_size": 16}]),
        ("hidden-size:8,16,lr:0.5", [{"hidden_size": 8, "lr": 0.5}, {"hidden_size": 16, "lr": 0.5}]),
        ("lr=0.1,tied:true", [{"lr": 0.1, "tied": True}]),
        ("optimizer:sgd,rmsprop:decay=0.9,eps=1e-6,adam",
         [{"optimizer": name} for name in ("sgd", "rmsprop:decay=0.9,eps=1e-6", "adam")]),
        ("cell:rnn, window3", [{"cell": "rnn"}, {"cell": "window3"}]),
        ("backprop:online,5,10,grow:1-8:every=9,bias=0.5,window:10",
         [{"backprop": way} for way in ("online", "5,10", "grow:1-8:every=9,bias=0.5", "window:10")]),
        ("schedule:constant,step:10:0.5", [{"schedule": "constant"}, {"schedule": "step:10:0.5"}]),
    ],
)  # fmt: skip
def test_what_is_typed_is_read(text: str, wanted: list[dict[str, object]]) -> None:
    assert combined(axes([text], Config)) == wanted


def test_ranges_are_drawn_from_evenly_and_by_logarithm() -> None:
    found = axes(["lr:1e-4..1e-1:log,hidden-size:3..6,cell:rnn,gru"], Config, search=True)
    assert found[0].values == Range(1e-4, 1e-1, True, False) and found[1].values == Range(3, 6, False, True)
    rows = draws(found, 400, seed=1)
    assert rows == draws(found, 400, seed=1) and len(rows) == len({json.dumps(row) for row in rows}) == 400
    rates = np.array([row["lr"] for row in rows])
    assert rates.min() >= 1e-4 and rates.max() <= 1e-1
    assert abs(np.mean(rates < 10**-2.5) - 0.5) < 0.1  # half of the draws, below the middle of the logarithm
    sizes = [row["hidden_size"] for row in rows]
    assert {size: 60 < sizes.count(size) < 140 for size in set(sizes)} == dict.fromkeys((3, 4, 5, 6), True)
    assert len(draws(axes(["cell:rnn,gru"], Config), 9, 0)) == 2, "there are no more"


def test_settings_are_told_as_they_are_typed() -> None:
    assert told({"lr": 0.010000000001}) != told({"lr": 0.01}) == "lr 0.01", "each has a name of its own"
    assert told({"cell": "rnn"}) == "rnn" and told({"lr": 0.001, "tied": False}) == "lr 0.001, tied false"


# --- what can be told apart ---------------------------------------------------------------------------------


def made(losses: dict[str, list[float]], baseline: float | None = None) -> Summary:
    """A summary of runs that ended with these losses, one for each seed; inf: it failed."""
    variants = tuple(Variant(name, {"cell": name}, 10, 0.0, 5, 1000) for name in losses)
    compared = Plan(
        "text", (), Config().to_dict(), ("cell",), variants, tuple(range(len(next(iter(losses.values()))))), True,
        "token", "nats", (), None if baseline is None else ("by frequency alone", baseline),
    )  # fmt: skip
    runs = []
    for ends in losses.values():
        row = []
        for end in ends:
            rows = [
                {"update": n, "tokens": 100 * n, "seconds": 0.1 * n, "loss": 9.0, "tokens_per_second": 1000.0,
                 "val_loss": None if n % 5 else (9.0 if n < 10 or not np.isfinite(end) else end)}
                for n in range(1, 11)
            ]  # fmt: skip
            row.append(of_rows(rows, Outcome("done") if np.isfinite(end) else Outcome("failed", "it blew up")))
        runs.append(row)
    return summarize(compared, runs)


def said(summary: Summary) -> dict[str, str]:
    return {verdict.kind: verdict.words for verdict in verdicts(summary)}


def test_settings_that_do_not_differ_are_hardly_ever_told_apart() -> None:
    """Of 180 comparisons of 4 settings that are one, 5 % may be wrong; spreads that have nothing normal about them."""
    rng, wrong = np.random.default_rng(7), {}
    draw = {
        "normal": lambda n: rng.normal(2, 0.1, n),
        "skewed": lambda n: 2 + rng.exponential(0.1, n),
        "seeds differ": lambda n: 2 + np.arange(n) + rng.normal(0, 0.01, n),  # what a seed brings to all
    }
    for name, drawn in draw.items():
        for seeds in (3, 6):
            found = ["apart" in said(made({cell: drawn(seeds).tolist() for cell in "abcd"})) for _ in range(30)]
            wrong[name, seeds] = sum(found)
    assert sum(wrong.values()) <= 16 and max(wrong.values()) <= 6, wrong


def test_settings_that_do_differ_are() -> None:
    """Also where seeds differ by more than settings do: the same seeds are compared."""
    rng = np.random.default_rng(3)
    base = rng.normal(2, 0.5, 5)
    words = said(made({"rnn": (base + 0.1).tolist(), "lstm": (base + rng.normal(0, 0.01, 5)).tolist()}))
    assert re.match(
        r"lstm has the lowest loss, .* It is better than rnn \(by 0\.\d+, \d\.\d % of its loss; 95 %: ", words["apart"]
    )
    assert "unsure" not in words


inf = math.inf
LITTLE = {"a": [1.5, 1.51, 1.52], "b": [1.5015, 1.5114, 1.5216], "c": [1.6, 1.61, 1.62]}
ZERO = {"a": [1.0e-4, 1.2e-4, 1.1e-4], "b": [5.0e-4, 5.1e-4, 5.2e-4]}
NEGATIVE = {"a": [-1.5, -1.49, -1.48], "b": [-0.9, -0.91, -0.92]}


@pytest.mark.parametrize(
    "losses, baseline, wanted",
    [
        ({"a": [1.0, 1.1, 1.2], "b": [1.0, 1.1, 1.2]}, None, {"alike": "a and b have the lowest loss, 1.1 nats,"}),
        ({"a": [1.0] * 3, "b": [1.0] * 3, "c": [2.0, 2.1, 2.0]}, None,
         {"alike": "^a and b have the same losses, to the", "apart": "^a and b have the .* They are better than c"}),
        ({"a": [1.0], "b": [2.0]}, None, {"unsure": "of one seed"}),
        ({"a": [1.0, 1.2, 1.1], "b": [1.1, 1.1, 1.2]}, None, {"unsure": "cannot be told from b .*on these 3 seeds"}),
        ({"a": [1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0 + 1e-9]}, None, {"unsure": "cannot be told"}),
        ({"a": [1.0, 1.1, 1.2], "b": [1.0, inf, 1.0]}, None,
         {"failed": "b failed in 1 of 3 runs: it blew up", "unsure": "^a has .* 1.1 nats, but alone: the others"}),
        ({"a": [inf] * 2, "b": [inf] * 2}, 1.0, {"unsure": "A run of every setting failed", "failed": "2 of 2 runs"}),
        (LITTLE, 3.3, {"apart": r"better than c .*, and better by little than b \(by 0.0015, 0.10 % of its loss; 95"}),
        (ZERO, 0.693, {"apart": "It is better by little than b .by 0.0004, 0.06 % of the 0.693 by frequency alone;"}),
        (NEGATIVE, -1.0, {"apart": r"better than b \(by 0\.58; 95 %", "unlearned": r"^b \(-0\.91, down from 9\) is no "
                          r"better than what takes no network: by frequency alone -1\. a \(-1\.49\) does better\.",
                          "cost": "b did not reach -1.49"}),
        ({"a": [0.2, 0.3, 0.2], "b": [0.69, 0.692, 0.691]}, 0.693,
         {"apart": "66 % of its loss", "unlearned": r"^b \(0\.691, down from 9\) is within 2 % of what takes no "
                                                    r"network: by frequency alone 0\.693\. a \(0\.233\) does better"}),
        ({"a": [0.69, 0.69, 0.01], "b": [9.0, 9.1, 9.0]}, 0.693,
         {"apart": "95 % of", "unlearned": r"^b \(9\) is no better than .* a \(0\.463, in 1 of 3 seeds\) does b"}),
    ],
)  # fmt: skip
def test_words_say_no_more_than_is_known(losses: Any, baseline: float | None, wanted: dict[str, str]) -> None:
    words = said(made(losses, baseline))
    assert ("apart" in words) == ("apart" in wanted), words
    for kind, what in wanted.items():
        assert re.search(what, words[kind]), words


def test_what_is_not_over_is_not_told_apart() -> None:
    """Nor is a loss in training, where nothing is held out, called one of data that nobody has seen."""
    summary = made(LITTLE)
    words = said(dataclasses.replace(summary, over=5))
    assert "apart" not in words and re.match(r"5 of 9 runs are at their end\. So far a has the lowest", words["unsure"])
    words = said(dataclasses.replace(summary, held_out=False))
    assert "a has the lowest loss in training, for nothing is held out, 1.51 nats" in words["apart"]


def test_a_gradient_that_dies_is_no_window() -> None:
    """That nothing changes with what lies further back says only of a window that nothing can mend that."""
    for cell, may in (("window2", True), ("rnn", False)):
        summary = made({"lstm": [0.1, 0.1], cell: [0.69, 0.69]}, 0.693)
        changes = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.0, 0.5, 0.0, 0.0])
        rows = tuple(dataclasses.replace(row, changes=changes[row.number]) for row in summary.rows)
        words = said(dataclasses.replace(summary, rows=rows))["unlearned"]
        assert "lstm answer most to the input 3 time steps back" in words and ("no training mends" in words) == may
        assert may or "hardly change with what lies more than 1 time step back" in words


def test_time_is_that_of_updates_alone() -> None:
    """A first update that compiles, a process that was started again, validations in between: none of it counts."""
    rows = [
        {"update": n, "tokens": 50 * n, "loss": 1.0, "val_loss": 3.0 - n if n % 2 == 0 else None,
         "seconds": 0.1 * (n - 1) + 0.5 * ((n - 1) // 2) - 0.1 * (n > 4),
         "tokens_per_second": 50 / (7.0 if n in (1, 5) else 0.1)}
        for n in range(1, 9)
    ]  # fmt: skip
    run = of_rows(rows, Outcome("done"))
    assert run.token_seconds == pytest.approx(0.002) and run.updates.tolist() == [2, 4, 6, 8]
    assert run.seconds[-1] < 1.4, "not the 7 seconds of compiling"
    assert run.reached(0.0, run.updates) == 3 and np.isnan(run.reached(-9, run.seconds))


# --- the command --------------------------------------------------------------------------------------------


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
                              "--seeds", 1, "--num-steps", 10, "--json")  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["numbers"]["tokens"]["value"] == 1200 and told["varied"] == ["batch_size"]
    assert np.array(told["arrays"]["token_seconds"]["values"]).min() > 0
    assert np.isfinite(told["arrays"]["seconds_to_target"]["values"]).all() and "cost" in {
        v["kind"] for v in told["verdicts"]
    }


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


@pytest.mark.parametrize(
    "part, value, words",
    [
        ("seeds", [], "there must be variants, and seeds that differ"),
        ("seeds", [4, 4], "there must be variants, and seeds that differ"),
        ("variants", [], "there must be variants"),
        ("baseline", ["chance"], "the baseline is ('chance',), not words and a number"),
        ("baseline", ["chance", math.nan], "the baseline is"),
        ("rungs", [1.0, 0.25], "the rungs are (1.0, 0.25); they must rise to 1"),
        ("brackets", [2, 1], "the brackets have (2, 1) settings, of 2"),
        ("variants", None, "variants must be a list"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_looked_at(part: str, value: Any, words: str, tmp_path: Path) -> None:
    """In a line that names the file, whoever opens it."""
    variants = [dataclasses.asdict(Variant(name, {"cell": name}, 10, 0.0, 5, 1000)) for name in ("rnn", "gru")]
    plan = {"task": "text", "files": [], "common": {}, "varied": ["cell"], "variants": variants, "seeds": [0, 1],
            "scheduled": True, "unit": "token", "loss": "nats", "texts": [], "baseline": ["chance", 0.7],
            "rungs": [0.5, 1.0]}  # fmt: skip
    text = {"version": 1, "plan": plan, "outcomes": {}}
    (tmp_path / NAME).write_text(json.dumps(text))
    assert Comparison.open(tmp_path).plan.brackets == (), "as it was before there were several"
    (tmp_path / NAME).write_text(json.dumps(text | {"plan": plan | {part: value}}))
    with pytest.raises(CheckpointError, match=rf"{NAME}: .*{re.escape(words)}"):
        Comparison.open(tmp_path)


def test_rungs_and_survivors() -> None:
    assert [brackets(40, n) for n in (1, 6)] == [(40,), (40, 24, 15, 10, 8, 8)] and brackets(40, 2, 0.3) == (40, 40)
    assert rungs(40) == (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1) and rungs(2) == (1,) and rungs(40, 0.3) == (0.5, 1)
    losses = [0.3, float("inf"), 0.1, float("nan"), 0.2]
    assert survivors(range(5), losses) == [0, 2, 4] and survivors([1, 3, 4], losses) == [4]


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


def test_contours_lie_where_the_surface_has_their_level() -> None:
    from micrornn.compare.trajectory import contour

    x, y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 61)
    (line,) = contour(x[None] ** 2 + y[:, None] ** 2, x, y, 0.5)
    np.testing.assert_allclose((line**2).sum(axis=1), 0.5, atol=0.01)
    assert np.allclose(line[0], line[-1]) and len(line) > 40, "it closes"


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
    assert any(v["kind"] == "failed" and "lr 1e+08 failed in 1 of 1 runs" in v["words"] for v in told["verdicts"])


def test_a_run_is_told_where_its_comparison_lies_if_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "both" / "a" / "seed-0").mkdir(parents=True), (tmp_path / "alone").mkdir()
    (tmp_path / "both" / "comparison.json").write_text("{}")
    for run, words in (("both/a/seed-0", r"that of its comparison is .*both\.$"), ("alone", "a run of its own")):
        (tmp_path / run / "config.toml").write_text("")
        with pytest.raises(CheckpointError, match=words):
            Comparison.open(tmp_path / run)
