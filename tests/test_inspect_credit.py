"""The sweep over all losses, and the credit that is read off it: identities in float64, known decays, verdicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from kernel_rows import VARIED

from micrornn.cells import find_cell
from micrornn.config import Config
from micrornn.errors import ConfigError
from micrornn.inspect.carried import Carried
from micrornn.inspect.credit import _judge, credit, matrices, panels
from micrornn.inspect.fading import decay, fitted, half_life, lag_profile, reach, share
from micrornn.inspect.panels import Heat, Lines, Rows
from micrornn.inspect.recorded import Layer, layers_on
from micrornn.inspect.sweep import levels_of, sweep
from micrornn.inspect.window import Window
from micrornn.parameters import Initializer, identity, orthogonal
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel

T, B, D, H = 7, 2, 3, 4


def recorded(cell: str, num_layers: int, bidirectional: bool, masked: bool = False, seq_len: int = T,
             **settings: Any) -> tuple[Tape, Tensor, Tensor, np.ndarray]:  # fmt: skip
    """(tape, x, y, what each time step's loss gives y) of a layer with random inputs and a random initial state."""
    rng = np.random.default_rng(3)
    settings = {"initializers": {"weight_hh": orthogonal}} | settings
    model = Recurrent(cell, D, H, num_layers, bidirectional, dtype=np.float64, **settings)
    shape = (num_layers * len(model.directions), B, H)
    state = [Tensor(np.abs(rng.normal(size=shape)), dtype=np.float64) for _ in model.cell.states]
    x = Tensor(rng.normal(size=(seq_len, B, D)), True, "x", np.float64)
    with Tape() as tape:
        y, _ = model(x, state, mask=rng.random((seq_len, B)) < 0.7 if masked else None)
    return tape, x, y, rng.normal(size=y.shape)


def resolved(levels: Sequence[Sequence[Layer]], dy: np.ndarray) -> dict[str, np.ndarray]:
    """Every dL_s / dh_t, dL_s / dc_t and dL_s / dx_t, (s, t, B, ...), zero where the sweep gives nothing."""
    found: dict[str, np.ndarray] = {}
    for diagonal in sweep(levels, dy):
        for name, part in zip((*diagonal.layer.states, "x"), (*diagonal.dstates, diagonal.dx)):
            if part is not None:
                zero = np.zeros((len(dy), len(dy), *part.shape[1:]))
                found.setdefault(f"{diagonal.layer.name} {name}", zero)[
                    np.r_[diagonal.losses], np.r_[diagonal.steps]
                ] = part
    return found


def ordinary(layer: Layer) -> dict[str, np.ndarray]:
    """What an ordinary backward pass has left in the layer's record: dL / dh_t and dL / dc_t, (t, B, H)."""
    rows = slice(0, -1) if layer.reverse else slice(1, None)
    return {f"{layer.name} {state}": layer.saved[f"d{state}"][rows].copy() for state in layer.states}


# --- identities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", VARIED)
def test_each_loss_alone_and_all_together(cell: str, num_layers: int, bidirectional: bool, masked: bool) -> None:
    """One sweep gives what T backward passes give, one for each loss; and their sum is the ordinary gradient."""
    tape, x, y, dy = recorded(cell, num_layers, bidirectional, masked)
    levels = levels_of(layers_on(tape))
    layers = list(itertools.chain(*levels))
    assert len(layers) == num_layers * (1 + bidirectional)
    found = resolved(levels, dy)
    for s in range(T):
        alone = np.zeros_like(dy)
        alone[s] = dy[s]
        (dx,) = tape.cotangents([x], [y], [alone])
        for layer in layers:
            for name, gradient in ordinary(layer).items():
                np.testing.assert_allclose(found[name][s], gradient, rtol=0, atol=1e-12, err_msg=f"{name}, loss {s}")
        below = sum(found[f"{layer.name} x"][s] for layer in levels[0])
        np.testing.assert_allclose(below, dx, rtol=0, atol=1e-12)
    tape.cotangents([x], [y], [dy])
    for layer in layers:
        for name, gradient in ordinary(layer).items():
            np.testing.assert_allclose(found[name].sum(axis=0), gradient, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", VARIED)
def test_no_credit_flows_forward_in_time(cell: str, bidirectional: bool) -> None:
    """C[s, t] = 0 for t > s in one direction, for t < s in the other; below both of them, nowhere."""
    tape, _, _, dy = recorded(cell, 2, bidirectional, initializers={"weight_hh": orthogonal, "bias": _ones})
    found = matrices(levels_of(layers_on(tape)), dy)
    both = {cell for cell in found if "l0" in cell or cell == "all"} if bidirectional else set()
    assert len(found) == 1 + 2 * (1 + bidirectional) * len(find_cell(cell).states)
    for name, c in found.items():
        if name in both:
            assert (c > 0).all(), name
        else:
            behind = np.tril(np.ones((T, T), bool))
            assert ((c > 0) == (behind.T if name.split()[0].endswith("reverse") else behind)).all(), name
    gradients = [part for name, part in resolved(levels_of(layers_on(tape)), dy).items() if not name.endswith(" x")]
    together = np.sqrt(sum(np.square(part).sum(axis=3) for part in gradients)).mean(axis=2)  # all states of a lane
    np.testing.assert_allclose(found["all"], together, rtol=1e-12)


def _ones(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.5)


def test_clipped_messages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lstm_l0: .* clipped to 0.5"):
        levels_of(layers_on(recorded("lstm", 1, False, clip_message=0.5)[0]))


# --- known decays ---------------------------------------------------------------------------------------------


def scaled(factor: float) -> Initializer:
    return lambda rng, shape: factor * identity(rng, shape)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.05])
def test_a_linear_network_has_the_half_life_of_its_eigenvalue(factor: float) -> None:
    """A relu of positive numbers is linear: with W_hh = factor I, dL_s / dh_t = factor^(s - t) dL_s / dh_s."""
    weights = {"weight_hh": scaled(factor), "weight_ih": scaled(0.0), "bias": _ones}
    tape, _, _, dy = recorded("rnn_relu", 1, False, seq_len=40, initializers=weights)
    for layer in itertools.chain(*levels_of(layers_on(tape))):
        assert (layer.saved["gates"] > 0).all()
    profile = lag_profile(matrices(levels_of(layers_on(tape)), np.ones_like(dy))["all"])
    np.testing.assert_allclose(profile, profile[0] * factor ** np.arange(40), rtol=1e-12)
    assert decay(profile, 20) == pytest.approx(factor, rel=1e-10)
    numbers, (verdict,) = _judge(profile, 10, Carried(5, 10, {"rnn_relu_l0": 1.0}, {}, "rnn_relu"))
    wanted = math.log(0.5) / math.log(factor) if factor < 1 else math.inf
    assert numbers["half_life"].value == pytest.approx(wanted, rel=0.01)
    assert verdict.kind == {0.6: "healthy", 0.9: "healthy", 1.05: "exploding"}[factor]


def test_reach_and_share() -> None:
    profile = 0.5 ** np.arange(60.0)
    assert reach(profile) == 7 and reach(profile[:7]) is None  # 2^-7 < 0.01
    # of the pairs at lag k, windows of n keep 1 - k / n: the mean lag is 1, so they lose 1 / n
    assert share(profile, 1) == pytest.approx(0.5) and share(profile, 50) == pytest.approx(0.98)
    assert share(profile, 1000) == pytest.approx(0.999)
    assert fitted(profile) == (pytest.approx(0.5), 7) and half_life(0.5) == pytest.approx(1)
    profile[3] *= 1e6  # no single lag bends the slope
    assert decay(profile, 50) == pytest.approx(0.5, rel=1e-3)
    assert math.isnan(decay(np.zeros(9), 8))


@pytest.mark.parametrize(
    "profile, num_steps, carried, kind, told",
    [
        (0.1 ** np.arange(60.0), 50, 0.001, "vanishing", "keeps at most 0.10 % of a gradient"),
        (0.1 ** np.arange(60.0), 50, 0.5, "healthy", "below 1 % 3 time steps back"),  # it forgets because it may
        (0.7 ** np.arange(200.0), 1000, 1.2, "healthy", "below 1 % 13 time steps back"),
        (0.7 ** np.arange(200.0), 50, 0.02, "healthy", "falls below half of its size 2 time steps back"),
        (0.7 ** np.arange(200.0), 50, 0.0, "vanishing", "keeps nothing of a gradient"),
        (0.99 ** np.arange(60.0), 50, 1.0, "healthy", "stays above half of its size, and 55 % of it is left 59"),
        (np.r_[np.ones(8), np.full(52, 0.17)], 50, 1.0, "healthy", "half of its size 8 time steps back, and 17 %"),
        (np.ones(60), 50, 1.0, "healthy", "hardly fades, and 100 % of it is left 59 time steps back"),
        (np.linspace(1, 1.3, 60), 50, 1.0, "healthy", "hardly fades, and is 1.3 times as large 59 time steps back"),
        (1.1 ** np.arange(60.0), 50, 1.0, "exploding", "59 time steps back it is 277 times as large"),
        (np.r_[np.ones(1), 0.7 ** np.arange(-20.0, 40)], 50, 1.0, "exploding", "1 time step back"),
        (np.ones(5), 50, 1.0, "unsure", "5 time steps are too few"),
        (np.zeros(60), 50, 1.0, "vanishing", "nothing arrives"),
        (np.r_[1.0, np.zeros(59)], 50, 0.0, "vanishing", "falls below 1 % of its size 1 time step back"),
        (np.r_[np.ones(9), np.full(51, np.inf)], 50, 1.0, "nonfinite", "NaN or infinite 9 time steps back"),
    ],
)  # fmt: skip
def test_verdicts(profile: np.ndarray, num_steps: int, carried: float, kind: str, told: str) -> None:
    able = Carried(num_steps // 2, num_steps, {"lstm_l0": carried}, {}, "lstm")
    numbers, (verdict,) = _judge(profile, num_steps, able)
    assert verdict.kind == kind and told in verdict.words and "inf " not in verdict.words
    assert set(numbers) <= set(verdict.numbers) or kind == "unsure"
    assert "--num-steps" not in verdict.advice or kind == "exploding"


def test_a_half_life_is_the_same_in_the_table_and_in_the_verdict() -> None:
    """Of a gradient that fades fast at first and slowly later: what is fitted ends where 1 % is left."""
    model, windows = small(num_steps=6)
    measure = credit(model, windows)
    rows = next(panel for panel in panels(measure) if isinstance(panel, Rows)).rows
    told = measure.verdicts[0].numbers["half_life"]
    assert rows[0][1] == f"{told:,.1f}" == f"{float(half_life(fitted(measure['profile'][0])[0])):,.1f}"


# --- of a language model --------------------------------------------------------------------------------------


def small(**settings: Any) -> tuple[LanguageModel, list[Window]]:
    """A tiny language model in float64, and three windows of nonsense for it."""
    chosen = {"hidden_size": 5, "embedding_size": 3, "dtype": "float64", "num_steps": 6, "dropout": 0.5} | settings
    model, rng = LanguageModel(Config(**chosen), 6), np.random.default_rng(0)
    ids = rng.integers(0, 6, (3, 12, 2)).astype(np.int32)
    return model, [Window(part, part[::-1].copy(), None) for part in ids]


def test_credit_of_a_language_model() -> None:
    """The natural losses: the sum over s of dL_s / dh_t is the gradient of the sum, and the mean of norms is C."""
    model, windows = small(num_layers=2)
    before, heard = model.flat.data.copy(), []
    measure = credit(model, windows, lambda *told: heard.append(told), run="r", trained={"num_steps": 6})
    assert measure.subject == {"run": "r", "trained": {"num_steps": 6}, "seq_len": 12, "windows": 3, "lanes": 2}
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert measure.axes["part"].places == ("all", "lstm_l1 h", "lstm_l1 c", "lstm_l0 h", "lstm_l0 c")
    assert measure["credit"].shape == (5, 12, 12) and measure["spread"].shape == (3, 12)
    np.testing.assert_allclose(measure["spread"].mean(axis=0), measure["profile"][0], rtol=1e-12)
    assert (model.flat.data == before).all() and not model.flat.grad.any() and model.training

    # softmax - one-hot through the decoder is the gradient at the top layer's own time step: lag 0
    model.train(False)
    lag_0 = []
    for window in windows:
        logits, _ = model(window.inputs)
        p = np.exp(logits.data) / np.exp(logits.data).sum(axis=2, keepdims=True)
        dh = (p - np.eye(6)[window.targets]) @ model.decoder.weight.data
        lag_0.append(np.linalg.norm(dh, axis=2).mean())
    assert measure["profile"][1, 0] == pytest.approx(np.mean(lag_0), rel=1e-12)

    plain = credit(model.copy(granularity="primitive"), windows)
    np.testing.assert_array_equal(plain["credit"], measure["credit"])


@pytest.mark.parametrize("factor, kind", [(0.05, "vanishing"), (1.3, "exploding"), (math.nan, "nonfinite")])
def test_made_up_runs_get_their_verdict(factor: float, kind: str) -> None:
    model, windows = small(cell="rnn_relu", dropout=0.0)
    weights = model.rnn.weights
    weights["weight_hh_l0"].data[...] = factor * np.eye(5)
    weights["bias_ih_l0"].data[...] = 5.0
    measure = credit(model, windows)
    assert measure.verdicts[0].kind == kind
    assert all(panels(measure))


def test_credit_needs_windows_and_unclipped_messages() -> None:
    model, windows = small()
    with pytest.raises(ConfigError, match="there is no window"):
        credit(model, [])
    with pytest.raises(ConfigError, match="clipped"):
        credit(model.copy(clip_message=1.0), windows)


def test_how_credit_is_drawn() -> None:
    model, windows = small()
    measure = credit(model, windows, trained={"num_steps": 6})
    lines, heat, rows = panels(measure)
    assert isinstance(lines, Lines) and isinstance(heat, Heat) and isinstance(rows, Rows)
    assert [curve.name for curve in lines.curves] == ["all", "lstm_l0 h", "lstm_l0 c"]
    profile = measure["profile"]
    np.testing.assert_allclose([curve.y for curve in lines.curves], profile / profile[:, :1], rtol=1e-12)
    assert [mark.x for mark in lines.marks] == [6] + [n for n in [reach(measure["profile"][0])] if n is not None]
    assert (heat.values == measure["credit"][0]).all() and heat.window == 6
    assert [row[0] for row in rows.rows] == ["all", "lstm_l0 h", "lstm_l0 c"]
    assert all(len(row) == len(rows.columns) for row in rows.rows)
