"""The gradient check itself: it passes what is right and catches what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from kernel_rows import VARIED

from micrornn import ops
from micrornn.errors import ConfigError, MicrornnError
from micrornn.gradcheck import Check, gradcheck, numeric, projected
from micrornn.recurrent import GRANULARITIES, Recurrent
from micrornn.tape import OPS, Op, Tape, Tensor


def leaf(*shape: int, name: str = "x") -> Tensor:
    return Tensor(np.random.default_rng(sum(shape)).uniform(-1, 1, shape), True, name)


@contextmanager
def temporary(forward: Callable[..., Any], back: Callable[..., Any]) -> Iterator[Op]:
    """An op that is in the table for the length of a block."""
    made = Op(forward)
    made.vjp(back)
    try:
        yield made
    finally:
        del OPS[made.name]


def slightly_off(k, x, dy, needs):
    dx = 3 * x**2 * dy
    dx.flat[-1] *= 1 + 1e-6
    return (dx,)


WRONG = [  # what is wrong, forward, VJP, decimals that gradcheck and projected may find at most
    ("one number by a millionth", lambda k, x: (x**3, x), slightly_off, 6, 8),
    (
        "the cotangent is not used",
        lambda k, x: (2 * x, x.shape),
        lambda k, s, dy, n: (np.full(s, 2.0),),
        0,
        1,
    ),
    ("a factor", lambda k, x: (x * x, x), lambda k, x, dy, n: (dy * x,), 0, 1),
    ("a sign", lambda k, x: (-x, x), lambda k, x, dy, n: (dy,), 0, 1),
    ("nothing flows back", lambda k, x: (x * x, x), lambda k, x, dy, n: (None,), 0, 1),
    ("NaN", lambda k, x: (x * x, x), lambda k, x, dy, n: (dy * np.nan,), 0, 0),
]


@pytest.mark.parametrize("forward, back, most, most_projected", [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_vjp_is_caught(forward: Any, back: Any, most: int, most_projected: int) -> None:
    x = leaf(4, 3)
    with temporary(forward, back) as wrong:
        check, along = gradcheck(lambda: wrong(x), [x])[0], projected(lambda: wrong(x), [x])
        assert check.decimals <= most and check.error > 0  # NaN is not above 0
        assert along.decimals <= most_projected and along.error > 0
    assert projected(lambda: x * x * x, [x]).decimals >= 11


def test_the_wrong_number_is_named() -> None:
    x = leaf(4, 3)
    with temporary(lambda k, x: (x**3, x), slightly_off) as wrong:
        (check,) = gradcheck(lambda: wrong(x), [x])
    assert check.where == (3, 2) and check.count == 12 and check.name == "x"
    assert check.analytic == pytest.approx(check.numeric * (1 + 1e-6), rel=1e-9)
    assert check.by_step[3] == check.error and max(check.by_step[:3]) < 1e-11


def test_the_wrong_input_is_named() -> None:
    a, b = leaf(3, name="a"), leaf(3, name="b")
    with temporary(lambda k, a, b: (a * b, b), lambda k, b, dy, needs: (dy * b, None)) as wrong:
        good, bad = gradcheck(lambda: wrong(a, b), [a, b])
        assert projected(lambda: wrong(a, b), [a, b]).decimals <= 1
    assert good.decimals >= 10 and bad.decimals == 0 and bad.name == "b" and bad.analytic == 0


def test_float32_is_refused() -> None:
    x = Tensor(np.ones(3, np.float32), True, "x")
    for check in (gradcheck, projected):
        with pytest.raises(ConfigError, match=r"float64.*x is float32"):
            check(lambda: ops.exp(x), [x])


def test_nothing_is_left_changed() -> None:
    x = leaf(3, 2)
    before = x.data.copy()
    gradcheck(lambda: ops.exp(x), [x])
    projected(lambda: ops.exp(x), [x])
    assert (x.data == before).all() and x.grad is None
    with Tape() as tape:  # even inside a tape: the many forward passes are not recorded
        gradcheck(lambda: ops.exp(x), [x])
    assert len(tape) == 0


def kinked(x: Tensor) -> Tensor:
    return ops.relu(x) + 2.0 * abs(x)


def test_a_kink_is_called_one_and_not_a_mistake() -> None:
    """In the number itself; so near that only a short step does not reach it; and of a maximum with a tie."""
    x = Tensor([0.0, 2e-4, -3e-5, 0.7, -1.0], True, "x")
    (check,) = gradcheck(lambda: kinked(x), [x])
    assert check.kinks == 1 and check.decimals >= 8 and "a kink at 1 of them" in repr(check)
    smooth = Tensor([2e-4, -3e-5, 0.7], True, "x")
    (check,) = gradcheck(lambda: kinked(smooth), [smooth])
    assert check.kinks == 0 and check.decimals >= 9 and "kink" not in repr(check)
    tie = Tensor([[0.3, 0.8, 0.8]], True)
    (check,) = gradcheck(lambda: ops.max(tie, axis=1), [tie])
    assert check.kinks == 2 and check.decimals >= 8
    zeros = Tensor(np.zeros(3), True)
    assert projected(lambda: ops.sum(ops.relu(zeros)), [zeros]).kinks == 1


def test_a_wrong_gradient_at_a_kink_or_a_jump_is_no_excuse() -> None:
    x = Tensor([0.0, 1.0], True)
    with temporary(lambda k, x: (np.maximum(x, 0), x), lambda k, x, dy, n: (dy * 1.5,)) as wrong:
        (check,) = gradcheck(lambda: wrong(x), [x])
    assert check.kinks == 1 and check.decimals == 0
    with temporary(lambda k, x: (np.where(x > 0, 1.0, 0.0), x), lambda k, x, dy, n: (0 * dy,)) as jump:
        (check,) = gradcheck(lambda: jump(x), [x])
    assert check.kinks == 0 and check.decimals == 0


def test_interrupted_it_leaves_the_weights_as_they_were() -> None:
    x = leaf(3, 2)
    before = x.data.copy()
    for check in (gradcheck, projected):
        for most in (3, 4, 6):
            calls = iter(range(most))

            def function(calls: Iterator[int] = calls) -> Tensor:
                if next(calls, None) is None:
                    raise KeyboardInterrupt
                return ops.exp(x)

            with pytest.raises(KeyboardInterrupt):
                check(function, [x])
            assert (x.data == before).all()


def test_what_cannot_be_checked_is_refused() -> None:
    x, keys = leaf(40), iter(range(99))
    for function, tensors, said in [
        (lambda: ops.exp(x), x, r"write \[x\]"),
        (ops.exp(x), [x], "lambda: f"),
        (lambda: (x, x), [x], "one tensor, not tuple"),
        (lambda: ops.exp(x), [Tensor([1.0])], "requires_grad=False"),
        (lambda: ops.dropout(x, rate=0.5, key=next(keys)), [x], "another value each time"),
        (lambda: ops.log(x - 5), [x], "gives nan"),
        (lambda: Tensor(1.0) * 2, [x], "not on this tape"),
    ]:  # fmt: skip
        for check in (gradcheck, projected):
            with pytest.raises(MicrornnError, match=said):
                check(function, tensors)
    with pytest.raises(ConfigError, match="samples must be 1 or more"):
        gradcheck(lambda: ops.exp(x), [x], samples=0)


def test_samples_and_tensors_without_influence() -> None:
    x, aside = leaf(20, name="x"), leaf(2, name="aside")
    sampled, unused = gradcheck(lambda: ops.exp(x), [x, aside], samples=3)
    assert sampled.count == 3 and unused.count == 2 and unused.analytic == 0 and unused.error < 1e-11


def test_five_points_are_exact_for_polynomials_of_degree_four() -> None:
    x = np.array([0.7])
    assert numeric(lambda: float(x[0] ** 4), x, (0,), 0.1) == pytest.approx(4 * 0.7**3, rel=1e-13)
    error = numeric(lambda: float(x[0] ** 5), x, (0,), 0.1) - 5 * 0.7**4
    assert error == pytest.approx(-(0.1**4) * 120 / 30, rel=1e-9)  # e^4 f^(5) / 30, as the module says


@pytest.mark.parametrize("error, decimals", [(0, 16), (1e-10, 10), (9e-11, 10), (2e-10, 9), (3, 0), (np.inf, 0)])
def test_decimals(error: float, decimals: int) -> None:
    assert Check("x", 1, error, (0,), 0, 0).decimals == decimals


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("cell", VARIED)
def test_every_cell_in_every_granularity(cell: str, granularity: str) -> None:
    """Ten decimals, number by number, with all on: layers, directions, lengths, dropout, learned h_0."""
    rng = np.random.default_rng(0)
    model = Recurrent(cell, 2, 3, 2, True, 0.2, granularity=granularity, learn_initial=True, seed=1, dtype=np.float64)
    model.dropout_key = 3
    x = Tensor(rng.uniform(-1, 1, (4, 2, 2)), True, "x")
    leaves = [x, *model.parameters().values()]
    for weight in leaves[1:]:  # biases of +-1 and small weights: no relu comes near its kink
        weight.data[...] = rng.uniform(-0.2, 0.2, weight.shape)
        if weight.name.startswith("bias_ih"):
            weight.data[...] += np.where(np.arange(weight.data.size) % 2, 1, -1)

    def function() -> Tensor:
        y, last = model(x, lengths=[4, 2])
        return ops.concatenate(*[ops.reshape(part, shape=(-1,)) for part in (y, *last)])

    for check in gradcheck(function, leaves, samples=3):  # the projection below sees all of them
        assert check.decimals >= 10, check
    assert projected(function, leaves).decimals >= 10
