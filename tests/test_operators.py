"""A tensor where Python or NumPy expects a number or an array, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from micrornn import ops
from micrornn.errors import ConfigError, MicrornnError, ShapeError
from micrornn.layers import Linear
from micrornn.optim import SGD, Optimizer
from micrornn.parameters import Flat, Module, Parameter
from micrornn.recurrent import Recurrent, last_valid
from micrornn.tape import Tape, Tensor

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
V = np.array([2.0, 0.25, 3.0])


def x() -> Tensor:
    return Tensor(X, requires_grad=True)


OPERATORS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [  # of a tensor; the same of a NumPy array
    (lambda t: np.float64(2.0) * t, lambda a: 2 * a),
    (lambda t: np.float32(0.5) - t, lambda a: 0.5 - a),
    (lambda t: np.int64(3) / t, lambda a: 3 / a),
    (lambda t: V + t, lambda a: V + a),
    (lambda t: V - t, lambda a: V - a),
    (lambda t: V * t, lambda a: V * a),
    (lambda t: V / t, lambda a: V / a),
    (lambda t: np.eye(2) @ t, lambda a: a),
    (lambda t: t @ np.ones((3, 1)), lambda a: a.sum(1, keepdims=True)),
    (lambda t: t**2, lambda a: a**2),
    (lambda t: abs(t) ** 0.5, lambda a: np.abs(a) ** 0.5),
    (lambda t: 2**t, lambda a: 2**a),
    (lambda t: V**t, lambda a: V**a),
    (lambda t: +t, lambda a: a),
    (lambda t: abs(t), np.abs),
    (lambda t: t.T, lambda a: a.T),
    (lambda t: t.sum(), np.sum),
    (lambda t: t.sum(axis=0, keepdims=True), lambda a: a.sum(0, keepdims=True)),
    (lambda t: np.sum(t), np.sum),
    (lambda t: np.mean(t, axis=1), lambda a: a.mean(1)),
    (lambda t: t.mean(-1), lambda a: a.mean(-1)),
    (lambda t: t.max(axis=1), lambda a: a.max(1)),
    (lambda t: t.reshape(3, 2), lambda a: a.reshape(3, 2)),
    (lambda t: t.reshape((3, -1)), lambda a: a.reshape(3, 2)),
    (lambda t: ops.stack([t, t]), lambda a: np.stack([a, a])),
    (lambda t: ops.concatenate((t, 1.0 * t), axis=1), lambda a: np.concatenate([a, a], 1)),
    (lambda t: ops.sum(t, axis=np.int32(1)), lambda a: a.sum(1)),
    (lambda t: ops.sum(t, axis=[0, -1]), np.sum),
    (lambda t: t[np.array(1)], lambda a: a[1]),
    (lambda t: t[0][np.array(2)], lambda a: a[0, 2]),
    (lambda t: t[[]], lambda a: a[:0]),
    (lambda t: ops.transpose(t, axes=(-1, 0)), lambda a: a.T),
    (lambda t: ops.matmul(t[:, :0], np.zeros((0, 4))) + 0 * t.sum(), lambda a: np.zeros((2, 4))),
    (lambda t: ops.linear(t[:, :0], np.zeros((2, 0)), V[:2]) + 0 * t.sum(), lambda a: np.array([V[:2]] * 2)),
]


@pytest.mark.parametrize("place", range(len(OPERATORS)))
def test_operators_give_the_numbers_of_numpy_and_a_gradient(place: int) -> None:
    ours, plain = OPERATORS[place]
    t = x()
    with Tape() as tape:
        y = ours(t)
        total = (y * 1.0).sum()
    assert isinstance(y, Tensor) and y.dtype == np.float64
    np.testing.assert_allclose(y.data, plain(X), rtol=1e-14)
    (gradient,) = tape.cotangents([t], [total])
    assert gradient is not None and np.isfinite(gradient).all()


def test_a_tensor_of_one_number_is_a_number() -> None:
    t = Tensor([[2.75]])
    assert float(t) == t.item() == 2.75 and int(t) == 2 and math.sqrt(Tensor(9.0)) == 3
    assert f"{t:.1f}|{t:8.3f}|{t:e}" == "2.8|   2.750|2.750000e+00" and f"{t}" == str(t)
    assert [bool(Tensor(v)) for v in (0.0, [0.0], -1.0, [[math.nan]])] == [False, False, True, True]


@pytest.mark.parametrize("use", [float, int, bool, lambda t: f"{t:.2f}", lambda t: t.item(), lambda t: 1 if t else 0])
def test_a_tensor_of_more_is_none(use: Callable[[Tensor], Any]) -> None:
    for t in (x(), Tensor(np.zeros((0,)))):
        with pytest.raises(ShapeError, match=r"shape \((2, 3|0,)\)"):
            use(t)


def test_a_tensor_is_an_array_to_numpy() -> None:
    t = x()
    assert np.asarray(t).dtype == np.float64 and (np.asarray(t) == X).all()
    assert np.asarray(t, np.float32).dtype == np.float32 and np.array(t) is not t.data
    assert np.array([t, t]).shape == (2, 2, 3) and np.allclose(t, X)
    for function in (np.tanh, np.exp, np.add):
        with pytest.raises(TypeError, match="ufunc"):
            function(*[t] * function.nin)


def test_comparisons_are_arrays_of_bool_and_hashes_are_of_the_object() -> None:
    a, b = Tensor([1.0, 2.0, 3.0]), Tensor([3.0, 2.0, 1.0])
    for got, wanted in [
        (a == b, [False, True, False]), (a != b, [True, False, True]), (a < b, [True, False, False]),
        (a <= b, [True, True, False]), (a > 2, [False, False, True]), (a >= np.array([1, 3, 3]), [True, False, True]),
        (np.array([1, 3, 3]) > a, [False, True, False]), (a == 2, [False, True, False]), (a == [1, 2, 3], [True] * 3),
    ]:  # fmt: skip
        assert isinstance(got, np.ndarray) and got.dtype == bool and got.tolist() == wanted
    assert (a == None) is False and (a != "text") is True  # noqa: E711
    assert len({a, b, a}) == 2 and {a: 1, b: 2}[b] == 2 and 2.0 in a and 9.0 not in a
    with pytest.raises(ShapeError, match=r"\(3,\) and \(2,\)"):
        _ = a == np.zeros(2)
    with pytest.raises(TypeError):
        _ = a < "text"


JUNK: list[Any] = [
    None, "abc", b"12", "3.5", 1 + 2j, np.array([1j]), object(), {1, 2}, {"a": 1}, [[1, 2], [3]], [1, None], ["1", "2"],
    lambda: 1, np.array(["a"]), np.array([None, 1.0]), np.datetime64("2020-01-01"), Tensor(1.0), [Tensor(1.0), 2.0],
    [[Tensor(1.0)]], np.ma.masked_array([1.0, 2.0], [True, False]), 10**400, range, ..., [np.zeros(2), np.zeros(3)],
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(JUNK)))
def test_junk_makes_no_tensor_and_no_operand(place: int) -> None:
    junk, t = JUNK[place], x()
    with pytest.raises(ConfigError, match=r"^Tensor: ") as caught:
        Tensor(junk)
    assert len(str(caught.value)) < 200
    if not isinstance(junk, Tensor):
        for operation in (lambda: t + junk, lambda: junk * t, lambda: ops.matmul(t, junk)):
            with pytest.raises((ConfigError, TypeError)) as caught:
                operation()
            assert isinstance(caught.value, ConfigError) or "unsupported operand" in str(caught.value)


def test_what_does_make_a_tensor() -> None:
    for given, kind in ((True, "f4"), (3, "f4"), (2.5, "f8"), ([1, 2], "f4"), (np.float16(1), "f4"), (range(3), "f4"),
                        (np.arange(3, dtype=np.uint8), "f4"), ((1.5, 2), "f8"), ([], "f8")):  # fmt: skip
        assert Tensor(given).dtype == np.dtype(kind) and Tensor(given, dtype=np.float32).dtype == np.float32
    for dtype in (int, "complex64", np.float16, "nonsense", object()):
        with pytest.raises(ConfigError, match="precision"):
            Tensor([1.0], dtype=dtype)


def test_operators_need_no_import_of_the_ops() -> None:
    code = """
from micrornn.tape import Tape, Tensor
w = Tensor(3.0, requires_grad=True)
with Tape() as tape:
    y = (2.0 - w) / w + w[None].sum()
tape.backward(y)
assert abs(w.grad - (1 - 2 / 9)) < 1e-15
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- slips --------------------------------------------------------------------------------------------------------


class Net(Module):
    def __init__(self, **parts: Any):
        vars(self).update(parts)


class Plain:
    def __init__(self) -> None:
        self.weight = Parameter([1.0])


def tape_of(t: Tensor) -> tuple[Tape, Tensor]:
    with Tape() as tape:
        y = ops.tanh(t)
    return tape, y


@pytest.mark.parametrize("by_place, by_name", [
    (lambda: ops.mean_squared_error(x(), X), lambda: ops.mean_squared_error(x(), targets=X)),
    (lambda: ops.sum(x(), 0), lambda: ops.sum(x(), axis=0)),
    (lambda: ops.reshape(x(), (3, 2)), lambda: ops.reshape(x(), shape=(3, 2))),
    (lambda: ops.cross_entropy(x(), [0, 2]), lambda: ops.cross_entropy(x(), targets=[0, 2])),
])  # fmt: skip
def test_options_may_stand_behind_the_inputs(by_place: Callable[[], Any], by_name: Callable[[], Any]) -> None:
    np.testing.assert_array_equal(by_place().data, by_name().data)


SLIPS: dict[str, tuple[Callable[[], Any], str]] = {  # -> the call, and what the message says
    "one too many": (lambda: ops.sum(x(), 0, True, 3), r"write sum\(x, axis=\.\.\., keepdims=\.\.\.\)"),
    "axis by place and by name": (lambda: ops.sum(x(), 0, axis=0), r"write sum\(x, axis=\.\.\., keepdims=\.\.\.\)"),
    "no options": (lambda: ops.matmul(x(), x(), x()), r"matmul takes 2 inputs, and was given 3"),
    "mask first": (lambda: ops.where(X > 0, x(), x()), r"where takes 2 inputs.*given 3"),
    "one of two": (lambda: ops.matmul(x()), r"matmul takes 2 inputs, and was given 1"),
    "dim": (lambda: ops.mean(x(), dim=0), r"no option 'dim'.*axis"),
    "no ids": (lambda: ops.embedding(x()), "needs the option ids"),
    "nothing to stack": (lambda: ops.stack(), r"1 or more inputs"),
    "an empty list": (lambda: ops.concatenate([]), r"1 or more inputs"),
    "list for one": (lambda: ops.exp([x(), x()]), r"ops\.stack"),
    "axis twice": (lambda: ops.mean(x(), axis=(1, -1)), "twice"),
    "axis of text": (lambda: ops.sum(x(), axis="rows"), "axis must be a whole number"),
    "axis of bool": (lambda: ops.sum(x(), axis=True), "axis must be a whole number"),
    "axes of max": (lambda: ops.max(x(), axis=(0, 1)), "axis must be a whole number"),
    "half an axis": (lambda: ops.sum(x(), axis=0.5), "axis must be a whole number"),
    "negative pieces": (lambda: ops.split(x(), sizes=[3, -1], axis=0), "sizes must be 0 or more"),
    "pieces by number": (lambda: ops.split(x(), sizes=3, axis=1) and ops.split(x(), sizes=2, axis=1), "add up"),
    "shape of text": (lambda: ops.reshape(x(), shape="6"), "shape must be a whole number"),
    "axes of none": (lambda: ops.transpose(x(), axes=[None, 1]), "axes must be a whole number"),
    "rate of 1": (lambda: ops.dropout(x(), rate=1.0, key=1), r"0\.\.1"),
    "rate below 0": (lambda: ops.dropout(x(), rate=-0.1, key=1), r"0\.\.1"),
    "rate of NaN": (lambda: ops.dropout(x(), rate=math.nan, key=1), r"0\.\.1"),
    "rate of text": (lambda: ops.dropout(x(), rate="0.5", key=1), "rate must be a number"),
    "key of text": (lambda: ops.dropout(x(), rate=0.5, key="a"), "key must be a whole number"),
    "negative limit": (lambda: ops.clip_message(x(), limit=-1), "limit must be 0 or more"),
    "rows of a number": (lambda: list(ops.unstack(Tensor(1.0))), "no rows"),
    "index by tensor": (lambda: x()[Tensor([0.0])], "cannot index"),
    "index by float": (lambda: x()[0.5], "cannot index"),
    "slice by float": (lambda: x()[0.5:], "slice"),
    "step of 0": (lambda: x()[::0], "step"),
    "three axes": (lambda: x()[0, 0, 0], "indices"),
    "ragged index": (lambda: x()[[[0], [0, 1]]], "different lengths"),
    "index of a number": (lambda: Tensor(1.0)[[0]], "single number"),
    "set an item": (lambda: x().__setitem__(0, 1.0), r"where"),
    "deep table": (lambda: ops.embedding(Tensor(np.zeros((2, 2, 2))), ids=[0]), r"\(V, D\)"),
    "ragged ids": (lambda: ops.embedding(x(), ids=[[0], [0, 1]]), "different lengths"),
    "targets with a past": (lambda: ops.mean_squared_error(x(), targets=x()), r"targets\.data"),
    "no targets": (lambda: ops.mean_squared_error(x(), targets=None), "real numbers"),
    "logits of one": (lambda: ops.cross_entropy(Tensor(1.0), targets=0), r"\(\.\.\., V\)"),
    "no classes": (lambda: ops.cross_entropy(Tensor(np.zeros((2, 0))), targets=[0, 0]), "V not 0"),
    "len of a number": (lambda: len(Tensor(1.0)), "no length"),
    "sum to dtype": (lambda: x().sum(dtype=np.float32), "no option 'dtype'"),
    "bare of": (lambda: tape_of(x())[0].cotangents(x(), []), r"write \[x\]"),
    "bare outputs": (lambda: Tape().cotangents([x()], x()), r"write \[x\]"),
    "too few seeds": (lambda: tape_of(x())[0].cotangents([], [x(), x()], [None]), "1 cotangent for 2 outputs"),
    "array for seeds": (lambda: tape_of(x())[0].cotangents([], [x()], np.ones((2, 3))), "2 cotangents for 1"),
    "no size": (lambda: Linear(0, 2), "input_size must be 1 or more"),
    "half a size": (lambda: Linear(2, 2.5), "output_size must be a whole number"),
    "too large a size": (lambda: Linear(10**30, 2), "no array is as long"),
    "a negative seed": (lambda: Linear(2, 2, seed=-1), "seed must be 0 or more"),
    "keepdims of text": (lambda: ops.sum(x(), keepdims="yes"), "keepdims must be True or False"),
    "seeds of one number": (lambda: Tape().cotangents([], [], 1.0), "wanted a list"),
    "a rate of NaN": (lambda: Optimizer(Flat(Linear(1, 1)), "sgd").update(math.nan), "must be finite"),
    "a rate of text": (lambda: Optimizer(Flat(Linear(1, 1)), "sgd").update("0.1"), "lr must be a number"),
    "an optimizer of nothing": (lambda: Optimizer(Net(), "sgd"), r"without parameters"),
    "an optimizer without a rate": (lambda: Optimizer(Linear(1, 1), "sgd").update(), "no learning rate"),
    "an option of another": (lambda: SGD(Linear(1, 1), beta1=0.9), "no option 'beta1'"),
    "a cell by number": (lambda: Recurrent(3, 1, 1), "a cell is a name"),
    "a granularity by number": (lambda: Recurrent("rnn", 1, 1, granularity=1), "granularity: there is no 1; choose"),
    "a length beyond all": (lambda: last_valid(Tensor(np.ones((2, 1, 1))), [10**30]), r"wanted 1 number in 1\.\.2"),
    "flat of arrays": (lambda: Flat([np.zeros(2)]), "list of tensors"),
    "flat of one": (lambda: Flat(Parameter([1.0])), r"write \[x\]"),
    "flat of nothing": (lambda: Flat(Net()), "without parameters"),
    "a set": (lambda: Net(parts={Linear(1, 1)}).parameters(), "no order"),
    "no module": (lambda: Net(part=Plain()).parameters(), "part holds parameters but is no Module; derive Plain"),
    "one name": (lambda: Net(a={"w": Linear(1, 1)}, b={"w": Linear(1, 1)}).parameters(), "different names"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_usual_slips_are_told(name: str) -> None:
    call, said = SLIPS[name]
    with pytest.raises(MicrornnError, match=said) as caught:
        call()
    assert len(str(caught.value).splitlines()) <= 2
