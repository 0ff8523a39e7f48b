"""Every cell of the table: its kernels are derived from its step, and give the numbers that the step gives."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from kernel_rows import BASIC, Draw, cell_backward, cell_forward, cell_step, compare

from micrornn import kernels
from micrornn.cells import BOTH_SIDES, CELLS, find_cell
from micrornn.cells.explain import explain
from micrornn.errors import ConfigError, ShapeError
from micrornn.gradcheck import gradcheck, projected
from micrornn.kernels import cpu
from micrornn.layers import Linear
from micrornn.ops import mean_squared_error
from micrornn.optim import Optimizer
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn_cli.main import cli

B, D, H = 2, 3, 4
DERIVED = [name for name, cell in CELLS.items() if cell.derivable]


@pytest.mark.parametrize("granularity", ["primitive", "cell", "sequence"])
@pytest.mark.parametrize("name", CELLS)
def test_gradient_is_the_numeric_one(name: str, granularity: str) -> None:
    """With masked time steps, in reverse as well; NumPy computes, so that nothing has to be compiled."""
    if granularity == "sequence" and name not in DERIVED:
        pytest.skip("its kernels cannot be derived")
    rng = np.random.default_rng(3)
    net = Recurrent(
        name, D, H, bidirectional=True, granularity=granularity, learn_initial=True, dtype=np.float64, seed=0
    )
    x, mask = Tensor(rng.normal(size=(3, B, D)), True, "x"), np.array([[1, 1], [1, 0], [1, 1]], bool)
    for weight in net.weights.values():
        weight.data[...] = rng.uniform(-0.5, 0.5, weight.shape)
    leaves = [x, *net.weights.values()]
    with kernels.use("reference"):
        checks = list(gradcheck(lambda: net(x, mask=mask)[0], leaves, samples=2))
        checks.append(projected(lambda: net(x, mask=mask)[0], leaves))  # all numbers at once
    assert max(check.error for check in checks) < 1e-8, [(check.name, check.error) for check in checks]


@pytest.mark.parametrize("name", DERIVED)
def test_every_granularity_gives_the_same_numbers(name: str) -> None:
    """Two layers, both directions, lanes of different lengths, messages clipped; outputs, last states, gradients."""
    rng, found = np.random.default_rng(1), []
    x, dy = rng.normal(size=(4, 3, D)), rng.normal(size=(4, 3, 2 * H))
    for way in ("primitive", "cell", "sequence", "reference"):
        granularity = "sequence" if way == "reference" else way
        net = Recurrent(name, D, H, 2, True, granularity=granularity, clip_message=0.3, dtype=np.float64, seed=0)
        inputs = Tensor(x, True)
        # of cells that stand in kernel_rows.ROWS the compiled kernels are compiled anyway
        plain = way != "reference" and name in BASIC
        with nullcontext() if plain else kernels.use("reference"), Tape() as tape:
            y, last = net(inputs, lengths=[4, 2, 3])
            tensors = [inputs, *net.weights.values()]
            grads = tape.cotangents(tensors, [y, *last], [dy, *(np.ones(part.shape) for part in last)])
        found.append([y.data, *(part.data for part in last), *grads])
    for other in found[1:]:
        for ours, wanted in zip(other, found[0], strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in DERIVED if name not in BASIC])
def test_compiled_kernels_are_the_reference(name: str) -> None:
    """Those of the other cells are held to it in test_kernels.py, in more ways."""
    cpu.set_threads(1)
    for row, kernel in (
        (cell_forward, "cell_sequence"),
        (cell_backward, "cell_sequence_vjp"),
        (cell_step, "cell_step"),
    ):
        for arguments in row(name)(Draw(np.float32, 19)):
            compare(kernel, arguments, 3e-5)


# --- what is kept -------------------------------------------------------------------------------------------------


def test_of_an_lstm_the_gates_are_kept_and_tanh_is_computed_again() -> None:
    p = CELLS["lstm"].program
    assert p.activations == ("sigmoid", "sigmoid", "tanh", "sigmoid") and not p.sided
    assert {leaf for leaf in p.reads if leaf[0] != "dcur"} == {
        *(("slot", k) for k in range(4)), ("prev", 1), ("cur", 1)
    }  # fmt: skip
    gru = CELLS["gru"].program
    assert gru.sided and [kept is not None for kept in gru.hidden] == [False, False, True]


# --- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, place, shape, mask, named",
    [
        ("rnn", 0, (2, 3, 9), None, ["rnn", "(2, 3, 9)", "(5, 4)", "(T, B, D)"]),
        ("gru", 3, (12, 5), None, ["gru", "(12, 5)", "(3H, H)"]),
        ("gru", 4, (12,), None, ["gru", "(12,)", "(3H,)"]),
        ("lstm", 2, (3, 4), None, ["lstm", "(3, 4)", "(3, 5)"]),
        ("lstm", 6, (5,), None, ["lstm", "(5,)", "(4H,)"]),
        ("lstm", 0, (2, 3, 4), np.ones((3, 4), bool), ["(3, 4)", "(2, 3)"]),
    ],
)
def test_shapes_that_do_not_fit_are_named(
    name: str, place: int, shape: tuple[int, ...], mask: Any, named: list[str]
) -> None:
    cell = CELLS[name]
    shapes = [(2, 3, 4), *[(3, 5)] * len(cell.states), *cell.shapes(4, 5).values()]
    shapes[place] = shape
    with pytest.raises(ShapeError) as caught:
        cell.op(*(Tensor(np.zeros(one)) for one in shapes), mask=mask)
    assert all(word in str(caught.value) for word in named), caught.value
    assert len(str(caught.value).splitlines()) <= 2


# --- told to people -----------------------------------------------------------------------------------------------


def test_from_the_step_to_the_derivative() -> None:
    told = explain(CELLS["lstm"])
    assert ("c_t = v1 + v2", "dv1 = dc_t, dv2 = dc_t") in told.rules
    assert dict(told.rules)["o = sigmoid(a_o)"] == "da_o = do * o * (1 - o)"
    assert dict(told.backward)["da_f"] == "dc * c_prev * f * (1 - f)"
    assert told.onward[1] == "dh_prev = W_hh^T (da_i, da_f, da_g, da_o)"
    assert told.onward[-1] == "one step back: dh_t += dh_prev, dc_t = dc_prev"
    assert "dh_prev += W_hh^T (dh_r, dh_z, dh_n)" in explain(CELLS["gru"]).onward  # z h_prev goes straight there
    assert not any("W_hh" in line for line in explain(CELLS["mingru"]).onward)
    assert told.kept["i"] == "after sigmoid" and told.again == ("tanh_c",)
    assert (told.counts["functions forward"], told.counts["functions backward"]) == (5, 1)


@pytest.mark.parametrize("name", DERIVED)
def test_a_cell_fits_a_terminal_of_80_columns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(cli, ["cell", name])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert all(len(line) <= 80 for line in lines) and {
        f"  {line}" for line in explain(CELLS[name]).step.splitlines()
    } <= {*lines}
    words = ("The step", "Forward", "The way back, op by op", "Backward", "On from there", "Kept", "Cost")
    assert [word for word in words if f"\n{word} " in done.output] == [*words]


def test_the_list_of_cells_and_the_written_kernels() -> None:
    done = CliRunner().invoke(cli, ["cell", "list", "--json"])
    assert [row["name"] for row in json.loads(done.output)["cells"]] == [*CELLS]
    written = CliRunner().invoke(cli, ["cell", "gru", "--source"]).output
    compile(written, "gru.py", "exec")
    assert "dx_r = dx_n * h_n * r * (ONE - r)" in written


# --- it learns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
def test_it_learns_to_add(name: str) -> None:
    """The adding problem (Hochreiter and Schmidhuber 1997) with 6 time steps: two of the numbers are marked, and their
    sum is wanted at the end. To say 1 always has a loss of 1/6."""
    rng = np.random.default_rng(0)
    net = Recurrent(name, 2, 16, granularity="sequence" if name in DERIVED else "cell", forget_bias=1.0, seed=1)
    decoder = Linear(16, 1, seed=2)
    flat = Flat({**net.weights, "w": decoder.weight, "b": decoder.bias})
    optimizer, losses = Optimizer(flat, "adam"), []
    for _ in range(150):
        x = rng.uniform(0, 1, (6, 32, 2)).astype(np.float32)
        marked = rng.permuted(np.tile(np.arange(6) < 2, (32, 1)), axis=1).T
        x[:, :, 1] = marked
        flat.zero_grad()
        with Tape() as tape:
            _, (h, *_) = net(Tensor(x))
            loss = mean_squared_error(decoder(h[0]), targets=(x[:, :, 0] * marked).sum(axis=0)[:, None])
        tape.backward(loss)
        optimizer.update(0.02, 1.0, np.inf)
        losses.append(loss.item())
    few = 0.3 if len(net.cell.gates) > 1 else 0.8  # without gates it takes longer
    assert np.mean(losses[-20:]) < few / 6, np.mean(losses[-20:])


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_window_is_a_feed_forward_net_over_the_last_inputs(size: int) -> None:
    """Numbers and gradients; also where the inputs come in two pieces and the state is carried over."""
    rng = np.random.default_rng(size)
    x = rng.normal(size=(7, B, D))
    with kernels.use("reference"):
        net = Recurrent(f"window{size}", D, H, dtype=np.float64, seed=0)
        y, _ = net(x)
        first, state = net(x[:3])
        rest, _ = net(x[3:], state)
        inputs = Tensor(x, True, "x")
        checks = gradcheck(lambda: net(inputs)[0], [inputs, *net.weights.values()], samples=6)
    blocks = net.weights["weight_ih_l0"].data.reshape(size, H, D), net.weights["bias_ih_l0"].data.reshape(size, H)
    wanted = [np.tanh(np.sum([x[t - k] @ blocks[0][k].T + blocks[1][k] for k in range(size) if k <= t], axis=0))
              for t in range(7)]  # fmt: skip
    np.testing.assert_allclose(y.data, wanted, atol=1e-14)
    np.testing.assert_allclose(np.concatenate([first.data, rest.data]), wanted, atol=1e-14)
    assert max(check.error for check in checks) < 1e-8
    with pytest.raises(ConfigError, match="windowK for a K of 1 to 99"):
        find_cell(f"window0{size}")


def test_the_stabiliser_of_an_slstm_changes_no_number_and_nothing_overflows() -> None:
    """Beside its equations without m (xLSTM, eq. 8-14): where inputs are moderate, that is the same; where gates are
    large, exp(500) for one, numbers and gradients stay finite."""
    rng = np.random.default_rng(4)
    net, x = Recurrent("slstm", D, H, dtype=np.float64, seed=0), rng.normal(size=(20, B, D))
    for weight in net.weights.values():
        weight.data[...] = rng.uniform(-1, 1, weight.shape)
    w_ih, w_hh, b_ih, b_hh = (net.weights[f"{name}_l0"].data for name in BOTH_SIDES)
    h, c, n, wanted = np.zeros((B, H)), np.zeros((B, H)), np.zeros((B, H)), []
    for x_t in x:
        i, f, g, o = np.split(x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        i, f, o = np.exp(i), 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
        c, n = f * c + i * np.tanh(g), f * n + i
        h = o * c / n
        wanted.append(h)
    with kernels.use("reference"):
        np.testing.assert_allclose(net(x)[0].data, wanted, rtol=1e-12, atol=1e-14)
        large = Tensor(500 * x, True)
        with Tape() as tape:
            y, _ = net(large)
        grads = tape.cotangents([large, *net.weights.values()], [y], [np.ones(y.shape)])
    assert np.abs(500 * x @ w_ih[:H].T).max() > 700, "exp of which is no float64"
    assert all(np.isfinite(array).all() for array in (y.data, *grads))
