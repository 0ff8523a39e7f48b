"""Each op: its gradient against numeric differences on every table of kernels, its numbers against NumPy and
PyTorch, its refusal of shapes that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from op_rows import MASKED, MASKED_LOSSES, ROWS, Shape, calls

from micrornn import kernels, ops
from micrornn.errors import ConfigError, ShapeError
from micrornn.gradcheck import gradcheck
from micrornn.tape import OPS, Tape, Tensor


def test_every_op_has_a_row() -> None:
    assert set(ROWS) == set(OPS), "an op without a row in op_rows.ROWS, or a row without an op"


@pytest.mark.parametrize("name", ROWS)
def test_gradient_is_the_numeric_one(name: str, table: str) -> None:
    """Of all outputs together, and of the last alone: then no cotangent arrives at the others."""
    op = OPS[name]
    for tensors, options, _ in calls(name):

        def every(tensors=tensors, options=options) -> Tensor:
            y = op(*tensors, **options)
            return ops.concatenate(*[ops.reshape(part, shape=(-1,)) for part in y]) if isinstance(y, tuple) else y

        def last(tensors=tensors, options=options) -> Tensor:
            return op(*tensors, **options)[-1]

        for function in (every, last) if isinstance(op(*tensors, **options), tuple) else (every,):
            if function().data.size:
                for check in gradcheck(function, tensors):
                    assert check.error < 1e-10, (tensors, options, check)


@pytest.mark.parametrize("name", [name for name in ROWS if any(row.plain for row in ROWS[name])])
def test_numbers_are_those_of_numpy(name: str, table: str) -> None:
    for tensors, options, row in calls(name):
        if row.plain:
            y, plain = OPS[name](*tensors, **options), row.plain(*(x.data for x in tensors), **options)
            for ours, theirs in zip(y, plain, strict=True) if isinstance(y, tuple) else [(y, np.asarray(plain))]:
                assert ours.shape == theirs.shape and ours.dtype == np.float64
                np.testing.assert_allclose(ours.data, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ROWS)
def test_float32_stays_float32(name: str) -> None:
    for tensors, options, _ in calls(name)[:3]:
        for tensor in tensors:
            tensor.data = tensor.data.astype(np.float32)
        with Tape() as tape:
            y = OPS[name](*tensors, **options)
        outputs = y if isinstance(y, tuple) else (y,)
        cotangents = tape.cotangents(tensors, outputs, [np.ones(part.shape) for part in outputs])
        assert {part.dtype for part in outputs} | {g.dtype for g in cotangents if g is not None} == {np.dtype("f4")}
        assert all(g is None or g.shape == x.shape for g, x in zip(cotangents, tensors))


GOLDEN = {  # name in the file -> (op, inputs with a gradient, options)
    "cross_entropy": (ops.cross_entropy, ["logits"], ["targets", "mask"]),
    "softmax": (ops.softmax, ["x"], []),
    "log_softmax": (ops.log_softmax, ["x"], []),
    "binary_cross_entropy_with_logits": (ops.binary_cross_entropy, ["logits"], ["targets"]),
    "mse": (lambda x, y: ops.mean((x - y) * (x - y)), ["input", "target"], []),
    "cosine_similarity": (ops.cosine_similarity, ["a", "b"], []),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_are_those_of_pytorch(name: str, table: str, golden: Callable) -> None:
    op, inputs, options = GOLDEN[name]
    z = {key.removeprefix(name + "."): value for key, value in golden("ops").items() if key.startswith(name + ".")}
    tensors = [Tensor(z[x], True) for x in inputs]
    with Tape() as tape:
        y = op(*tensors, **{option: z[option] for option in options})
    tape.backward(y, z.get("dout"))
    np.testing.assert_allclose(y.data, z["out"], rtol=1e-10, atol=1e-10)
    for x, tensor in zip(inputs, tensors):
        np.testing.assert_allclose(tensor.grad, z["grad_" + x], rtol=1e-10, atol=1e-10)


def test_golden_mean_squared_error_is_the_op(golden: Callable) -> None:
    z = golden("ops")
    x = Tensor(z["mse.input"], True)
    with Tape() as tape:
        y = ops.mean_squared_error(x, targets=z["mse.target"])
    tape.backward(y)
    np.testing.assert_allclose(y.data, z["mse.out"], atol=1e-10)
    np.testing.assert_allclose(x.grad, z["mse.grad_input"], atol=1e-10)


@pytest.mark.parametrize("rows_in_a_block", [1, 5, 12])
def test_linear_cross_entropy_in_blocks(rows_in_a_block: int, table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks, the numbers are those of the two ops that it stands for."""
    monkeypatch.setattr(ops.loss, "BLOCK_BYTES", rows_in_a_block * 7 * 8)
    rng = np.random.default_rng(0)
    found = []
    for whole in (True, False):
        rng = np.random.default_rng(0)
        x, weight, bias = (Tensor(rng.normal(size=shape), True) for shape in ((3, 4, 5), (7, 5), (7,)))
        targets, mask = rng.integers(0, 7, (3, 4)), rng.random((3, 4)) < 0.7
        with Tape() as tape:
            if whole:
                y = ops.cross_entropy(ops.linear(x, weight, bias), targets=targets, mask=mask)
            else:
                y = ops.linear_cross_entropy(x, weight, bias, targets=targets, mask=mask)
        tape.backward(y, 0.3)
        found.append([y.data, x.grad, weight.grad, bias.grad])
    for ours, plain in zip(*found):
        np.testing.assert_allclose(ours, plain, rtol=1e-12, atol=1e-13)


def test_clip_message_limits_what_goes_back_and_nothing_else(table: str) -> None:
    x = Tensor([-3.0, 0.5, 7.0], True)
    with Tape() as tape:
        y = ops.clip_message(x, limit=2.0)
    assert y.data.tolist() == [-3, 0.5, 7]
    assert tape.cotangents([x], [y], [[5.0, -1.5, -9.0]])[0].tolist() == [2, -1.5, -2]


def test_mask_message_drops_what_is_not_finite_where_nothing_counts(table: str) -> None:
    x = Tensor(np.zeros((2, 3)), True)
    with Tape() as tape:
        y = ops.mask_message(x, mask=[True, False])
    dx = tape.cotangents([x], [y], [[[1, np.nan, np.inf], [4, np.nan, -np.inf]]])[0]
    np.testing.assert_array_equal(dx, [[1, np.nan, np.inf], [4, 0, 0]])


def test_powers_where_they_are_special(table: str) -> None:
    """Negative bases with whole exponents, and the corners at zero, where b a^(b-1) is 0 * inf."""
    cases = (
        (-2.0, 3.0, -8.0, 12.0),
        (-0.5, -1.0, -2.0, -4.0),
        (0.0, 0.0, 1.0, 0.0),
        (0.0, 1.0, 0.0, 1.0),
        (0.0, 2.0, 0.0, 0.0),
        (5.0, 0.0, 1.0, 0.0),
        (0.0, 0.5, 0.0, np.inf),
        (-2.0, 0.5, np.nan, np.nan),
    )
    for base, exponent, value, slope in cases:
        x = Tensor(base, True)
        with Tape() as tape:
            y = ops.pow(x, exponent)
        np.testing.assert_array_equal([y.item(), tape.cotangents([x], [y])[0].item()], [value, slope])
    zero, b = Tensor(0.0), Tensor([0.0, 2.0], True)
    with Tape() as tape:
        y = ops.pow(zero, b)
    assert tape.cotangents([b], [y], [[1, 1]])[0].tolist() == [0, 0], "0^b does not change with b"
    x = Tensor([-3.0, 0.0, 2.0], True)
    with Tape() as tape:
        y = ops.abs(x)
    assert tape.cotangents([x], [y], [[5, 5, 5]])[0].tolist() == [-5, 0, 5]


@pytest.mark.parametrize("name", MASKED_LOSSES)
def test_what_is_masked_in_a_loss_is_never_looked_at(name: str, table: str) -> None:
    """Bit by bit the loss and the gradients of a run with ordinary numbers there; exactly zero under the mask."""
    shapes, fits, odd = MASKED_LOSSES[name]
    found = []
    for there, target in zip((0.2, np.nan, np.inf, -np.inf), (fits[0, 1], *odd)):
        rng = np.random.default_rng(3)
        inputs = [Tensor(rng.normal(size=shape), True) for shape in shapes]
        targets, mask = fits.copy(), MASKED.tolist()
        inputs[0].data[~MASKED] = there
        targets[~MASKED] = target
        with Tape() as tape:
            loss = OPS[name](*inputs, targets=targets, mask=mask)
        found.append([loss.data, *tape.cotangents(inputs, [loss], [0.7])])
    assert not found[0][1][~MASKED].any() and found[0][1][MASKED].all()
    for other in found[1:]:
        for one, plain in zip(other, found[0], strict=True):
            assert np.isfinite(one).all() and (one == plain).all()


@pytest.mark.parametrize("name", MASKED_LOSSES)
def test_a_loss_of_nothing_is_zero(name: str) -> None:
    shapes, fits, _ = MASKED_LOSSES[name]
    x, *weights = [Tensor(np.full(shape, np.nan if i == 0 else 1.0), True) for i, shape in enumerate(shapes)]
    with Tape() as tape:
        loss = OPS[name](x, *weights, targets=fits, mask=np.zeros((2, 3), bool))
    assert loss.item() == 0 and not any(g.any() for g in tape.cotangents([x, *weights], [loss]))


@pytest.mark.parametrize("mask", [[[True, False], [True]], "yes", [[0.5, 1.0], [0.0, 0.0]], [[2, 0], [1, 1]], object()])
def test_masks_that_are_none_are_refused(mask: Any) -> None:
    x = Tensor(np.ones((2, 2)))
    for call in (
        lambda: ops.mean_squared_error(x, targets=np.ones((2, 2)), mask=mask),
        lambda: ops.where(x, 0.0, mask=mask),
    ):
        with pytest.raises(ConfigError, match="mask"):
            call()


def test_operators_are_the_ops() -> None:
    x, y = np.array([[1, 2], [3, 5]], np.float32), np.array([[2, 4], [0.5, 1]], np.float32)
    a, b = Tensor(x), Tensor(y)
    for ours, plain in [
        (a + b, x + y), (a - b, x - y), (a * b, x * y), (a / b, x / y), (a @ b, x @ y), (-a, -x),
        (a[1], x[1]), (2 + a, 2 + x),
        (2 - a, 2 - x), (2 * a, 2 * x), (2 / a, 2 / x), (a + 1, x + 1), (a / 2, x / 2),
    ]:  # fmt: skip
        assert (ours.data == plain).all() and ours.dtype == np.float32
    assert [row.data.tolist() for row in a] == x.tolist() and len(a) == 2


def blank(*shapes: Shape) -> list[Tensor]:
    return [Tensor(np.zeros(shape)) for shape in shapes]


MISTAKES: list[tuple[str, list[Tensor], dict[str, Any], list[str]]] = [  # op, inputs, options, what is named
    *[(name, blank((2, 3), (4, 3)), {}, [name, "(2, 3)", "(4, 3)"]) for name in ("add", "sub", "mul", "div")],
    ("where", blank((2, 3), (2, 3)), {"mask": np.ones((3, 2))}, ["(2, 3)", "(3, 2)"]),
    ("matmul", blank((2, 3), (4, 3)), {}, ["(2, 3)", "(4, 3)", "(K, N)"]),
    ("matmul", blank((2, 3), (3,)), {}, ["(2, 3)", "(3,)"]),
    ("matmul", blank((2, 3, 4), (3, 4, 5)), {}, ["(2, 3, 4)", "(3, 4, 5)", "batch"]),
    ("linear", blank((2, 3), (5, 4), (5,)), {}, ["(2, 3)", "(5, 4)", "(5,)", "(N, D)"]),
    ("linear", blank((2, 4), (5, 4), (4,)), {}, ["(2, 4)", "(5, 4)", "(4,)"]),
    ("linear", blank((2, 4), (4,), (4,)), {}, ["(2, 4)", "(4,)"]),
    ("reshape", blank((3, 4)), {"shape": (5, 2)}, ["(3, 4)", "(5, 2)", "12"]),
    ("transpose", blank((3, 4)), {"axes": (0, 0)}, ["(3, 4)", "(0, 0)"]),
    ("concatenate", blank((3, 4), (3, 5)), {"axis": 0}, ["(3, 4)", "(3, 5)", "axis 0"]),
    ("concatenate", blank((3, 4), (3,)), {"axis": 1}, ["(3, 4)", "(3,)", "axis 1"]),
    ("concatenate", blank((3, 4)), {"axis": 2}, ["axis 2", "2 axes"]),
    ("split", blank((3, 4)), {"sizes": [1, 1]}, ["[1, 1]", "(3, 4)", "axis 0"]),
    ("stack", blank((3, 4), (4, 3)), {}, ["(3, 4)", "(4, 3)"]),
    ("getitem", blank((3, 4)), {"index": 3}, ["(3, 4)", "3"]),
    ("getitem", blank((3, 4)), {"index": [0, 3]}, ["0..3", "axis of 3"]),
    ("getitem", blank((3, 4)), {"index": np.ones(3, bool)}, ["bool", "where"]),
    ("getitem", blank((3, 4)), {"index": ([0, 0], [1, 1])}, ["getitem", "array"]),
    ("sum", blank((3, 4)), {"axis": 2}, ["sum", "axis 2", "2 axes"]),
    ("max", blank((3, 4)), {"axis": -3}, ["max", "axis -3", "2 axes"]),
    ("cross_entropy", blank((3, 4)), {"targets": [0, 1]}, ["(2,)", "(3, 4)", "(3,)"]),
    ("cross_entropy", blank((2, 4)), {"targets": [0, 4]}, ["0..4", "0..3"]),
    ("cross_entropy", blank((2, 4)), {"targets": [0, 3], "mask": [True]}, ["(1,)", "(2,)"]),
    ("linear_cross_entropy", blank((3, 4), (7, 5), (7,)), {"targets": [0, 1, 2]}, ["(3, 4)", "(7, 5)", "(V, D)"]),
    ("linear_cross_entropy", blank((3, 4), (7, 4), (7,)), {"targets": [0, 1]}, ["(2,)", "(3,)"]),
    ("binary_cross_entropy", blank((3, 4)), {"targets": np.ones((4, 3))}, ["(3, 4)", "(4, 3)"]),
    ("mean_squared_error", blank((3, 4)), {"targets": np.ones(4)}, ["(3, 4)", "(4,)"]),
    ("embedding", blank((5, 2)), {"ids": [-1]}, ["-1..-1", "0..4"]),
    ("embedding", blank((5, 2)), {"ids": [2**32]}, ["4294967296", "0..4"]),
    ("embedding", blank((5, 2)), {"ids": [0.5]}, ["integers", "float64"]),
    ("getitem", blank((3, 4)), {"index": ((0, 0),)}, ["getitem", "(0, 0)"]),
    ("max", blank((2, 0)), {"axis": 1}, ["max", "(2, 0)"]),
    ("mean", blank((2, 0)), {}, ["mean", "(2, 0)"]),
    ("softmax", blank((2, 0)), {}, ["softmax", "(2, 0)"]),
    ("mask_message", blank((2, 3)), {"mask": [True, False, True]}, ["(3,)", "(2, 3)"]),
]  # fmt: skip


@pytest.mark.parametrize("name, inputs, options, named", MISTAKES, ids=[f"{m[0]}-{m[3][0]}" for m in MISTAKES])
def test_shapes_that_do_not_fit_are_named(
    name: str, inputs: list[Tensor], options: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(ShapeError) as caught:
        OPS[name](*inputs, **options)
    message = str(caught.value)
    assert all(word in message for word in named), message
    assert len(message.splitlines()) <= 2


def test_the_reference_table_is_really_used() -> None:
    with kernels.use("reference"):
        assert kernels.of(np.zeros(1)).device == "reference"
    assert kernels.of(np.zeros(1)).device == "cpu"


def test_mixed_precisions_are_refused() -> None:
    """A product of float32 and float64 would read the bytes of one as the other."""
    with pytest.raises(ConfigError, match=r"linear.*float32, float64, float64"):
        ops.linear(Tensor(np.ones((2, 3), np.float32)), *blank((4, 3), (4,)))


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64"])
def test_an_id_below_0_is_refused_in_every_precision(kind: str) -> None:
    rows = np.zeros((70_000, 1), np.float32)  # more than int8 and int16 can name
    with pytest.raises(ShapeError, match=r"indices lie in -1\.\.2"):
        ops.embedding(rows, ids=np.array([2, -1], kind))
    assert ops.embedding(rows, ids=np.array([2, 100], kind)).shape == (2, 1)
