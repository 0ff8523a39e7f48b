"""Advice follows from what is measured: made-up measurements with a known answer."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from micrornn.inspect.advice import Brief, Chosen, Measured, Point, choose_steps, least_steps, scaled_lr, times
from micrornn.inspect.advised import advice
from micrornn.inspect.bias import Bias
from micrornn.inspect.lags import Gains, gains, reach
from micrornn.inspect.panels import Lines, Rows
from micrornn.report.advise import panels

SIZES = np.array([4, 8, 16, 32, 64, 128, 256])


@pytest.mark.parametrize(
    "bias, wanted",
    [
        ([0.5, 0.2, 0.1, 0.05], 8),
        ([0.5, 0.09, 0.11, 0.05], 16),  # from there on, not there alone
        ([0.01, 0.01, 0.01, 0.01], 2),
        ([0.5, 0.4, 0.3, 0.2], None),
        ([0.5, 0.01, 0.01, math.nan], None),
    ],
)
def test_the_smallest_num_steps_that_can_be_borne(bias: list[float], wanted: int | None) -> None:
    assert least_steps((2, 4, 8, 16), np.array(bias), 0.1) == wanted


STEPS = (2, 4, 8, 16, 32, 64)


def bias(values: Sequence[float], error: float = 1e-5, told: bool = True) -> Bias:
    """Of a mean gradient that stands out of the noise, or does not."""
    values = np.array(values, float)
    return Bias(values**2, np.full(len(values), error), 1 - values, 1.0 if told else 0.1, 0.1, 16)


def brief_of(best: float, **more: Any) -> Brief:
    return Brief([], best, 300, 16.0, **({"turned": False, "flat": True, "inside": False} | more))


TEXT = Gains(2.7, np.array([0.7, *[0.0] * 63]), np.full(64, 0.01))  # pairs tell something, nothing further does


def measured(**changes: Any) -> Measured:
    """Two points, an answer of 4 time steps and 32 lanes, and an lr for batches of 8 x 4 tokens."""
    points = [Point(50, None, stage=0), Point(600, None)]  # type: ignore[arg-type]
    usual = Measured(
        points=points, briefs=[brief_of(1.6)], steps=(2, 4, 8), biases=[bias([0.3, 0.08, 0.01]), bias([0.3, 0.09, 0])],
        tolerance=0.1, lags=TEXT, lag=0, own=(8, 4), asked=(8, 4), lr=0.01, optimizer="adam",
        scale=np.array([[64.0, 60, 70], [192, 180, 200]]), batch_sizes=SIZES,
        seconds=(0.004 + 0.0005 * SIZES)[:, None] * np.array([1, 0.95, 1.05]), own_seconds=0.008,
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def two_seeds(*biases: Bias, **changes: Any) -> Measured:
    """Early and later of seed 0, then of seed 1."""
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    points = [Point(600 if stage else 120, None, 1.0, seed, stage) for seed, stage in places]  # type: ignore[arg-type]
    usual = measured(points=points, biases=biases, steps=STEPS, briefs=[brief_of(1.6), brief_of(1.6)])
    return dataclasses.replace(usual, **changes)


LOW, HIGH = [0.3, 0.08, 0.03, 0.01, 0.0, 0.0], [0.4, 0.2, 0.08, 0.02, 0.01, 0.0]


@pytest.mark.parametrize(
    "found, wanted",
    [
        (two_seeds(bias(HIGH), bias(LOW), bias(HIGH), bias(LOW)), Chosen(8, 8, 8, "bias")),  # the worse of the two
        (two_seeds(bias(LOW), bias(LOW), bias(LOW), bias(HIGH)), Chosen(8, 4, 8, "bias")),  # the seeds are apart
        (two_seeds(*[bias(LOW, error=0.007)] * 4), Chosen(8, 4, 16, "bias")),
        (two_seeds(*[bias([0.5] * 6)] * 4), Chosen(64, 64, 64, "beyond")),
        (two_seeds(bias(LOW), bias(HIGH, told=False), bias(LOW), bias(LOW)), Chosen(4, 4, 4, "bias")),
        (two_seeds(*[bias(HIGH, told=False)] * 4, own=(8, 30)), Chosen(32, 2, 64, "untold")),
        (two_seeds(*[bias(HIGH)] * 4, briefs=[brief_of(1.99), brief_of(2.01)]), Chosen(2, 2, 2, "nothing")),
        (two_seeds(*[bias(HIGH)] * 4, briefs=[brief_of(1.99), brief_of(2.0, flat=False)]), Chosen(8, 8, 8, "bias")),
        (two_seeds(*[bias(LOW)] * 4, briefs=[brief_of(2.0)] * 2, lag=20), Chosen(64, 32, 64, "lag")),
        (two_seeds(*[bias(LOW)] * 4, lag=40), Chosen(64, 64, 64, "lag")),
    ],
)  # fmt: skip
def test_num_steps_by_all_that_was_measured(found: Measured, wanted: Chosen) -> None:
    assert choose_steps(found) == wanted


def lagged(lag: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Letters at random, but for brackets: 8 and 9 are closed by 10 and 11 `lag` places on."""
    ids = rng.integers(0, 8, length)
    for t in range(length):
        if t >= lag and 8 <= ids[t - lag] < 10:
            ids[t] = ids[t - lag] + 2
        elif rng.random() < 0.1:
            ids[t] = rng.integers(8, 10)
    return ids


def chain(length: int, rng: np.random.Generator) -> np.ndarray:
    """An order-1 Markov chain over six letters."""
    ids, jumps = np.zeros(length, int), rng.integers(1, 3, length)
    for t in range(1, length):
        ids[t] = (ids[t - 1] + jumps[t]) % 6
    return ids


@pytest.mark.parametrize("lag", [0, 12, 45])
@pytest.mark.parametrize("length", [4000, 40_000])
def test_a_lag_that_stands_out_of_the_text(lag: int, length: int) -> None:
    rng = np.random.default_rng(lag + length)
    assert reach(gains(lagged(lag, length, rng) if lag else rng.integers(0, 12, length), 12, 150)) == lag


def test_what_comes_back_again_and_again_has_one_lag_and_a_chain_none() -> None:
    rng = np.random.default_rng(3)
    row = np.tile(rng.integers(0, 8, 21), 200)
    assert reach(gains(np.where(rng.random(4200) < 0.1, rng.integers(0, 8, 4200), row), 8, 150)) == 21
    assert reach(gains(chain(4000, rng), 6, 150)) == 0
    words = np.minimum(rng.zipf(1.3, 20_000), 5000) - 1  # of so many symbols the rare ones count as one
    assert reach(gains(words, 5000, 40)) == 0
    assert reach(gains(np.zeros(3, int), 2, 40)) == 0


def test_batch_size_is_where_updates_times_seconds_are_least() -> None:
    """An update that takes a + b N is best at N = sqrt(a B / b); the time there is known too."""
    a, b, scale = 0.004, 0.0005, 128.0
    relative = times(np.array([scale]), SIZES, a + b * SIZES)
    assert SIZES[relative.argmin()] == 32 == math.sqrt(a * scale / b)
    wanted = (1 + scale / 64) * (a + 64 * b) / ((1 + scale / 32) * (a + 32 * b))
    assert relative[SIZES == 64] == pytest.approx(wanted)
    # early and later count alike: updates are linear in the noise scale
    np.testing.assert_allclose(relative, times(np.array([56, 200]), SIZES, a + b * SIZES))
    # all noise: as many tokens per second as can be had. No noise: the quickest update
    np.testing.assert_allclose(times(np.array([math.inf, 5]), SIZES, 0.001 * SIZES), 1.0)
    assert SIZES[times(np.array([0.0]), SIZES, a + b * SIZES).argmin()] == 4


@pytest.mark.parametrize(
    "optimizer, scale, wanted",
    [
        ("sgd", math.inf, 0.4), ("momentum:mu=0.8", 1e12, 0.4), ("sgd", 0.0, 0.1), ("sgd", 100.0, 0.16),
        ("adam", math.inf, 0.2), ("rmsprop:decay=0.9", 1e12, 0.2), ("adamw", 0.0, 0.1),
    ],
)  # fmt: skip
def test_lr_follows_the_size_of_a_batch_as_far_as_noise_is_what_limits_it(
    optimizer: str, scale: float, wanted: float
) -> None:
    assert scaled_lr(0.1, optimizer, 100, 400, scale) == pytest.approx(wanted)


def test_advice_says_what_was_measured() -> None:
    found = advice(measured(), {"run": "a model"})
    numbers = {name: number.value for name, number in found.numbers.items()}
    assert (numbers["num_steps"], numbers["batch_size"]) == (4, 32)
    assert numbers["lr"] == pytest.approx(0.01 * math.sqrt((1 + 16) / (1 + 4)), rel=0.03)
    assert numbers["gain"] == pytest.approx((1 + 16) * 0.008 / ((1 + 4) * 0.02))
    steps, sizes, lr = found.verdicts
    assert {verdict.kind for verdict in found.verdicts} == {"healthy"}
    assert "num_steps 4" in steps.words and "8.0 % after 50, 9.0 % after 600 updates" in steps.words
    assert "Half takes x 0.90" in steps.advice and "bends it by 30 %" in steps.advice
    assert "64 after 50, 192 after 600 updates" in sizes.words and "1 + 128 / N" in sizes.words
    half, twice = found["time"][[2, 4]]
    assert f"Half takes x {half:.2f} the time. Twice takes x {twice:.2f}" in sizes.advice
    assert "8 lanes of 4 time steps take x 1.36 the time (" in lr.advice and "as good" not in lr.advice
    assert numbers["gain_low"] < 1.36 < numbers["gain_high"]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["numbers"]["batch_size"]["value"] == 32


@pytest.mark.parametrize(
    "changes, good",
    [
        ({}, False),
        ({"own_seconds": 0.006}, True),  # gains 2 %
        ({"scale": np.array([[64.0, 10, 170], [192, 30, 400]])}, True),  # gains 36 %, or loses, for all that is known
        ({"own_seconds": 0.006, "own": (16, 2), "asked": (16, 2)}, False),  # as quick, and bends the gradient by 30 %
    ],
)
def test_advice_that_gains_less_than_it_is_sure_of(changes: dict[str, Any], good: bool) -> None:
    found = advice(measured(**changes), {})
    assert bool(found.numbers["as_good"].value) == good
    assert ("Your settings are as good" in found.verdicts[-1].advice) == good


@pytest.mark.parametrize(
    "changes, which, kind, words",
    [
        ({"tolerance": 0.005, "steps": (2, 4, 8), "biases": [bias([0.3, 0.1, 0.01])] * 2}, 0, "biased",
         "None up to that stays below the 0.50 %"),
        ({"biases": [bias([0.3, 0.1, 0.01], told=False)] * 2}, 0, "unsure", "cannot be told from 0"),
        ({"briefs": [brief_of(2.01)]}, 0, "healthy", "2.01 nats, and a count of pairs of neighbours gives 2.00"),
        ({"briefs": [brief_of(1.7, turned=True)]}, 0, "unsure", "after 300 updates, 16 epochs, the validation loss"),
        ({"briefs": [brief_of(1.7, inside=True, updates=9, planned=600)]}, 0, "unsure", "all within the warm-up"),
        ({"briefs": [brief_of(1.7, updates=275, planned=600)]}, 0, "unsure", "more than 275 of 600 updates: a model"),
        ({"own": (4, 4)}, 0, "unsure", "too short for 8 lanes of 4 time steps; it was started from 4 of 4"),
        ({"lag": 4}, 0, "healthy", "the token 4 places back tells"),
        ({"scale": np.array([[64.0, 2, math.inf], [192, 180, 200]])}, 1, "unsure", "of the noise scale: 4 to 256"),
        ({"scale": np.array([[64.0, 60, 70], [math.inf, 180, math.inf]])}, 1, "unsure", "More lanes were not tried"),
        ({"points": [Point(50, None, 1.0, 0, 0), Point(600, None, 0.05)]}, 1, "unsure", "had left 5.0 % of lr"),
        ({"points": [Point(50, None, 1.0, 0, 0), Point(600, None, 0.05)]}, 0, "unsure", "So this is too large"),
        ({"seconds": (0.004 + 0.0005 * SIZES)[:, None] * np.array([1, 0.8, 1.4])}, 1, "healthy", "machine busy"),
        ({"seconds": (0.004 + 0.0005 * SIZES)[:, None] * np.array([1, 0.8, 2.4])}, 1, "unsure", "machine busy"),
    ],
)  # fmt: skip
def test_advice_says_how_sure_it_is(changes: dict[str, Any], which: int, kind: str, words: str) -> None:
    if "briefs" in changes:
        one = changes["briefs"][0]
        changes["briefs"] = [one._replace(points=measured().points)]
    verdict = advice(measured(**changes), {}).verdicts[which]
    assert verdict.kind == kind and words in verdict.words + verdict.advice


def test_tables_show_the_neighbours_of_what_is_advised() -> None:
    steps, sizes, *curves = panels(advice(measured(), {}))
    assert isinstance(steps, Rows) and isinstance(sizes, Rows) and all(isinstance(curve, Lines) for curve in curves)
    assert [row[0] for row in steps.rows] == ["2", "4", "8"] and [row[-1] for row in steps.rows][1] == "← this"
    assert [row[0] for row in sizes.rows if row[-1]] == ["32"]
    assert sizes.rows[3][1:5] == ["6,400", "20 ms", "x 5", "x 1.00"]
