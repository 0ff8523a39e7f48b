"""What a comparison varies, what can be told apart of its results, and how a search goes on; nothing is trained."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micrornn.compare.folder import NAME, Comparison, Outcome
from micrornn.compare.plan import Plan, Variant
from micrornn.compare.results import of_rows
from micrornn.compare.search import brackets, draws, rungs, survivors
from micrornn.compare.summary import Summary, summarize
from micrornn.compare.vary import Range, axes, combined, told
from micrornn.compare.verdict import verdicts
from micrornn.config import Config
from micrornn.errors import CheckpointError


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


def made(
    losses: dict[str, list[float]],
    baseline: float | None = None,
    read: dict[str, int] | None = None,
    early: dict[str, list[float]] | None = None,
) -> Summary:
    """A summary of runs that ended with these losses, one for each seed; inf: it failed. read: tokens of an update,
    100 of those not named; early: the losses halfway, where not 9."""
    variants = tuple(Variant(name, {"cell": name}, 10, 0.0, 5, 1000) for name in losses)
    compared = Plan(
        "text", (), Config().to_dict(), ("cell",), variants, tuple(range(len(next(iter(losses.values()))))), True,
        "token", "nats", (), None if baseline is None else ("by frequency alone", baseline),
    )  # fmt: skip
    runs = []
    for name, ends in losses.items():
        row, tokens = [], (read or {}).get(name, 100)
        for half, end in zip((early or {}).get(name, [9.0] * len(ends)), ends, strict=True):
            rows = [
                {"update": n, "tokens": tokens * n, "seconds": 0.1 * n, "loss": 9.0, "tokens_per_second": 1000.0,
                 "val_loss": None if n % 5 else (half if n < 10 or not np.isfinite(end) else end)}
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
        ({"a": [1.0, 1.1, 1.2], "b": [1.0, 1.1, 1.2]}, None, {"alike": "^a and b .*same to the last digit, 1.1"}),
        ({"a": [1.0] * 3, "b": [1.0] * 3, "c": [2.0, 2.1, 2.0]}, None,
         {"alike": "^a and b have the same losses, to the", "apart": "^a and b have the .* They are better than c"}),
        ({"a": [1.0], "b": [2.0]}, None, {"unsure": "of one seed"}),
        ({"a": [1.0, 1.2, 1.1], "b": [1.1, 1.1, 1.2]}, None, {"unsure": r"cannot be told from b: with 3 seeds that "
         r"vary as these do, only a difference of 0\.287 or more could be told, and this one is 0\.0333\.$"}),
        ({"a": [0.02, 0.03], "b": [0.3, 0.6], "c": [0.1, 0.5]}, 0.693,
         {"unsure": r"from c or b: .* only differences of \d.* and \d.* or more could be told, and these are 0\.275 "
                    r"and 0\.425\. And .* are more than all there is to learn, from 0\.693 \(by freq.*\) to 0:"}),
        ({"a": [1.0, 1.0, 1.0], "b": [1.0, 1.0, 1.0 + 1e-9]}, None, {"unsure": "cannot be told"}),
        ({"a": [1.0, 1.1, 1.2], "b": [1.0, inf, 1.0]}, None,
         {"failed": "b failed in 1 of 3 runs: it blew up", "unsure": "^a has .* 1.1 nats, but alone: the others"}),
        ({"a": [inf] * 2, "b": [inf] * 2}, 1.0, {"unsure": "A run of every setting failed", "failed": "2 of 2 runs"}),
        (LITTLE, 3.3, {"apart": r"better than c .*, and a little better than b \(by 0.0015, 0.10 % of its loss; 95"}),
        (ZERO, 0.693, {"apart": "It is a little better than b .by 0.0004, 0.06 % of the 0.693 by frequency alone;"}),
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


AHEAD, BEHIND = [0.4, 0.41, 0.42], [0.6, 0.61, 0.62]


@pytest.mark.parametrize(
    "early, tokens, after",
    [
        (AHEAD, 200, r"After 1,000 tokens each, it is the same: long \(0\.41\) is better than short \(0\.5\)\.$"),
        (BEHIND, 200, r"each, it is the other way round: long \(0\.61\) is worse than short \(0\.5\)\.$"),
        ([0.4, 0.6, 0.5], 200, r"each, long \(0\.5\) cannot be told from short \(0\.5\)\.$"),
        (AHEAD, 300, "How they stand after 1,000 tokens each is not known: long had no validation by then"),
        (AHEAD, 101, None),
    ],
)
def test_who_has_read_more_is_told_and_what_holds_after_as_many(early: Any, tokens: int, after: str | None) -> None:
    losses = {"long": [0.1, 0.11, 0.12], "short": [0.5, 0.51, 0.49]}
    summary = made(losses, None, {"long": tokens}, {"long": early})
    verdict = verdicts(summary)[0]
    assert verdict.kind == "apart" and "It is better than short" in verdict.words
    if after is None:
        assert "amounts" not in verdict.words
        return
    more = f"But they have read different amounts: {10 * tokens:,} tokens with long and 1,000 tokens with short. "
    assert more in verdict.words and re.search(after, verdict.words), verdict.words
    assert f"`tokens={10 * tokens}`" in verdict.advice
    assert "amounts" not in said(dataclasses.replace(summary, over=5))["unsure"], "while runs are under way"
    one = {"long": [0.1], "short": [0.5], "late": [0.7]}
    words = said(made(one, None, {"long": 200, "late": 300}, {"long": [0.4]}))["unsure"]
    assert words.endswith("After 1,000 tokens each, long has the lowest loss, 0.4; late had no validation by then.")


def test_what_is_not_over_is_not_told_apart() -> None:
    """Nor is a loss in training, where nothing is held out, called one of data that nobody has seen."""
    summary = made(LITTLE)
    words = said(dataclasses.replace(summary, over=5))
    assert "apart" not in words and re.match(r"5 of 9 runs are at their end\. So far a has the lowest", words["unsure"])
    words = said(dataclasses.replace(summary, held_out=False))
    assert "a has the lowest loss in training, for nothing is held out, 1.51 nats" in words["apart"]


@pytest.mark.parametrize(
    "times, told",
    [
        (
            ([1.0, 1.3, 1.1], [1.4, 1.7, 1.6]),
            False,
        ),  # where the runs of one differ as much
        (([1.0, 1.1, 1.1], [1.5, 1.6, 1.4]), True),
        (([1.0, 1.0], [1.3, 1.4]), False),
        (([1.0], [1.4]), False),
        (([1.0, math.nan], [1.6, math.nan]), True),
    ],
)
def test_costs_differ_where_they_do_with_every_seed(times: Any, told: bool) -> None:
    summary = made({"a": [1.0] * len(times[0]), "b": [1.1] * len(times[0])})
    rows = [
        dataclasses.replace(row, times=np.array(times[n]), reached=np.array(times[n]))
        for n, row in enumerate(summary.rows)
    ]
    words = said(dataclasses.replace(summary, rows=tuple(rows))).get("cost", "")
    assert ("A token takes" in words) == told and (told or "is reached first" not in words)


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


def test_contours_lie_where_the_surface_has_their_level() -> None:
    from micrornn.compare.trajectory import contour

    x, y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 61)
    (line,) = contour(x[None] ** 2 + y[:, None] ** 2, x, y, 0.5)
    np.testing.assert_allclose((line**2).sum(axis=1), 0.5, atol=0.01)
    assert np.allclose(line[0], line[-1]) and len(line) > 40, "it closes"


def test_a_run_is_told_where_its_comparison_lies_if_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "both" / "a" / "seed-0").mkdir(parents=True), (tmp_path / "alone").mkdir()
    (tmp_path / "both" / "comparison.json").write_text("{}")
    for run, words in (("both/a/seed-0", r"that of its comparison is .*both\.$"), ("alone", "a run of its own")):
        (tmp_path / run / "config.toml").write_text("")
        with pytest.raises(CheckpointError, match=words):
            Comparison.open(tmp_path / run)
