"""Truncated gradients: identities in float64, closed forms, the bound, verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from micrornn.bptt import Windows
from micrornn.cells import CELLS
from micrornn.config import Config
from micrornn.data import Lanes
from micrornn.errors import ConfigError, DataError
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.subject import Window
from micrornn.inspect.truncation import _judge, bound, truncation
from micrornn.ops import cross_entropy
from micrornn.report.panels import Lines, Rows
from micrornn.report.truncation import panels
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tasks.text import LanguageModel

T, B, V = 7, 3, 5


def small(cell: str = "lstm", num_layers: int = 1, **settings: Any) -> tuple[LanguageModel, list[Window]]:
    """A tiny language model in float64, and windows of nonsense: the first begins the text, the others do not."""
    chosen = {"hidden_size": 4, "embedding_size": 3, "dtype": "float64", "num_steps": 3, "batch_size": 2} | settings
    model, rng = LanguageModel(Config(cell=cell, num_layers=num_layers, **chosen), V), np.random.default_rng(1)
    for weight in model.rnn.weights.values():
        weight.data[...] = rng.normal(size=weight.shape) * 0.7  # so that the gradient goes far
    states = [None, *(_state(model, rng) for _ in range(2))]
    ids = rng.integers(0, V, (3, 2, T, B)).astype(np.int32)
    return model, [Window(inputs, targets, state) for (inputs, targets), state in zip(ids, states)]


def _state(model: LanguageModel, rng: np.random.Generator) -> tuple[Tensor, ...]:
    shape = (model.config.num_layers, B, model.config.hidden_size)
    return tuple(Tensor(rng.normal(size=shape), dtype=np.float64) for _ in model.rnn.cell.states)


def gradient(model: LanguageModel, inputs: np.ndarray, targets: np.ndarray, state: Any,
             weight: float) -> tuple[np.ndarray, Any]:  # fmt: skip
    """(the gradient of weight * the mean loss of a model unrolled over these inputs, the last state)."""
    with Tape() as tape:
        logits, last = model(inputs, state)
        loss = cross_entropy(logits, targets=targets)
    model.flat.zero_grad()
    tape.backward(loss, weight)
    return model.flat.grad.copy(), last


# --- identities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_windows_are_what_training_with_so_many_steps_computes(cell: str, num_layers: int) -> None:
    """Every K: the sum of the gradients of the windows, the state's value carried from one to the next."""
    model, windows = small(cell, num_layers)
    for window in windows:
        cuts = Cuts(model, window)
        full, _ = gradient(model, window.inputs, window.targets, window.state, 1.0)
        assert np.linalg.norm(full) > 1e-3
        for num_steps in range(1, T + 1):
            total, state = np.zeros_like(full), window.state
            for start in range(0, T, num_steps):
                steps = slice(start, start + num_steps)
                inputs, targets = window.inputs[steps], window.targets[steps]
                part, last = gradient(model, inputs, targets, state, len(inputs) / T)
                total, state = total + part, tuple(Tensor(tensor.data) for tensor in last)
            cuts.windows(num_steps)
            np.testing.assert_allclose(cuts.flat(), total, rtol=0, atol=1e-13, err_msg=f"K = {num_steps}")
        np.testing.assert_allclose(cuts.flat(), full, rtol=0, atol=1e-13)  # K = T


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_back_is_what_each_loss_computes_from_its_last_steps(cell: str, num_layers: int) -> None:
    """Every K: a tape of its own for each loss, over its last K time steps from a state that counts as given."""
    model, windows = small(cell, num_layers)
    for window in windows[1:]:
        cuts = Cuts(model, window)
        full, _ = gradient(model, window.inputs, window.targets, window.state, 1.0)
        states = [window.state]
        with no_tape():
            for t in range(T):
                states.append(model(window.inputs[t : t + 1], states[-1])[1])
        for k, _ in enumerate(cuts.by_lag(), 1):
            total = np.zeros_like(full)
            for s in range(T):
                first = max(0, s + 1 - k)
                with Tape() as tape:
                    logits, _ = model(window.inputs[first : s + 1], states[first])
                    loss = cross_entropy(logits[s - first], targets=window.targets[s])
                parameters = list(model.flat.parameters.values())
                for parameter, part in zip(parameters, tape.cotangents(parameters, [loss], [1 / T])):
                    total[model.flat.places[parameter.name]] += part.reshape(-1)
            np.testing.assert_allclose(cuts.flat(), total, rtol=0, atol=1e-13, err_msg=f"K = {k}")
        np.testing.assert_allclose(cuts.flat(), full, rtol=0, atol=1e-13)  # K = T


def test_windows_of_a_real_training_loop() -> None:
    """The same loop that trains: micrornn.bptt.Windows over lanes, state carried, no update in between."""
    model, _ = small("lstm", 2)
    ids = np.random.default_rng(2).integers(0, V, 13 * B).astype(np.int32)
    for num_steps in (2, 3, 4):
        windows, total = Windows(Lanes(ids, B, num_steps)), 0.0
        for _ in range(12 // num_steps):
            inputs, targets, state = windows.next()
            part, last = gradient(model, inputs, targets, state, num_steps / 12)
            windows.carry(last)
            total = total + part
        cuts = Cuts(model, Window(*Lanes(ids, B, 12).window(0), None))
        cuts.windows(num_steps)
        np.testing.assert_allclose(cuts.flat(), total, rtol=0, atol=1e-13)


def test_a_linear_scalar_recurrence_has_its_closed_form() -> None:
    """x_t = w x_{t-1}, x_0 = 0.9, w = 0.2: dx_3/dw = 3 w^2 x_0 = 0.108, and each time step gives a third of it."""
    model, _ = small("rnn_relu", hidden_size=1, embedding_size=1)
    for weight in model.rnn.weights.values():
        weight.data[...] = 0
    model.rnn.weights["weight_hh_l0"].data[...] = 0.2
    ids = np.zeros((3, 1), np.int32)
    cuts = Cuts(model, Window(ids, ids, (Tensor([[[0.9]]], dtype=np.float64),)))
    cuts.dy[:, 0, 0] = 0, 0, 1  # the loss is x_3
    place = model.flat.places["rnn.weight_hh_l0"]
    back = [cuts.flat()[place].item() for _ in cuts.by_lag()]
    np.testing.assert_allclose(back, [0.036, 0.072, 0.108], rtol=1e-14)
    windows = []
    for num_steps in (1, 2, 3):
        cuts.windows(num_steps)
        windows.append(cuts.flat()[place].item())
    np.testing.assert_allclose(windows, [0.036, 0.036, 0.108], rtol=1e-14)  # K = 2: x_3 is alone in its window


# --- the measure ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_bias_and_cosine_are_those_of_the_flat_gradients(cell: str) -> None:
    model, windows = small(cell, 2, dropout=0.5)
    before, heard = model.flat.data.copy(), []
    measure = truncation(model, windows, lambda *told: heard.append(told), run="r")
    assert measure.subject == {"run": "r", "seq_len": T, "windows": 3, "lanes": B}
    assert heard == [(n, 2 * T) for n in range(1, 2 * T + 1)]
    assert (model.flat.data == before).all() and model.training
    bias, cosine = measure["bias"], measure["cosine"]
    assert bias.shape == (2, T, 3)
    np.testing.assert_allclose(bias[:, -1], 0, atol=1e-12)
    np.testing.assert_allclose(bias[0, 0], bias[1, 0], rtol=1e-9)  # K = 1 is the same in both ways

    model = model.copy(dropout=0.0)
    full, off = [], []
    for window in windows:
        cuts = Cuts(model, window)
        full.append(cuts.flat())
        cuts.windows(3)
        off.append(cuts.flat() - full[-1])
    norms = np.linalg.norm(full, axis=1)
    np.testing.assert_allclose(bias[0, 2], np.linalg.norm(off, axis=1) / norms, rtol=1e-9)
    left = np.add(full, off)
    cosines = (left * full).sum(axis=1) / norms / np.linalg.norm(left, axis=1)
    np.testing.assert_allclose(cosine[0, 2], cosines, rtol=1e-9)
    mean = np.mean(full, axis=0)
    expected = np.linalg.norm(np.mean(off, axis=0)) / np.linalg.norm(mean)
    assert measure["bias_of_mean"][0, 2] == pytest.approx(expected, rel=1e-9)
    noise = math.sqrt(np.square(full - mean).sum() / 2) / np.linalg.norm(mean)
    assert measure.numbers["noise_of_window"].value == pytest.approx(noise, rel=1e-9)
    # an update of the run has 2 lanes of 3 time steps, a window here has 3 lanes of 7
    assert measure.numbers["noise"].value == pytest.approx(noise * math.sqrt(21 / 6), rel=1e-9)
    assert measure.numbers["bias"].value == pytest.approx(bias[0, 2].mean(), rel=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_bound_is_made_of_the_gradients_at_the_states(cell: str, num_layers: int) -> None:
    """phi_k, and the mean of what lies k time steps back, from T ordinary backward passes."""
    model, (_, window, _) = small(cell, num_layers)
    states: list[list[np.ndarray]] = [[] for _ in range(T)]  # of each lag (lanes, all states)
    with Tape() as tape:
        logits, _ = model(window.inputs, window.state)
    rows = [record for record in tape.records if record.op.name == cell]
    for s in range(T):
        with tape:
            loss = cross_entropy(logits[s], targets=window.targets[s])
        tape.cotangents([], [loss], [B / (T * B)])  # its part of the mean over lanes and time steps
        for lag in range(s + 1):
            parts = [row.saved[name][s - lag + 1] for row in rows for name in ("dh", "dc") if name in row.saved]
            states[lag].append(np.concatenate(parts, axis=1))
    norms = [np.mean([np.linalg.norm(part, axis=1) for part in parts]) for parts in states]
    for lag, (norm, mean) in enumerate(Cuts(model, window).by_lag()):
        assert norm == pytest.approx(norms[lag], rel=1e-9)
        whole = np.mean(states[lag], axis=(0, 1))
        assert np.linalg.norm(mean) == pytest.approx(np.linalg.norm(whole), rel=1e-9)
    found = list(Cuts(model, window).by_lag())
    sums = np.linalg.norm(np.cumsum([mean for _, mean in found], axis=0), axis=1)
    limit = truncation(model, [window, window])["bound"]
    np.testing.assert_allclose(limit, bound(np.array(norms), sums), rtol=1e-9)


def test_one_window_tells_no_noise() -> None:
    model, windows = small()
    measure = truncation(model, windows[:1])
    assert math.isnan(measure.numbers["noise"].value) and "nan" not in measure.verdicts[0].words
    assert all(panels(measure))
    with pytest.raises(DataError, match="at least one window"):
        truncation(model, [])
    with pytest.raises(ConfigError, match="clipped"):
        truncation(model.copy(clip_message=1.0), windows)


def test_a_gradient_that_is_not_finite() -> None:
    model, windows = small()
    model.flat.data[...] = math.nan
    measure = truncation(model, windows)
    assert measure.verdicts[0].kind == "nonfinite"
    assert all(panels(measure))


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_the_bound_of_a_geometric_decay(beta: float) -> None:
    """phi_k = beta^k, all in one direction: what is dropped behind K is beta^K of all, and the bound is just that."""
    norms = beta ** np.arange(200.0)
    limit = bound(norms, np.cumsum(norms))
    k = np.arange(1, 201)
    np.testing.assert_allclose(limit, beta**k, rtol=1e-6)
    true = (norms.sum() - np.cumsum(norms)) / norms.sum()
    assert (limit >= true - 1e-15).all()
    # a hump before the decay is summed as it is
    hump = np.r_[1.0, 5.0, 2.0, norms[:197]]
    limit = bound(hump, np.cumsum(hump))
    assert (limit >= (hump.sum() - np.cumsum(hump)) / hump.sum() - 1e-15).all() and limit[0] < 1


@pytest.mark.parametrize(
    "norms", [np.ones(40), 1.1 ** np.arange(40.0), np.zeros(40), np.full(40, math.nan), np.ones(1)]
)
def test_there_is_no_bound_without_decay(norms: np.ndarray) -> None:
    assert np.isinf(bound(norms, np.cumsum(norms))).all()


CURVE = 1 / np.arange(1.0, 201)  # the bias of windows of K
SHORT = np.where(np.arange(1, 201) < 9, 0.5, 0.0)  # if each loss sees K back
FALLS = np.where(np.arange(1, 201) < 150, 0.5, 0.0)


@pytest.mark.parametrize(
    "windows, back, noise, num_steps, kind, told",
    [
        (CURVE, SHORT, 0.3, 50, "healthy", "bend the gradient by 2.0 %; the noise of one update"),
        (CURVE, SHORT, 0.1, 5, "biased", "by 20 %"),
        (CURVE, SHORT, 3.0, 5, "noisy", "is 300 %. Noise averages out"),
        (CURVE, SHORT, 0.6, 5, "healthy", "Noise averages out"),
        (CURVE, SHORT, math.nan, 5, "unsure", "does not tell its noise"),
        (CURVE, SHORT, 0.3, 101, "unsure", "cannot be judged from 200"),
        (CURVE, SHORT, 0.3, 500, "unsure", "cannot be judged from 200"),
        (CURVE, FALLS, 0.3, 50, "unsure", "Even if each loss sees 100 time steps back"),
        (CURVE * math.nan, SHORT, 0.3, 50, "nonfinite", "nothing to compare"),
    ],
)
def test_verdicts(windows: np.ndarray, back: np.ndarray, noise: float, num_steps: int, kind: str, told: str) -> None:
    numbers, verdict = _judge(np.array([windows, back]), np.ones((2, 200)), noise, num_steps, 32)
    assert verdict.kind == kind and told in verdict.words
    if numbers:
        assert numbers["windows_10"].value == 10 and numbers["windows_5"].value == 20
        assert numbers["back_5"].value in (9, 150)
        below = 201 if math.isnan(noise) else 1 + (windows > noise).sum()
        assert math.isnan(noise) or numbers["below_noise"].value == below


def test_how_truncation_is_drawn() -> None:
    model, windows = small()
    measure = truncation(model, windows, trained={"num_steps": 3})
    bias, cosine, rows = panels(measure)
    assert isinstance(bias, Lines) and isinstance(cosine, Lines) and isinstance(rows, Rows)
    assert bias.curves[0].name.startswith("windows") and bias.curves[1].name.startswith("each loss")
    np.testing.assert_array_equal(bias.curves[0].y, measure["bias"][0, :-1].mean(axis=1))
    np.testing.assert_array_equal(bias.curves[1].high, measure["bias"][1, :-1].max(axis=1))
    assert (bias.curves[-1].y == measure.numbers["noise"].value).all() and bias.curves[-1].name.startswith("noise")
    assert [mark.x for mark in bias.marks] == [3]
    assert [row[0] for row in rows.rows] == ["1", "2", "3", "5", "7"]
    assert all(len(row) == len(rows.columns) for row in rows.rows)
