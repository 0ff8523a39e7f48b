"""Formulas that stand in the file of an op: each device makes its kernels of them, and what is none is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from micrornn import device, kernels
from micrornn.cells import Cell, State, Weights
from micrornn.errors import ConfigError
from micrornn.gradcheck import gradcheck
from micrornn.kernels import lift
from micrornn.kernels import maths as m
from micrornn.kernels.cpu.write import source
from micrornn.ops import linear
from micrornn.ops.elementwise import Elementwise, elementwise
from micrornn.recurrent import Recurrent
from micrornn.tape import OPS, Tape, Tensor


def softsign(x):
    return x / (1 + m.where(x > 0, x, -x))


def softsign_slope(dy, x):
    return dy / (1 + m.where(x > 0, x, -x)) ** 2


def angle(a, b):
    """A function of two numbers, with constants: y = sqrt(a^2 + 0.25 b^2 + 1)."""
    return m.sqrt(a**2 + 0.25 * b * b + 1)


def by_a(dy, a, y):
    return dy * a / y


def by_b(dy, b, y):
    return 0.25 * dy * b / y


@pytest.fixture
def ops() -> Iterator[tuple[Elementwise, Elementwise]]:
    yield elementwise(softsign).slope(softsign_slope), elementwise(angle).slope(by_a).slope(by_b)
    del OPS["softsign"], OPS["angle"]


def test_an_op_of_formulas_is_right(ops: tuple[Elementwise, Elementwise], table: str) -> None:
    """On the processor and on the plain page, with broadcasting and its way back."""
    rng = np.random.default_rng(0)
    x, a, b = (
        Tensor(rng.uniform(0.2, 2, shape), True, name) for name, shape in (("x", (2, 3)), ("a", (3,)), ("b", (2, 1)))
    )
    np.testing.assert_allclose(ops[0](x).data, x.data / (1 + abs(x.data)), rtol=1e-14)
    np.testing.assert_allclose(ops[1](a, b).data, np.sqrt(a.data**2 + b.data**2 / 4 + 1), rtol=1e-14)
    checks = gradcheck(lambda: ops[0](x), [x]) + gradcheck(lambda: ops[1](a, b), [a, b])
    assert all(check.decimals >= 10 for check in checks), checks


@pytest.mark.parametrize("formula", [softsign, angle], ids=lambda f: f.__name__)
def test_the_card_makes_the_same_of_it(formula: Callable) -> None:
    from micrornn.kernels.cuda.array import asarray

    rng = np.random.default_rng(1)
    given = [rng.normal(size=(3, 5)).astype(np.float32) for _ in lift.own(formula).arrays]
    wanted, found = np.empty((3, 5), np.float32), asarray(np.full((3, 5), np.nan, np.float32))
    kernels.for_device("reference").lift(formula)(wanted, *given)
    kernels.for_device("cuda").lift(formula)(found, *map(asarray, given))
    np.testing.assert_allclose(device.host(found), wanted, rtol=1e-6)


class Soft(Cell):
    """A cell of these ops."""

    name, states = "soft", ("h", "s")

    def step(self, x: Tensor, state: State, w: Weights) -> State:
        a = linear(x, w.weight_ih, w.bias_ih) + linear(state[0], w.weight_hh, w.bias_hh)
        s = OPS["angle"](a, state[1])
        return OPS["softsign"](a - 0.3 * s), s


def test_a_cell_of_such_ops_has_kernels(ops: tuple[Elementwise, Elementwise]) -> None:
    """They are derived as for any other: every granularity gives the same numbers, forward and back."""
    rng, found = np.random.default_rng(2), []
    x, dy = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 2, 5))
    for granularity in ("primitive", "sequence"):
        net = Recurrent(Soft(), 3, 5, granularity=granularity, dtype=np.float64, seed=0)
        with kernels.use("reference"), Tape() as tape:
            y, _ = net(x)
            found.append([y.data, *tape.cotangents([*net.weights.values()], [y], [dy])])
    for ours, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-12)
    assert Soft().kinks and " > ZERO else " in source(Soft().program)


def test_a_constant_has_the_precision_of_the_array() -> None:
    assert "m.sqrt(a[i] ** 2 + c0 * b[i] * b[i] + c1)" in lift.loop(lift.own(angle), "cuda")
    assert "    c0 = out.dtype.type(c0)\n" in lift.loop(lift.own(angle), "cpu")


def the_same(x):
    return x


def passed_on(dy):
    return dy


def test_a_formula_may_be_its_input(table: str) -> None:
    given = Tensor(np.arange(3.0), True)
    try:
        op = elementwise(the_same).slope(passed_on)
        (check,) = gradcheck(lambda: op(given), [given])
        assert check.decimals >= 10 and op(given).data is not given.data and given.data.tolist() == [0, 1, 2]
    finally:
        del OPS["the_same"]


def named_y(x, y):
    return x * y


def of_three(a, b, c):
    return a * b * c


def with_option(x, *, by):
    return x * by


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: elementwise(named_y), "named_y(x, y): expected one or two inputs that are not called dy, i, m, out,"),
        (lambda: elementwise(of_three), "of_three(a, b, c): expected one or two inputs"),
        (lambda: elementwise(with_option), "with_option takes options; docs/writing-an-op.md"),
        (lambda: elementwise(softsign).slope(softsign), "softsign: a slope softsign(x); expected one for each input"),
        (
            lambda: elementwise(softsign).slope(by_a),
            "a slope by_a(dy, a, y); expected one for each input, of dy and of some",
        ),
        (lambda: elementwise(softsign).slope(softsign_slope).slope(softsign_slope), "expected one for each input"),
    ],
)
def test_ops_that_cannot_be_made_of_formulas(make: Callable, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    OPS.pop("softsign", None)
    assert words in str(error.value)


def two_lines(x):
    y = x + 1
    return y


def of_numpy(x):
    return np.exp(x)


def of_a_global(x):
    return x * SCALE


def of_more_than_there_is(x):
    return m.gamma(x)


def of_text(x):
    return x + "1"


SCALE = 3.0


@pytest.mark.parametrize(
    "formula, words",
    [
        (two_lines, "formula two_lines: expected one expression behind a return"),
        (of_numpy, "formula of_numpy: np.exp is not known; m has exp, log, sqrt, tanh, sigmoid, where, ZERO, ONE"),
        (of_a_global, "formula of_a_global: SCALE is none of its parameters, and only m is known besides"),
        (of_more_than_there_is, "formula of_more_than_there_is: m.gamma is not known"),
        (of_text, "formula of_text: '1' is no number"),
        (eval("lambda x: x"), "its text is needed; write it into a file"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_no_formula_is_told(formula: Callable, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        kernels.for_device("cpu").lift(formula)
    assert words in str(error.value)
