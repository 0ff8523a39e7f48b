"""Modules, copies and the flat buffer; and what a tape refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from micrornn import ops
from micrornn.errors import ConfigError, ShapeError, TapeError
from micrornn.layers import Dropout, Embedding, Linear
from micrornn.optim import Optimizer
from micrornn.parameters import Flat, Module, Parameter
from micrornn.tape import Tape, Tensor

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def x() -> Tensor:
    return Tensor(X, requires_grad=True)


class Net(Module):
    def __init__(self, **parts: Any):
        vars(self).update(parts)


# --- modules and copies -------------------------------------------------------------------------------------------


def test_modules_at_any_depth() -> None:
    shared = Linear(1, 1)
    net = Net(
        rows=[[Linear(1, 1), shared], (shared, [{"deep": Linear(1, 1)}])], table={"a": {"b": Linear(1, 1)}},
        scale=Tensor(np.ones(2), requires_grad=True), plain=Tensor(np.ones(2)), past=Parameter([1.0]) * 2,
    )  # fmt: skip
    net.me, net.loop = net, [shared]
    net.loop.append(net.loop)
    assert [*net.parameters()] == [
        "rows.0.0.weight", "rows.0.0.bias", "rows.0.1.weight", "rows.0.1.bias", "rows.1.1.0.deep.weight",
        "rows.1.1.0.deep.bias", "a.b.weight", "a.b.bias", "scale",
    ]  # fmt: skip
    assert len([*net.modules()]) == 5
    net.train(False)
    assert not shared.training


def update(flat: Flat) -> None:
    """One step down the loss sum(weight^2) + sum(bias)."""
    with Tape() as tape:
        parameters = flat.parameters
        loss = (parameters["weight"] ** 2).sum() + parameters["bias"].sum()
    tape.backward(loss)
    Optimizer(flat, "sgd").update(0.25)


@pytest.mark.parametrize("way", ["none", "other grad", "data", "deepcopy", "pickle", "deepcopy of the net"])
def test_a_parameter_that_was_cut_off_is_trained_nevertheless(way: str) -> None:
    net = Linear(2, 1, dtype=np.float64)
    flat = net.flat = Flat(net)  # type: ignore[attr-defined]
    net.weight.data[...] = [[1.0, 2.0]]
    for parameter in net.parameters().values():
        if way == "none":
            parameter.grad = None
        elif way == "other grad":
            parameter.grad = np.zeros(parameter.shape)
        elif way == "data":
            parameter.data = parameter.data.copy()
    if way == "pickle":
        net = pickle.loads(pickle.dumps(net))
    elif way.startswith("deepcopy"):
        net = copy.deepcopy(net)
    if way != "deepcopy" and way[:4] not in ("deep", "pick"):
        assert net.flat is flat
    bias = net.bias.data.copy()
    update(net.flat)
    assert net.weight.data.tolist() == [[0.5, 1.0]] and net.bias.data.tolist() == (bias - 0.25).tolist()
    assert net.weight.grad.tolist() == [[2.0, 4.0]]
    assert net.flat.data[net.flat.slices["weight"]].tolist() == [0.5, 1.0]
    assert np.shares_memory(net.flat.grad, net.weight.grad)


def test_copies_are_apart_and_keep_their_gradients() -> None:
    net = Linear(1, 1, dtype=np.float64)
    flat = Flat(net)
    flat.grad[...] = 3
    other = copy.deepcopy(flat)
    other.data[...] = 7
    assert (other.grad == 3).all() and not (flat.data == 7).any()
    assert other.parameters["weight"].data.item() == 7
    t = copy.copy(Tensor([1.0, 2.0], requires_grad=True, name="t"))
    assert t.requires_grad and t.name == "t" and t.data.tolist() == [1, 2]
    net.state = net.weight * 2  # type: ignore[attr-defined]  # computed, so no parameter, in a copy neither
    assert [*copy.deepcopy(net).parameters()] == [*pickle.loads(pickle.dumps(net)).parameters()] == ["weight", "bias"]


def test_what_cannot_be_brought_back_is_refused() -> None:
    net = Linear(2, 1, dtype=np.float64)
    flat = Flat(net)
    with pytest.raises(ConfigError, match=r"weight lies in a Flat already.*model\.flat"):
        Flat(net.parameters())
    with pytest.raises(ConfigError, match="before its Flat is made"):
        net.to("cpu")
    net.weight.data = np.zeros((1, 3))
    with pytest.raises(ShapeError, match=r"data of parameter weight.*\(1, 3\).*\(1, 2\)"):
        flat.join()
    net.weight.data = flat.data[flat.slices["weight"]].reshape(1, 2)
    for wrong in (np.zeros(7), np.zeros((1, 2), np.float32), [0.0, 0.0]):
        net.weight.grad = wrong
        with pytest.raises(ShapeError, match="grad of parameter weight"):
            flat.join()
    flat.zero_grad()
    late = Linear(1, 1)
    net.more = late  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"parameter more\.weight came into the model after"):
        update(flat)
    del net.more  # type: ignore[attr-defined]
    flat.data = 2.0
    assert net.weight.data.tolist() == [[2, 2]]
    del flat
    assert Flat(net.parameters()) is not None, "a Flat that is gone has no claim"


# --- the tape says no ---------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_on_the_tape() -> None:
    t = x()
    idle = Tape()
    loss = (t * t).sum()
    for call in (lambda: idle.backward(loss), lambda: idle.cotangents([t], [loss])):
        with pytest.raises(TapeError, match="never active"):
            call()
    with Tape() as tape:
        ops.exp(t)
    with pytest.raises(TapeError, match=r"1 record.*outside of `with tape:`"):
        tape.backward(loss)
    with Tape() as outer, Tape() as inner:
        y = t.sum()
    inner.backward(y)
    with pytest.raises(TapeError, match="another tape"):
        outer.backward(y)
    with Tape() as tape:
        z = Tensor([1.0]) * 2
    with pytest.raises(TapeError, match="requires_grad=True"):
        tape.backward(z)
    with pytest.raises(TapeError, match="not float"):
        tape.backward(3.0)  # type: ignore[arg-type]
    with pytest.raises(TapeError, match=r"tape\.backward\(loss\)"):
        loss.backward()
    assert t.grad is not None and (t.grad == 1).all()


@pytest.mark.parametrize(
    "grad", [np.zeros(4000), np.zeros((3, 2)), np.zeros((2, 3), np.float32), np.zeros((3, 2)).T, [[0.0] * 3] * 2, 0.0]
)
def test_a_grad_of_another_kind_is_refused(grad: Any) -> None:
    t, other = x(), x()
    t.grad = grad
    with Tape() as tape:
        y = (other * t).sum()
    with pytest.raises(ShapeError, match=r"grad of a tensor.*\(2, 3\)"):
        tape.backward(y)
    assert other.grad is None, "all or nothing"


def test_cotangents_share_nothing() -> None:
    a, b, c = (Tensor(np.ones(3), requires_grad=True) for _ in "abc")
    seed = np.ones(3)
    with Tape() as tape:
        y = a + b
        z = ops.linear_cross_entropy(c[None], np.ones((2, 3)), np.zeros(2), targets=[1])
    found = tape.cotangents([a, b, y, a], [y], [seed]) + tape.cotangents([c], [z])
    for place, one in enumerate(found):
        assert one is not None and not np.shares_memory(one, seed)
        assert not any(np.shares_memory(one, other) for other in found[:place])
        one[...] = 99
    again = tape.cotangents([a, b, y], [y], [seed]) + tape.cotangents([c], [z])
    assert all((g != 99).all() for g in again) and seed.tolist() == [1, 1, 1]


def write_half(w: Tensor) -> None:
    w.data[len(w) // 2 :] *= 0.5


WRITES: dict[str, Callable[[Tensor, np.ndarray], Any]] = {  # to the weight, or to the array that a tensor was made of
    "all of it": lambda w, a: w.data.fill(3.0),
    "in place": lambda w, a: np.multiply(w.data, 0.9, out=w.data),
    "a column": lambda w, a: w.data[:, -1:].__iadd__(1.0),
    "half of it": lambda w, a: write_half(w),
    "the caller's array": lambda w, a: a.fill(0.0),
    "a count": lambda w, a: setattr(w, "version", w.version + 1),
}


@pytest.mark.parametrize("way, size", [(way, size) for way in WRITES for size in (8, 3000)])
def test_what_the_way_back_needs_must_not_change(way: str, size: int) -> None:
    given = np.random.default_rng(0).normal(size=(size // 4, 4))
    w, other = Tensor(np.ones(given.shape), True, "w"), Tensor(given)
    with Tape() as tape:
        y = (w * other).sum()
        aside = (w + other).sum()
    before = tape.cotangents([w], [y])[0]
    WRITES[way](w, given)
    with pytest.raises(TapeError, match=r"was written to since <record: mul\("):
        tape.backward(y)
    assert w.grad is None and before is not None
    tape.backward(aside)  # a sum needs no numbers of what was added
    assert (w.grad == 1).all()


def test_an_update_between_two_losses_is_noticed_and_a_new_array_is_not_needed() -> None:
    net = Linear(40, 40)  # 1,600 weights, of which the loss sees few: a sample of them may be unchanged
    optimizer = Optimizer(Flat(net), "sgd")
    one = np.zeros((1, 40), np.float32)
    one[0, 0] = 1
    with Tape() as tape:
        y = net(net(Tensor(one)))
        first, second = y[0, 1] * 1.0, y[0, 2] * 1.0
    tape.backward(first)
    optimizer.update(0.1)
    with pytest.raises(TapeError, match="weight"):
        tape.backward(second)
    w = Tensor([1.0, 2.0], True)
    with Tape() as tape:
        loss = (w * w).sum()
    w.data = np.zeros(2)  # the tape keeps the old one
    tape.backward(loss)
    assert w.grad.tolist() == [2, 4]
    with Tape(guard=False) as tape:
        loss = (w * w).sum()
    w.data[:] = 5
    tape.backward(loss)
    assert w.grad.tolist() == [12, 14], "nobody looked"


def test_modules_find_their_parameters_wherever_they_are() -> None:
    class Model(Module):
        def __init__(self) -> None:
            self.embedding, self.layers = Embedding(7, 3), [Linear(3, 2), Dropout(0.5), Linear(2, 1)]

    model = Model()
    assert [*model.parameters()] == [
        "embedding.weight", "layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"
    ]  # fmt: skip
    model.train(False)
    x = Tensor(np.ones((4, 3), np.float32))
    assert model.layers[1](x) is x
    model.train()
    assert (model.layers[1](x).data == 0).any()
