"""Truncated gradients: identities in float64, closed forms, the bound, verdicts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_rows import VARIED

from micrornn.config import Config
from micrornn.data import Lanes
from micrornn.errors import ConfigError
from micrornn.inspect import bias
from micrornn.inspect.bias import Bias, bias_of, pieces
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.noise import noise
from micrornn.inspect.panels import Lines, Rows
from micrornn.inspect.truncation import bound, grid, panels, truncation
from micrornn.inspect.truncation_verdict import Found, judge, numbers_of
from micrornn.inspect.window import Window, piece_of
from micrornn.ops import cross_entropy
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tasks.text import LanguageModel
from micrornn.windows import Windows

T, B, V = 7, 3, 5


def small(cell: str = "lstm", num_layers: int = 1, learnable: bool = False,
          **settings: Any) -> tuple[LanguageModel, list[Window]]:  # fmt: skip
    """A tiny language model in float64, and windows of nonsense, or where all is followed by token 0, which can be
    learned: the first begins the text, the others do not."""
    chosen = {"hidden_size": 4, "embedding_size": 3, "dtype": "float64", "num_steps": 3, "batch_size": 2} | settings
    model, rng = LanguageModel(Config(cell=cell, num_layers=num_layers, **chosen), V), np.random.default_rng(1)
    for weight in model.rnn.weights.values():
        weight.data[...] = rng.normal(size=weight.shape) * 0.7  # so that the gradient goes far
    shape = (num_layers, B, model.config.hidden_size)
    states = [tuple(Tensor(rng.normal(size=shape), dtype=np.float64) for _ in model.rnn.cell.states) for _ in range(2)]
    ids = rng.integers(0, V, (3, 2, T, B)).astype(np.int32)
    ids[:, 1] *= not learnable
    return model, [Window(*both, state) for both, state in zip(ids, [None, *states])]


def gradient(model: LanguageModel, window: Window, weight: float = 1.0) -> tuple[np.ndarray, Any]:
    """(the gradient of weight * the mean loss of a model unrolled over a window, the last state)."""
    with Tape() as tape:
        logits, last = model(window.inputs, window.state)
        loss = cross_entropy(logits, targets=window.targets)
    model.flat.zero_grad()
    tape.backward(loss, weight)
    return model.flat.grad.copy(), last


# --- identities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", VARIED)
def test_windows_are_what_training_with_so_many_steps_computes(cell: str, num_layers: int) -> None:
    """Every K: the sum of the gradients of the windows, the state's value carried from one to the next."""
    model, windows = small(cell, num_layers)
    for window in windows:
        cuts = Cuts(model, window)
        full, _ = gradient(model, window)
        assert np.linalg.norm(full) > 1e-3
        for num_steps in range(1, T + 1):
            total, state = np.zeros_like(full), window.state
            for start in range(0, T, num_steps):
                steps = slice(start, start + num_steps)
                piece = Window(window.inputs[steps], window.targets[steps], state)
                part, last = gradient(model, piece, len(piece.inputs) / T)
                total, state = total + part, tuple(Tensor(tensor.data) for tensor in last)
            cuts.windows(num_steps)
            np.testing.assert_allclose(cuts.row, total, rtol=0, atol=1e-13, err_msg=f"K = {num_steps}")
        np.testing.assert_allclose(cuts.row, full, rtol=0, atol=1e-13)  # K = T


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", VARIED)
def test_back_is_what_each_loss_computes_from_its_last_steps(cell: str, num_layers: int) -> None:
    """Every K: a tape of its own for each loss, over its last K time steps from a state that counts as given."""
    model, windows = small(cell, num_layers)
    for window in windows[1:]:
        cuts = Cuts(model, window)
        full, _ = gradient(model, window)
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
                    total[model.flat.slices[parameter.name]] += part.reshape(-1)
            np.testing.assert_allclose(cuts.row, total, rtol=0, atol=1e-13, err_msg=f"K = {k}")
        np.testing.assert_allclose(cuts.row, full, rtol=0, atol=1e-13)  # K = T


@pytest.mark.parametrize("settings", [{"tied": True, "embedding_size": 4}, {"embedding_size": 0}])
def test_a_tied_embedding_has_a_part_that_is_not_cut_and_none_has_nothing(settings: dict[str, Any]) -> None:
    model, (window, *_) = small("lstm", 2, **settings)
    assert ("embedding.weight" in model.flat.parameters) == bool(settings["embedding_size"])
    cuts = Cuts(model, window)
    full, _ = gradient(model, window)
    np.testing.assert_allclose(cuts.row, full, rtol=0, atol=1e-13)
    for _ in cuts.by_lag():
        pass
    np.testing.assert_allclose(cuts.row, full, rtol=0, atol=1e-13)


def test_windows_of_a_real_training_loop() -> None:
    """The same loop that trains: micrornn.windows.Windows over lanes, state carried, no update in between."""
    model, _ = small("lstm", 2)
    ids = np.random.default_rng(2).integers(0, V, 13 * B).astype(np.int32)
    for num_steps in (2, 3, 4):
        windows, total = Windows(Lanes(ids, B, num_steps)), 0.0
        for _ in range(12 // num_steps):
            part, last = gradient(model, Window(*windows.next()), num_steps / 12)
            windows.carry(last)
            total = total + part
        cuts = Cuts(model, Window(*Lanes(ids, B, 12).window(0), None))
        cuts.windows(num_steps)
        np.testing.assert_allclose(cuts.row, total, rtol=0, atol=1e-13)


def test_a_linear_scalar_recurrence_has_its_closed_form() -> None:
    """x_t = w x_{t-1}, x_0 = 0.9, w = 0.2: dx_3/dw = 3 w^2 x_0 = 0.108, and each time step gives a third of it."""
    model, _ = small("rnn_relu", hidden_size=1, embedding_size=1)
    for weight in model.rnn.weights.values():
        weight.data[...] = 0
    model.rnn.weights["weight_hh_l0"].data[...] = 0.2
    ids = np.zeros((3, 1), np.int32)
    cuts = Cuts(model, Window(ids, ids, (Tensor([[[0.9]]], dtype=np.float64),)))
    cuts.dy[:, 0, 0] = 0, 0, 1  # the loss is x_3
    place = model.flat.slices["rnn.weight_hh_l0"]
    back = [cuts.row[place].item() for _ in cuts.by_lag()]
    np.testing.assert_allclose(back, [0.036, 0.072, 0.108], rtol=1e-14)
    windows = []
    for num_steps in (1, 2, 3):
        cuts.windows(num_steps)
        windows.append(cuts.row[place].item())
    np.testing.assert_allclose(windows, [0.036, 0.036, 0.108], rtol=1e-14)  # K = 2: x_3 is alone in its window


# --- the measure ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_bias_and_cosine_are_those_of_pairs_of_lanes(cell: str) -> None:
    """From the flat gradient of each lane: || E d ||^2 is the mean of <d_i, d_j> over pairs of different lanes."""
    model, windows = small(cell, 2, learnable=True, dropout=0.5)
    before, heard = model.flat.data.copy(), []
    measure = truncation(model, windows, lambda *told: heard.append(told), run="r")
    assert measure.subject == {"run": "r", "seq_len": T, "windows": 3, "lanes": B}
    assert heard == [(n, 18) for n in range(1, 19)]
    assert (model.flat.data == before).all() and model.training
    assert measure.axes["K"].places == (1, 2, 3)
    bias = measure["bias"]
    np.testing.assert_allclose(bias[0, 0], bias[1, 0], rtol=1e-9)  # K = 1 is the same in both ways

    model = model.copy(dropout=0.0)
    full, off = [], []
    for piece in pieces(windows, 1):
        cuts = Cuts(model, piece)
        full.append(cuts.full)
        cuts.windows(3)
        off.append(cuts.row - full[-1])
    others = ~np.eye(9, dtype=bool)

    def mean(a: Any, b: Any, keep: Any = slice(None)) -> float:
        gram = np.array(a) @ np.array(b).T
        return float(gram[keep][:, keep][others[keep][:, keep]].mean())

    signal, square, product = mean(full, full), mean(off, off), mean(off, full)
    assert bias[0, 2] == pytest.approx(math.sqrt(max(0, square / signal)), rel=1e-9)
    left = [np.delete(np.arange(9), n) for n in range(9)]
    error = math.sqrt(8 * np.var([mean(off, off, keep) / mean(full, full, keep) for keep in left]))
    assert measure["high"][0, 2] == pytest.approx(math.sqrt(max(0, square / signal + 2 * error)), rel=1e-9)
    norm = math.sqrt(signal * (signal + 2 * product + square))
    assert measure["cosine"][0, 2] == pytest.approx(min(1, (signal + product) / norm), rel=1e-9)
    share = math.sqrt(np.square(off).sum() / np.square(full).sum())
    assert measure.numbers["share"].value == pytest.approx(share, rel=1e-9)
    first = [piece_of(window, slice(None), slice(0, 3)) for window in windows]
    scale = noise(model, first).numbers["scale"].value  # an update of the run has 2 lanes of 3 time steps
    assert measure.numbers["noise"].value == pytest.approx(math.sqrt(scale / 2), rel=1e-9)


def test_the_bias_is_not_that_of_the_noise() -> None:
    """Made-up gradients in blocks: a bias of 20 %, below noise five times as large."""
    rng, found = np.random.default_rng(0), []
    whole, lost = np.zeros(300), np.zeros(300)
    whole[:4], lost[4:6] = 5.0, math.sqrt(2)  # norms 10 and 2
    for _ in range(200):
        full = whole + rng.normal(size=(12, 300)) * 10 / math.sqrt(300)
        off = lost + rng.normal(size=(12, 300)) * 10 / math.sqrt(300)
        found.append(bias_of(np.ones(12), full @ full.T, (off @ off.T)[None], (off @ full.T)[None]))
    naive = np.linalg.norm(off.mean(axis=0)) / np.linalg.norm(full.mean(axis=0))
    assert naive > 0.3
    square = np.array([bias.square[0] for bias in found])
    assert abs(square.mean() - 0.04) < 4 * square.std() / math.sqrt(200)
    assert 0.8 < np.mean([bias.error[0] for bias in found]) / square.std() < 1.5  # rather too wide
    assert np.mean([bias.low[0] <= 0.2 <= bias.high[0] for bias in found]) > 0.9
    assert np.mean([bias.cosine[0] for bias in found]) == pytest.approx(10 / math.hypot(10, 2), abs=0.01)


def test_sums_that_take_too_much_memory_are_made_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, windows = small("lstm", 2)
    whole = truncation(model, windows)
    monkeypatch.setattr(bias, "MEMORY", 1)
    some = truncation(model, windows)
    for name in ("bias", "high", "cosine", "bound"):
        np.testing.assert_array_equal(whole[name], some[name])


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
    np.testing.assert_allclose(limit, bound(np.array(norms), sums)[: len(limit)], rtol=1e-9)


def test_too_little_text() -> None:
    model, windows = small()
    measure = truncation(model, [piece_of(windows[0], slice(0, 2))])
    assert measure.verdicts[0].kind == "unsure" and "nan" not in measure.verdicts[0].words
    assert panels(measure) == []
    with pytest.raises(ConfigError, match="there is no window"):
        truncation(model, [])
    with pytest.raises(ConfigError, match="clipped"):
        truncation(model.copy(clip_message=1.0), windows)


@pytest.mark.parametrize("value, kind", [(math.nan, "nonfinite"), (0.0, "dead")])
def test_a_gradient_to_which_nothing_compares(value: float, kind: str) -> None:
    model, windows = small(learnable=True)
    if math.isnan(value):
        model.flat.data[...] = value
    else:  # nothing comes through the recurrent layer
        model.decoder.weight.data[...] = 0
    measure = truncation(model, windows)
    assert measure.verdicts[0].kind == kind
    panels(measure)


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


KS = grid(192, 50)
SHORT = np.where(np.array(KS) < 9, 0.5, 0.0)  # the bias if each loss sees K back
FAR = np.full(len(KS), 0.4)


def found(own: float, num_steps: int = 50, back: np.ndarray = SHORT, error: float = 1e-5, **more: Any) -> Found:
    """Windows have a bias of `own` at num_steps, and 1 / K elsewhere."""
    value = np.where(np.array(KS) == num_steps, own, 1 / np.array(KS))
    noise = {"noise": (1.3, 1.2), "share": 0.3, "lr_left": 1.0} | more

    def of(values: np.ndarray, told: bool = True) -> Bias:
        return Bias(values**2, np.full(len(KS), error), np.ones(len(KS)), 1.0 if told else 0.1, 0.1, 16)

    told = bool(noise.pop("told", True))
    return Found(KS, 192, num_steps, 32, of(value, told), of(back), **noise)


@pytest.mark.parametrize(
    "given, kind, told",
    [
        (found(0.02), "healthy", "bend the mean gradient by 2.0 %"),
        (found(0.44, 1), "biased", "Windows of 1 time step, as in training, bend the mean gradient by 44 %"),
        (found(0.28, 64), "biased", "28 % (28 % to 28 %). The noise of one update is 130 % of it"),
        (found(0.44, 1, noise=(math.inf, 7.0)), "biased", "700 % or more of it"),  # noise is no excuse
        (found(0.87, 8, noise=(20.0, 9.0)), "biased", "87 %"),
        (found(0.09, 16), "healthy", "the limit is 10 %"),
        (found(0.03, error=2e-3), "healthy", "3.0 %, which cannot be told from 0 (7.0 % at most)"),
        (found(0.03, error=0.2), "unsure", "cannot tell whether that is much"),
        (found(0.6, 32, lr_left=0.05, share=0.15), "unsure", "only 5.0 % of the learning rate was left"),
        (found(0.6, 1, lr_left=0.05, share=0.45), "biased", "That is too much"),
        (found(0.02, 97), "unsure", "cannot be judged from 192"),
        (found(0.02, back=FAR), "unsure", "Even if each loss sees 96 time steps back"),
        (found(0.02, told=False), "unsure", "cannot be told from 0 in this much text"),
    ],
)
def test_verdicts(given: Found, kind: str, told: str) -> None:
    verdict = judge(given)
    assert verdict.kind == kind and told in verdict.words
    assert "--num-steps" not in verdict.advice  # `advise` alone recommends sizes
    numbers = numbers_of(given)
    assert bool(numbers) == given.windows.told
    if given.num_steps < 20 or given.num_steps == 97:  # 1 / 24 is the first below 5 %
        assert numbers["windows_5"].value == 24


def test_how_truncation_is_drawn() -> None:
    model, windows = small(learnable=True)
    measure = truncation(model, windows, trained={"num_steps": 3})
    bias, cosine, rows = panels(measure)
    assert isinstance(bias, Lines) and isinstance(cosine, Lines) and isinstance(rows, Rows)
    assert bias.curves[0].name.startswith("windows") and bias.curves[1].name.startswith("each loss")
    drawn = measure["bias"][0]
    np.testing.assert_array_equal(bias.curves[0].y[drawn > 0], drawn[drawn > 0])
    assert [mark.x for mark in bias.marks] == [3]
    assert [row[0] for row in rows.rows] == ["1", "2", "3"]
    assert all(len(row) == len(rows.columns) for row in rows.rows)
