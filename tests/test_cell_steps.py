"""Steps of one's own cells: what becomes a kernel of them, what is kept, and what cannot be one and is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from micrornn import kernels
from micrornn.cells import CELLS, Cell, State, Weights
from micrornn.errors import CellError
from micrornn.gradcheck import gradcheck
from micrornn.kernels import reference
from micrornn.kernels.cpu.sequence import made
from micrornn.kernels.symbols.names import TAKEN, Names
from micrornn.ops import concatenate, exp, linear, relu, sigmoid, softmax, split, sum, tanh
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor

B, D, H = 2, 3, 4


def step_of(body: Any, **declared: Any) -> Cell:
    kind = type("Odd", (Cell,), {"name": "odd", "step": body, **declared})
    return kind()


def pre(x: Tensor, state: State, w: Weights) -> Tensor:
    return linear(x, w.weight_ih, w.bias_ih) + linear(state[0], w.weight_hh, w.bias_hh)


def test_numbers_of_python_stand_on_either_side_of_a_sign() -> None:
    cell = step_of(
        lambda self, x, s, w: (1 - tanh(pre(x, s, w)) / 2 + 3.0 * s[0] - (2.0 - s[0] ** 2) / (4 + s[0] ** 2),)
    )
    net = Recurrent(cell, D, H, dtype=np.float64)
    x = Tensor(np.random.default_rng(0).normal(size=(3, B, D)), True, "x")
    with kernels.use("reference"):
        assert max(c.error for c in gradcheck(lambda: net(x)[0], [x, *net.weights.values()], samples=6)) < 1e-8
    assert cell.derivable and not cell.kinks  # what the slope of a power asks of its exponent is known


class Swish(Cell):
    """The pre-activation itself is needed on the way back."""

    name = "swish"

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        a = linear(x, w.weight_ih, w.bias_ih) + linear(state[0], w.weight_hh, w.bias_hh)
        return (a * sigmoid(a) + exp(-a * a) * 2.0,)


def test_a_pre_activation_that_is_needed_keeps_its_place() -> None:
    cell = Swish()
    assert cell.program.activations == ("",)
    rng = np.random.default_rng(0)
    net = Recurrent(cell, D, H, dtype=np.float64)
    x = Tensor(rng.normal(size=(3, B, D)), True, "x")
    with kernels.use("reference"):
        assert max(c.error for c in gradcheck(lambda: net(x)[0], [x, *net.weights.values()], samples=6)) < 1e-8


class Nuisance(Cell):
    """Gates, states and vectors are called as kernels call numbers of their own, or other numbers of the cell."""

    name, gates, states, vectors = "nuisance", ("t", "prev", "t1"), ("h", "size"), ("h_prev", "ONE")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        (h, size), sides = state, (linear(x, w.weight_ih, w.bias_ih), linear(state[0], w.weight_hh, w.bias_hh))
        (x_t, x_prev, x_t1), (h_t, h_prev, h_t1) = map(self.per_gate, sides)
        t, n, q = sigmoid(x_t + h_t), tanh(x_prev + h_prev * w.h_prev), tanh(x_t1 + h_t1 * w.ONE)
        size = t * size + n * q * w.h_prev + exp(n * q) * exp(n * q)
        return t * n + (1.0 - t) * h + tanh(size) * w.ONE, size


class Annoyance(Nuisance):
    name, gates = "annoyance", ("dh", "range", "all_ONE")


@pytest.mark.parametrize("kind", [Nuisance, Annoyance])
def test_no_name_in_a_cell_is_taken_for_another(kind: type[Cell]) -> None:
    cell = kind()
    names, rng = Names(cell.program), np.random.default_rng(5)
    of_leaves = [name for one, name in names.leaves.items() if one.args[0] not in ("slot", "hidden")]
    found = [*of_leaves, *(names.kept(k) for k in range(3)), *(name for name, _ in names.back)]
    assert len(set(found)) == len(found) and not TAKEN & {*found}
    x, turn, grads = Tensor(rng.normal(size=(1, 1, D))), 0, []
    for granularity in ("primitive", "sequence"):
        net = Recurrent(cell, D, H, granularity=granularity, dtype=np.float64, seed=1)
        with kernels.use("reference"), Tape() as tape:
            y = net(x)[0]
            grads.append(tape.cotangents(list(net.weights.values()), [y], [np.ones(y.shape)]))
    for ours, wanted in zip(*grads):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)
    # the written step, uncompiled
    gates, hidden, states = rng.normal(size=3 * H), rng.normal(size=3 * H), [rng.normal(size=(2, H)) for _ in "hs"]
    vectors, none = [rng.normal(size=H) for _ in "vw"], np.zeros(3 * H)
    plain = [rows.copy() for rows in states]
    reference.cell_step(cell.program, plain, turn, gates.copy(), hidden.copy(), vectors)
    step = made(cell.program).step
    getattr(step, "py_func", step)(
        *(rows.reshape(-1) for rows in states), gates, hidden, none, none, *vectors, 0, 0, H, H
    )
    np.testing.assert_allclose(states, plain, rtol=1e-12)


ODD: dict[str, tuple[Any, dict[str, Any], str]] = {  # what it does: (step, what it declares, what is said)
    "a reduction over units": (lambda self, x, s, w: (tanh(pre(x, s, w)) * softmax(s[0]),), {}, "softmax works"),
    "a sum over units": (lambda self, x, s, w: (tanh(pre(x, s, w)) + sum(s[0]),), {}, "sum works on several"),
    "units that look at each other": (
        lambda self, x, s, w: (tanh(pre(x, s, w)) + split(s[0], sizes=[1, s[0].shape[1] - 1], axis=1)[0],), {},
        "sum works on several units"),
    "units in another order": (
        lambda self, x, s, w: (concatenate(*split(s[0], sizes=[1, s[0].shape[1] - 1], axis=1)[::-1], axis=1),), {},
        "looks at another one"),
    "the number of units": (lambda self, x, s, w: (tanh(pre(x, s, w) * (1 / s[0].shape[1])),), {}, "number of units"),
    "a product behind a gate": (
        lambda self, x, s, w: (tanh(linear(sigmoid(s[0]), w.weight_hh, w.bias_hh)),), {}, "only x and h_prev"),
    "weights without a product": (
        lambda self, x, s, w: (s[0] * split(w.bias_ih, sizes=[s[0].shape[1]], axis=0)[0],), {}, "sum works on several"),
    "weights of the other side": (
        lambda self, x, s, w: (tanh(linear(s[0], w.weight_hh, w.bias_ih)),), {}, "bias_ih"),
    "a number read": (lambda self, x, s, w: (s[0] if s[0].data[0, 0] > 0 else s[0] * 2,), {}, "reads a number"),
    "an item read": (lambda self, x, s, w: (s[0] * s[0][0, 0].item(),), {}, "reads a number"),
    "NumPy": (lambda self, x, s, w: (Tensor(np.tanh(s[0].data)),), {}, "reads a number"),
    "a sum of NumPy's": (lambda self, x, s, w: (s[0] * s[0].data.sum(),), {}, "reads a number"),
    "numbers of its own": (lambda self, x, s, w: (Tensor(np.zeros(s[0].shape)),), {}, "do not come from its tensors"),
    "a wrong name": (lambda self, x, s, w: (tanh(h_prev),), {}, "NameError: name 'h_prev'"),  # type: ignore[name-defined]  # noqa: F821
    "itself again": (lambda self, x, s, w: self.step(x, s, w), {}, "RecursionError"),
    "an undeclared parameter": (lambda self, x, s, w: (s[0] * w.peephole,), {}, "no parameter 'peephole'"),
    "too many states": (lambda self, x, s, w: (s[0], s[0]), {}, "returns 2 states, and the cell declares 1: h"),
    "too few states": (lambda self, x, s, w: (tanh(pre(x, s, w)),), {"states": ("h", "c")}, "returns 1 .* 2: h, c"),
    "a state of a wrong shape": (lambda self, x, s, w: (linear(x, w.weight_ih, w.bias_ih),),
                                 {"gates": ("a", "b")}, "h of shape"),
    "no tensor": (lambda self, x, s, w: 3, {}, "tuple of tensors"),
    "a Python mistake": (lambda self, x, s, w: (s[1],), {}, "IndexError"),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_what_cannot_be_a_kernel_is_refused_with_the_line(what: str) -> None:
    body, declared, said = ODD[what]
    cell = step_of(body, **declared)
    with pytest.raises(CellError, match=said) as caught:
        Recurrent(cell, D, H)(Tensor(np.zeros((2, B, D), np.float32)))
    assert f"cell odd, test_cell_steps.py:{body.__code__.co_firstlineno}" in str(caught.value)[:60]
    assert len(str(caught.value).splitlines()) <= 2 and len(str(caught.value)) < 300


@pytest.mark.parametrize("granularity", ["primitive", "cell"])
def test_a_cell_that_mixes_units_runs_step_by_step(granularity: str) -> None:
    cell = step_of(ODD["a reduction over units"][0])
    net = Recurrent(cell, D, H, granularity=granularity, clip_message=5.0, dtype=np.float64)
    x = Tensor(np.random.default_rng(0).normal(size=(3, B, D)), True, "x")
    mask = np.array([[1, 1], [0, 1], [1, 1]], bool)
    assert max(c.error for c in gradcheck(lambda: net(x, mask=mask)[0], [x, *net.weights.values()], samples=5)) < 1e-8


def test_relu_has_a_kink_and_tanh_has_none() -> None:
    assert CELLS["rnn_relu"].kinks and not CELLS["lstm"].kinks
    assert step_of(lambda self, x, s, w: (relu(pre(x, s, w)),)).kinks
