"""The gradient noise scale: unbiased on made-up gradients whose noise is known, and computed from a model's own."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn.inspect.noise import _verdict, noise, panels, share_at, tokens_at, updates_at
from micrornn.inspect.noise_scale import Estimate, estimate, two_batches
from micrornn.inspect.panels import Lines, Rows
from micrornn.inspect.subject import lr_left
from micrornn.inspect.window import Window
from micrornn.ops import cross_entropy
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel

T, V, H = 5, 7, 4


def test_two_batches_undo_what_a_batch_adds() -> None:
    for small, large in ((1, 2), (4, 64)):
        squares = [3.0 + 20.0 / size for size in (small, large)]
        np.testing.assert_allclose(two_batches(*squares, small, large), (3.0, 20.0), rtol=1e-12)


def made_up(rng: np.random.Generator, lanes: int, blocks: int, small: int) -> tuple[Any, ...]:
    """Gradients of a problem with |G|^2 = 2 and tr(Sigma) = 30, as `estimate` takes them."""
    signal, spread = np.zeros(40), np.sqrt(np.linspace(0.5, 1, 40))
    signal[3:5], spread = 1.0, spread * np.sqrt(30 / np.square(spread).sum())
    gradients = signal + rng.normal(size=(blocks, lanes // blocks // small, small, 40)) * spread
    gradients = gradients.mean(axis=2)
    return gradients, gradients.sum(axis=1), np.square(gradients).sum(axis=(1, 2)), [gradients.shape[1]] * blocks, small


@pytest.mark.parametrize("lanes, blocks, small", [(400, 16, 1), (400, 8, 5), (90, 6, 3)])
def test_the_estimate_is_unbiased_and_its_range_holds_the_truth(lanes: int, blocks: int, small: int) -> None:
    rng = np.random.default_rng(0)
    found = [estimate(*made_up(rng, lanes, blocks, small)[1:]) for _ in range(400)]
    for name, truth in (("signal", 2.0), ("noise", 30.0)):
        values = np.array([getattr(one, name) for one in found])
        assert abs(values.mean() - truth) < 4 * values.std() / 20
        errors = np.array([getattr(one, name + "_error") for one in found])
        assert 0.8 < errors.mean() / values.std() < 1.25  # it knows how far off it is
    assert np.mean([one.low <= 15 <= one.high for one in found]) > 0.85


def test_the_estimate_is_the_average_over_all_pairs() -> None:
    gradients, *rest = made_up(np.random.default_rng(1), 36, 4, 3)
    found, each = estimate(*rest), gradients.reshape(12, -1)
    pairs = each @ each.T
    np.testing.assert_allclose(found.signal, pairs[~np.eye(12, dtype=bool)].mean(), rtol=1e-12)
    np.testing.assert_allclose(found.noise, 3 * each.var(axis=0, ddof=1).sum(), rtol=1e-12)
    assert found.scale == found.noise / found.signal


def test_noise_without_a_signal_has_no_upper_end() -> None:
    _, sums, squares, counts, small = made_up(np.random.default_rng(2), 64, 8, 1)
    found = estimate(sums - sums.mean(axis=0), squares, counts, small)
    assert found.signal < 0 and found.scale == found.high == math.inf


def test_the_price_of_a_batch_size() -> None:
    sizes = np.array([1.0, 10, 50, 400])
    np.testing.assert_allclose((updates_at(50, sizes) - 1) * (tokens_at(50, sizes) - 1), 1, rtol=1e-12)
    assert updates_at(50, 50) == tokens_at(50, 50) == 2
    assert share_at(50, 50) == 0.5
    np.testing.assert_allclose(tokens_at(50, sizes) / updates_at(50, sizes), sizes / 50)  # E = N S


def model_of(**settings: Any) -> LanguageModel:
    config = Config(cell="gru", hidden_size=H, num_layers=2, embedding_size=3, dtype="float64", batch_size=12)
    model = LanguageModel(dataclasses.replace(config, **settings), V)
    model.train(False)
    return model


def windows(count: int, lanes: int) -> list[Window]:
    rng = np.random.default_rng(2)
    ids = rng.integers(0, V, (count, T + 1, lanes), dtype=np.int32)
    states = rng.normal(size=(count, 2, lanes, H))
    return [Window(row[:-1], row[1:], (Tensor(state),)) for row, state in zip(ids, states)]


def gradient(model: LanguageModel, window: Window, lanes: slice) -> np.ndarray:
    state = tuple(Tensor(part.data[:, lanes]) for part in window.state or ())
    with Tape() as tape:
        loss = cross_entropy(model(window.inputs[:, lanes], state)[0], targets=window.targets[:, lanes])
    model.flat.zero_grad()
    tape.backward(loss)
    return model.flat.grad.copy()


@pytest.mark.parametrize("lanes", [1, 2])
def test_of_a_model_it_is_the_spread_of_its_own_gradients(lanes: int) -> None:
    model, looked_at = model_of(), windows(5, 6)
    each = np.array([gradient(model, w, slice(n, n + lanes)) for w in looked_at for n in range(0, 6, lanes)])
    whole = np.array([gradient(model, w, slice(None)) for w in looked_at])
    before, grad, told = model.flat.data.copy(), model.flat.grad.copy(), []
    measure = noise(model, looked_at, lambda *at: told.append(at), lanes=lanes, run="a run")
    size, count = 30 // lanes, len(each)
    assert count == size
    signal, spread = two_batches(np.square(each).sum(1).mean(), np.square(whole.mean(0)).sum(), lanes, 30)
    np.testing.assert_allclose(measure.numbers["signal"].value, signal, rtol=1e-10)
    np.testing.assert_allclose(measure.numbers["noise"].value, spread, rtol=1e-10)
    assert measure.numbers["scale_tokens"].value == measure.numbers["scale"].value * T
    assert measure.subject == {"run": "a run", "windows": 5, "seq_len": T, "lanes": 6, "in_training": 12}
    assert told == [(n, 5) for n in range(1, 6)]
    np.testing.assert_array_equal(model.flat.data, before)
    np.testing.assert_array_equal(model.flat.grad, grad)
    json.dumps(measure.to_dict(), allow_nan=False)


def test_many_windows_share_blocks() -> None:
    model, looked_at = model_of(), windows(37, 4)
    measure = noise(model, looked_at)
    assert measure["left_out"].shape == (16,)
    each = np.array([gradient(model, w, slice(n, n + 1)) for w in looked_at for n in range(4)])
    np.testing.assert_allclose(measure.numbers["noise"].value, each.var(axis=0, ddof=1).sum(), rtol=1e-10)


def made(scale: float, low: float, high: float, blocks: int = 8) -> Estimate:
    return Estimate(1.0, scale, 0.1, 0.1, scale, low, high, np.ones(blocks))


@pytest.mark.parametrize(
    "found, lanes, kind, words",
    [
        (made(50, 40, 60), 200, "healthy", "50 lanes (40 to 60) of 20 time steps, 1,000 tokens"),
        (made(2, 1, 3), 200, "healthy", "at batch_size 50, 3.8 %"),
        (made(900, 700, 1300), 2000, "noisy", "95 %"),
        (made(math.inf, 700, math.inf), 2000, "noisy", "700 lanes or more: at batch_size 50, 93 %"),
        (made(900, 60, math.inf), 200, "unsure", "do not bound it from above"),
        (made(50, 40, 60), 10, "unsure", "10 lanes"),
        (made(50, 40, 60, blocks=3), 200, "unsure", "3 blocks"),
        (made(-1, 40, 60), 200, "unsure", "too few"),
        (made(math.inf, math.inf, math.inf), 200, "unsure", "too few"),
    ],
)
def test_verdicts(found: Estimate, lanes: int, kind: str, words: str) -> None:
    verdict = _verdict(found, batch_size=50, lanes=lanes, seq_len=20)
    assert verdict.kind == kind and words in verdict.words, verdict
    assert verdict.advice
    if kind == "healthy" and found.scale == 50:
        assert "batch_size 100 would take 25 % fewer updates and 50 % more tokens" in verdict.advice
        assert "25 would take 50 % more updates and 25 % fewer tokens" in verdict.advice


def test_a_rate_that_had_fallen_is_told_and_nothing_is_recommended() -> None:
    for found in (made(900, 700, 1300), made(50, 40, 60), made(math.inf, 700, math.inf)):
        verdict = _verdict(found, batch_size=50, lanes=2000, seq_len=20, lr_left=0.07)
        assert verdict.kind == "unsure" and "had fallen to 7.0 %" in verdict.words
        assert "would take" not in verdict.advice and "micrornn advise FILES" in verdict.advice
    assert _verdict(made(900, 700, 1300), batch_size=50, lanes=2000, seq_len=20, lr_left=0.9).kind == "noisy"
    measure = noise(model_of(), windows(8, 4), lr_left=0.07)  # as Subject.about() tells it
    assert measure.verdicts[0].kind == "unsure"


@pytest.mark.parametrize(
    "schedule, history, updates, left",
    [
        ("constant", [], 500, 1.0),
        ("warmup:100+cosine:0.1", [], 50, 1.0),  # still rising: that is no fall
        ("warmup:100+cosine:0.1", [(1000, 0.1)], 1000, 0.1),
        ("warmup:100+cosine", [(500, 1.0), (50, 0.5)], 50, 1.0),
        ("exponential:100:0.5", [], 201, 0.25),
        ("cosine", [(300, 0.04)], 350, 0.04),  # its end was told in epochs, which the schedule does not know
    ],
)
def test_what_a_schedule_has_left(schedule: str, history: list[tuple[int, float]], updates: int, left: float) -> None:
    config = Config(schedule=schedule, lr=0.01, num_updates=1000 if "0.1" in schedule else 0).to_dict()
    rows = [{"update": update, "lr": 0.01 * share} for update, share in history]
    assert lr_left({"config": config, "history": rows, "updates": updates}) == pytest.approx(left, abs=0.01)


def test_it_is_drawn() -> None:
    measure = noise(model_of(), windows(8, 4), batch_size=3)
    curves, table = panels(measure)
    assert isinstance(curves, Lines) and isinstance(table, Rows)
    assert next(row for row in table.rows if row[0] == "3")[1:3] == ["x 1", "x 1"]
    assert len(table.columns) == len(table.rows[0])


def test_what_cannot_be_measured() -> None:
    for given, options, words in (
        ([], {}, "no window"),
        (windows(1, 3), {"lanes": 2}, "3 lanes do not fall into small batches of 2"),
        (windows(1, 1), {}, "alone has no spread; give more text"),
    ):
        with pytest.raises(ConfigError, match=words):
            noise(model_of(), given, **options)
    assert noise(model_of(), windows(1, 4)).verdicts[0].kind == "unsure"
    broken = model_of()
    broken.decoder.bias.data[0] = np.nan
    measure = noise(broken, windows(2, 2))
    assert measure.verdicts[0].kind == "nonfinite" and panels(measure) == []
