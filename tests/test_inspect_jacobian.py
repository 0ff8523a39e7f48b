"""Recurrent Jacobians: equal to numeric ones, right in what they say of networks whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from kernel_rows import VARIED

from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn.inspect.jacobian import jacobian, panels
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Lines, Rows
from micrornn.inspect.recorded import Layer, layers_on, record, states
from micrornn.inspect.spectrum import Jacobians, dimension, lyapunov, product_norms, singular, stretches, top_singular
from micrornn.inspect.window import Window
from micrornn.ops import cross_entropy
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn.tasks.parts import Features
from micrornn.tasks.text import LanguageModel

T, B, D, H, V = 6, 3, 4, 5, 7


def layers(cell: str, masked: bool = False, num_layers: int = 2) -> tuple[Tape, list[Layer]]:
    """Two layers in both directions over something random, from random states."""
    rng = np.random.default_rng(3)
    model = Recurrent(cell, D, H, num_layers, True, dtype=np.float64, seed=1)
    for weight in model.weights.values():
        weight.data[...] = rng.normal(size=weight.shape) * 0.6
    shape = (2 * num_layers, B, H)
    state = [Tensor(rng.normal(size=shape), dtype=np.float64) for _ in model.cell.states]
    x = Tensor(rng.normal(size=(T, B, D)), dtype=np.float64)
    with Tape() as tape:
        model(x, state, mask=rng.random((T, B)) < 0.6 if masked else None)
    return tape, layers_on(tape)


def step(layer: Layer, t: int, state: np.ndarray) -> np.ndarray:
    """The layer's next state from (h) or (h, c), (B, S), by the op itself: its input of time step t held fixed."""
    saved, weights = layer.saved, layer.record.inputs[1 + len(layer.states) :]
    options: dict[str, Any] = {"reverse": layer.reverse}
    options |= {"mask": saved["mask"][t : t + 1]} if saved["mask"].size else {}
    parts = [Tensor(part, dtype=np.float64) for part in np.split(state, state.shape[1] // H, axis=1)]
    _, *end = layer.cell.op(Tensor(saved["x"][t : t + 1]), *parts, *weights, **options)
    return np.concatenate([part.data for part in end], axis=1)


def around(layer: Layer) -> Iterator[tuple[int, np.ndarray]]:
    """(t, the state that time step t starts from) in the order of the layer's walk."""
    names = [name for name in ("h", "c") if name in layer.saved]
    rows = np.concatenate([layer.saved[name] for name in names], axis=2)
    for t in reversed(range(T)) if layer.reverse else range(T):
        yield t, rows[t + 1 if layer.reverse else t]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cell", VARIED)
def test_equal_to_central_differences(cell: str, masked: bool) -> None:
    for layer in layers(cell, masked)[1]:
        jacobians = Jacobians.of(layer)
        dense = jacobians.dense().reshape(T, B, jacobians.size, jacobians.size)
        for (t, state), matrices in zip(around(layer), dense):
            for j in range(jacobians.size):
                nudge = 1e-5 * np.eye(jacobians.size)[j]
                numeric = (step(layer, t, state + nudge) - step(layer, t, state - nudge)) / 2e-5
                np.testing.assert_allclose(matrices[:, :, j], numeric, rtol=0, atol=1e-8)
        transposed = jacobians.vjp(np.broadcast_to(np.eye(jacobians.size), jacobians.dense().shape))
        np.testing.assert_allclose(transposed, jacobians.dense(), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(jacobians.of_h().dense(), jacobians.dense()[:, :H, :H])
        np.testing.assert_array_equal(Jacobians.of(layer, slice(1, 2)).dense(), dense[:, 1])


@pytest.mark.parametrize("cell", VARIED)
def test_all_steps_one_after_the_other_are_what_the_tape_passes_back(cell: str) -> None:
    tape, found = layers(cell, masked=True, num_layers=1)
    for layer in found:
        ends, starts = layer.record.outputs[1:], layer.record.inputs[1 : 1 + len(layer.states)]
        rng = np.random.default_rng(0)
        seeds = [rng.normal(size=end.shape) for end in ends]
        for start in starts:
            start.requires_grad = True
        layer.record.needs = (True,) * len(layer.record.needs)
        wanted = tape.cotangents(starts, ends, seeds)
        back = np.concatenate(seeds, axis=1)[:, None]
        jacobians = Jacobians.of(layer)
        for t in reversed(range(T)):
            back = jacobians[t * B : (t + 1) * B].vjp(back)
        np.testing.assert_allclose(back[:, 0], np.concatenate(wanted, axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_iteration_finds_what_decomposition_finds(cell: str) -> None:
    jacobians, rng = Jacobians.of(layers(cell)[1][0]), np.random.default_rng(0)
    exact, size = singular(jacobians), jacobians.size
    found, _ = top_singular(jacobians.jvp, jacobians.vjp, rng.normal(size=(len(jacobians), 3, size)), 1e-12, 1000)
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=1e-9)

    steps, lags = [jacobians[t * B : (t + 1) * B] for t in range(T)], [1, 2, 6]
    product, norms = np.eye(size), []
    for n, one in enumerate(steps, 1):
        product = one.dense() @ product
        norms += [np.linalg.norm(product, 2, axis=(1, 2))] if n in lags else []
    np.testing.assert_allclose(np.exp(product_norms(steps, lags, rng)), norms, rtol=2e-2)

    exponents = stretches(steps, size, rng).mean(axis=0)  # all together they are the logarithm of the volume
    volume = np.log(np.abs(np.linalg.det(jacobians.dense()))).reshape(T, B).mean(axis=0)
    np.testing.assert_allclose(exponents.sum(axis=1), volume, rtol=1e-10)


@pytest.mark.parametrize("exponents, wanted", [([-0.1, -1], 0), ([1, -0.5, -1], 2.5), ([1, -4, -9], 1.25)])
def test_lyapunov_dimension(exponents: list[float], wanted: float) -> None:
    assert dimension(np.array(exponents)) == wanted
    assert np.isnan(dimension(np.array([0.5, -0.1])))


def model_of(cell: str, hidden_size: int, num_layers: int = 1, **more: Any) -> LanguageModel:
    """more: settings, and what the weights of the lowest layer shall be."""
    weights = {name: more.pop(name) for name in list(more) if name.startswith(("weight_", "bias_"))}
    config = Config(cell=cell, hidden_size=hidden_size, num_layers=num_layers, embedding_size=D, dtype="float64")
    model = LanguageModel(Config.from_dict(config.to_dict() | more, "the test"), V)
    for name, value in weights.items():
        model.rnn.weights[f"{name}_l0"].data[...] = value
    model.train(False)
    return model


def windows(seq_len: int, count: int = 1, lanes: int = 4) -> list[Window]:
    ids = np.random.default_rng(2).integers(0, V, (count, seq_len + 1, lanes), dtype=np.int32)
    return [Window(row[:-1], row[1:], None) for row in ids]


def kinds(measure: Measure) -> list[str]:
    return [verdict.kind for verdict in measure.verdicts]


def test_a_linear_network_has_the_exponents_and_the_half_life_of_its_eigenvalues() -> None:
    # relu with nothing negative in it is linear. A tridiagonal matrix (b, a, b) has the eigenvalues
    # a + 2 b cos(pi k / (H + 1)).
    matrix = 0.5 * np.eye(H) + 0.2 * (np.eye(H, k=1) + np.eye(H, k=-1))
    model = model_of("rnn_relu", H, weight_hh=matrix)
    model.flat.data[...] = np.abs(model.flat.data)
    eigenvalues = 0.5 + 0.4 * np.cos(np.pi * np.arange(1, H + 1) / (H + 1))
    for exact in (True, False):
        measure = jacobian(model, windows(100), exact=exact)
        np.testing.assert_allclose(measure["exponents"][0], np.log(eigenvalues), rtol=0.01)
        np.testing.assert_allclose(measure["half_life"], np.log(2) / -np.log(eigenvalues[0]), rtol=0.01)
        np.testing.assert_allclose(measure["product"][0], eigenvalues[0] ** measure.axes["lag"].places, rtol=0.02)
        np.testing.assert_allclose(measure["largest"], eigenvalues[0], rtol=1e-3)
        np.testing.assert_allclose(measure["spectrum"][0], eigenvalues, rtol=1e-3)
    assert kinds(measure) == ["healthy"]
    assert f"{np.log(eigenvalues[0]):.3g}" in measure.verdicts[0].words


def random_network(gain: float) -> LanguageModel:
    """tanh units, each fed by all others with random weights: chaos begins at a gain of 1 where nothing drives it
    (Sompolinsky, Crisanti and Sommers 1988)."""
    return model_of("rnn", 40, weight_hh=np.random.default_rng(0).normal(size=(40, 40)) * gain / np.sqrt(40))


def relus(**weights: Any) -> LanguageModel:
    """All of them on: they read ones, through weights of which none is negative."""
    model = model_of("rnn_relu", H)
    weights = {name: np.abs(model.rnn.weights[f"{name}_l0"].data) for name in ("weight_ih", "weight_hh")} | weights
    model = model_of("rnn_relu", H, **weights)
    model.embedding.weight.data[...] = 1.0
    return model


@pytest.mark.parametrize(
    "model, wanted",
    [
        (random_network(4.0), ["chaotic", "exploding"]),
        (random_network(0.95), ["healthy"]),
        (random_network(0.2), ["vanishing"]),
        (relus(weight_hh=1.2 * np.roll(np.eye(H), 1, axis=0)), ["exploding"]),
        (model_of("lstm", 16, 2, forget_bias=3.0), ["healthy"]),
        (model_of("lstm", 16, 2, forget_bias=-5.0), ["vanishing"]),
        (model_of("gru", 16), ["vanishing"]),  # new, z is at a half: nothing is left after 16 of 32 time steps
    ],
)
def test_verdicts(model: LanguageModel, wanted: list[str]) -> None:
    measure = jacobian(model, windows(80))
    assert kinds(measure) == wanted, measure.verdicts
    rate = measure["exponents"][:, 0].max()
    assert (rate > 0.01) == (wanted[-1] == "exploding")
    drawn = panels(measure)
    assert {type(panel) for panel in drawn} == {Lines, Rows}
    for curve in [curve for panel in drawn if isinstance(panel, Lines) for curve in panel.curves]:
        assert curve.x.shape == curve.y.shape and np.isfinite(curve.y).all()
    json.dumps(measure.to_dict(), allow_nan=False)


def test_what_adds_up_does_not_explode() -> None:
    """A unit that keeps a state which another adds to: the product grows by 1 at each time step, and so for ever."""
    measure = jacobian(relus(weight_hh=np.eye(H) + np.outer(np.eye(H)[0], np.eye(H)[1])), windows(200))
    assert measure["product"][0, -1] == pytest.approx(100, rel=0.02) and kinds(measure) == ["healthy"]
    assert f"{measure['product'].max():.0f} times, over a lag of 100." in measure.verdicts[0].words


def test_time_steps_are_told_in_the_order_of_the_text_in_both_directions() -> None:
    """And the products begin at places spread over it, each with its own lanes; what drives a unit grows over time."""
    config = Config(cell="rnn", hidden_size=H, num_layers=1, bidirectional=True, dtype="float64")
    model = Features(config, D, V, cross_entropy, "every")
    x = np.random.default_rng(7).normal(size=(20, B, D)) * np.linspace(0, 6, 20)[:, None, None]
    window = Window(x, np.zeros((20, B), np.int32), None)
    measure, recorded = jacobian(model, [window]), record(model, window).layers
    assert measure.axes["layer"].places == ("rnn_l0", "rnn_l0_reverse") and len(recorded) == 2
    for n, layer in enumerate(recorded):
        weight, h = layer.saved["weights"][1], states(layer, "h")
        each = (1 - h[:, :, :, None] ** 2) * weight  # (T, B, H, H)
        norms = np.linalg.norm(each, 2, axis=(2, 3))
        np.testing.assert_allclose(measure["largest"][n], np.median(norms, axis=1), rtol=1e-9)
        walk = each[::-1] if layer.reverse else each
        starts, furthest = (0, 3, 6, 10), 10  # 20 time steps: lags up to 10, from four places
        for at, lag in enumerate(measure.axes["lag"].places):
            products = [
                np.linalg.norm(np.linalg.multi_dot([np.eye(H), *walk[start : start + lag, lane][::-1]]), 2)
                for start in starts for lane in range(B)
            ]  # fmt: skip
            middle = np.quantile(products, 0.5, method="nearest")
            np.testing.assert_allclose(measure["product"][n, at], middle, rtol=2e-2)
        assert lag == furthest


def of_steps(seed: int, lanes: int, seq_len: int, spread: float) -> list[Jacobians]:
    """Diagonal Jacobians, e to random numbers whose neighbours in time are alike."""
    rng = np.random.default_rng(seed)
    drift = np.zeros((lanes, H))
    found = []
    for _ in range(seq_len):
        drift = 0.7 * drift + spread * rng.normal(size=(lanes, H))
        carry = np.exp(drift - 0.1 * np.arange(1, H + 1))[:, None, None]
        found.append(Jacobians(np.zeros((H, H)), carry, np.zeros((lanes, 1, 1, H))))
    return found


@pytest.mark.parametrize("lanes, seq_len", [(1, 150), (4, 80), (8, 40)])
def test_the_error_of_an_exponent_holds(lanes: int, seq_len: int) -> None:
    """The exponents of diagonal matrices are -0.1, -0.2, ...; the error is what they are off by, and not much more."""
    off = []
    for seed in range(12):
        series = stretches(of_steps(seed, lanes, seq_len, 0.2), H, np.random.default_rng(seed))
        exponents, errors = lyapunov(series[seq_len // 4 :])
        assert (np.diff(exponents) <= 0).all()
        off.append((exponents[0] + 0.1) / errors[0])
    assert 0.2 < np.sqrt(np.mean(np.square(off))) < 1.6, off


def test_exponents_are_sorted_and_lanes_that_are_cut_off_do_not_count() -> None:
    series = np.broadcast_to([-0.3, -0.1], (40, 3, 2)).copy()
    exponents, errors = lyapunov(series)
    assert exponents == pytest.approx([-0.1, -0.3]) and errors == pytest.approx([0.5 / 40] * 2)
    series[7, 1, 0] = -np.inf
    assert lyapunov(series)[0] == pytest.approx([-0.1, -0.3])
    series[7, :, 0] = -np.inf
    exponents, errors = lyapunov(series)
    assert exponents[0] == pytest.approx(-0.1) and exponents[1] == -np.inf and np.isnan(errors[1])


@pytest.mark.parametrize("dead", [(0,), (0, 2, 3)])
@pytest.mark.parametrize("exact", [True, False])
def test_a_dead_lane_beside_living_ones(dead: tuple[int, ...], exact: bool) -> None:
    """A relu that is off in some lanes from the start and on in others: no crash, and the living ones are told."""
    model, (window,) = relus(weight_hh=0.8 * np.eye(H), weight_ih=0.0, bias_ih=0.0), windows(60)
    state = np.ones((1, 4, H))
    state[:, dead] = -1.0
    window = Window(window.inputs, window.targets, (Tensor(state),))
    measure = jacobian(model, [window], exact=exact)
    living = len(dead) < 2
    assert measure["exponents"][0, 0] == pytest.approx(np.log(0.8) if living else -np.inf)
    json.dumps(measure.to_dict(), allow_nan=False)
    assert "inf" not in measure.verdicts[0].words
    jacobians = Jacobians.of(record(model, window).layers[0])
    each = [jacobians[t * 4 : (t + 1) * 4] for t in range(60)]
    norms = product_norms(each, [1, 30], np.random.default_rng(0))
    assert np.isneginf(norms[:, dead]).all() and np.allclose(np.delete(norms, dead, axis=1)[1], 30 * np.log(0.8))


def test_products_of_thousands_of_steps_do_not_overflow() -> None:
    one = Jacobians(np.zeros((H, H)), np.full((2, 1, 1, H), 5.0), np.zeros((2, 1, 1, H)))
    other = Jacobians(np.zeros((H, H)), np.full((2, 1, 1, H), np.nan), np.zeros((2, 1, 1, H)))
    assert np.allclose(product_norms([one] * 2000, [2000], np.random.default_rng(0)), 2000 * np.log(5.0))
    assert np.isnan(product_norms([one, other], [2], np.random.default_rng(0))).all()


def test_states_in_chaos_do_drift_apart_at_that_rate() -> None:
    model, (window,) = random_network(4.0), windows(30, lanes=8)
    h, small = np.random.default_rng(5).normal(size=(1, 8, 40)) * 0.5, 1e-10
    ends = [model(window.inputs, (Tensor(h + nudge),))[1][0].data for nudge in (0, small)]
    grown = np.log(np.linalg.norm(ends[1] - ends[0], axis=2) / np.linalg.norm(np.full((1, 8, 40), small), axis=2))
    rate = jacobian(model, windows(60, lanes=8), exponents=1, exact=False)["exponents"][0, 0]
    np.testing.assert_allclose(grown.mean() / 30, rate, atol=0.1)


def test_largest_by_iteration_is_that_of_the_decomposition() -> None:
    model = model_of("lstm", 12, 2)
    one, other = (jacobian(model, windows(25, 3, 2), exact=exact) for exact in (True, False))
    np.testing.assert_allclose(one["largest"], other["largest"], rtol=5e-3)
    computed = np.isfinite(other["smallest"])
    assert 0 < computed[0].sum() < 25
    assert np.isfinite(one["smallest"]).all()
    assert (one["largest_h"] <= one["largest"] * 1.001).all()  # a block stretches no more than the whole
    assert one.subject["lanes"] == 6


def test_what_cannot_be_told() -> None:
    assert kinds(jacobian(model_of("gru", 8), windows(10))) == ["unsure"]
    assert kinds(jacobian(model_of("gru", 8), windows(1))) == ["unsure"]
    with pytest.raises(ConfigError, match="no window"):
        jacobian(model_of("gru", 8), [])
    measure = jacobian(model_of("rnn_relu", 8, bias_hh=np.inf), windows(5))
    assert kinds(measure) == ["nonfinite"] and "time step 0" in measure.verdicts[0].words
    assert panels(measure) == []


def test_units_that_are_cut_off_shrink_to_nothing() -> None:
    measure = jacobian(model_of("rnn_relu", 8, bias_hh=-100.0), windows(30))
    assert kinds(measure) == ["vanishing"]
    assert (measure["exponents"] == -np.inf).all() and (measure["product"] == 0).all()


def test_it_leaves_the_model_alone_and_tells_how_far_it_is() -> None:
    model, told = model_of("lstm", 8, 2, granularity="cell"), []
    before, grad = model.flat.data.copy(), model.flat.grad.copy()
    measure = jacobian(model, windows(20, 2), lambda done, total: told.append((done, total)), run="a run")
    assert told[-1][0] == told[-1][1] and measure.subject["run"] == "a run"
    assert measure.axes["layer"].places == ("lstm_l0", "lstm_l1")
    np.testing.assert_array_equal(model.flat.data, before)
    np.testing.assert_array_equal(model.flat.grad, grad)
    assert model.rnn.granularity == "cell"
