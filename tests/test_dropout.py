"""Dropout: what is dropped, and where it is the same; of inputs, between layers, and of what goes through time."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from test_recurrent import CLOSE, B, D, H, T, assert_close, everything

from micrornn import kernels, ops
from micrornn.dropmask import drop_mask, mix_key
from micrornn.gradcheck import gradcheck
from micrornn.layers import Dropout
from micrornn.recurrent import GRANULARITIES, Recurrent
from micrornn.tape import Tape, Tensor


def test_clip_message_does_limit_and_dropout_does_drop() -> None:
    """What the agreement above cannot tell: that these two do anything at all."""
    plain = everything(Recurrent("gru", D, H, dtype=np.float64, seed=0), 3, np.float64)
    clipped = everything(Recurrent("gru", D, H, clip_message=0.05, dtype=np.float64, seed=0), 3, np.float64)
    assert np.abs(plain["dh_0"]).max() > 0.05 and np.abs(clipped["dh_0"]).max() == 0.05
    assert (plain["y"] == clipped["y"]).all()

    model = Recurrent("gru", D, H, 2, dropout=0.5, dtype=np.float64)
    results = []
    for key, training in ((1, True), (1, True), (2, True), (1, False), (2, False)):
        model.dropout_key = key
        model.train(training)
        results.append(everything(model, 3, np.float64)["y"])
    assert (results[0] == results[1]).all() and (results[0] != results[2]).any()
    assert (results[3] == results[4]).all() and (results[3] != results[0]).any()


def weighted(model: Recurrent, where: dict[str, Any]) -> Tensor:
    y = model(Tensor(np.ones((T, B, D))), **where)[0]
    return ops.sum(y * np.random.default_rng(3).normal(size=y.shape))


@pytest.mark.parametrize("cell, dtype, table", [("gru", np.float64, "reference"), ("lstm", np.float64, "cpu")])
def test_recurrent_dropout(cell: str, dtype: type, table: str) -> None:
    """One mask for all time steps, on what goes through weights; all granularities agree, also where steps are masked;
    the gradient is the numeric one; and nothing is dropped when it is used."""
    usual: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "dtype": dtype}
    usual |= {"learn_initial": True, "dropout_mask": "sequence"}
    masked = {"mask": [[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 1], [1, 1, 0]]}
    with kernels.use(table):
        for where in ({}, masked):
            found = []
            for granularity in GRANULARITIES:
                model = Recurrent(cell, D, H, **usual, recurrent_dropout=0.4, granularity=granularity, seed=0)
                model.dropout_key, model.dropout_start = 7, 2  # where a segment begins does not matter
                found.append(everything(model, 3, dtype, **where))
            assert_close(found[1], found[0], CLOSE[dtype])
            assert_close(found[2], found[1], CLOSE[dtype])
            if dtype is np.float64:
                loss = partial(weighted, model, where)
                checks = gradcheck(loss, [*model.parameters().values()], samples=2)
                assert max(check.error for check in checks) < 1e-8
        model.train(False)
        plain = Recurrent(cell, D, H, **usual, seed=0)
        plain.train(False)
        for parameter, other in zip(plain.parameters().values(), model.parameters().values()):
            parameter.data[...] = other.data
        x = Tensor(np.ones((T, B, D), dtype))
        assert (model(x)[0].data == plain(x)[0].data).all()


def test_recurrent_dropout_by_hand() -> None:
    model = Recurrent("gru", D, H, recurrent_dropout=0.5, dtype=np.float64, granularity="primitive")
    model.dropout_key = 3
    x = np.random.default_rng(0).normal(size=(4, B, D))
    keep = drop_mask(Tensor(x), (B, H), 0.5, mix_key(model.seed, 3, 0, 0, 1)).data
    w, h = {name: parameter.data for name, parameter in model.weights.items()}, np.zeros((B, H))
    assert set(keep.ravel()) == {0.0, 2.0}
    for t in range(4):
        from_x = x[t] @ w["weight_ih_l0"].T + w["bias_ih_l0"]
        from_h = (h * keep) @ w["weight_hh_l0"].T + w["bias_hh_l0"]
        r, z = (1 / (1 + np.exp(-a)) for a in np.split((from_x + from_h)[:, : 2 * H], 2, axis=1))
        n = np.tanh(from_x[:, 2 * H :] + r * from_h[:, 2 * H :])
        h = (1 - z) * n + z * h
    np.testing.assert_allclose(model(x)[0].data[-1], h, atol=1e-12)


def test_dropout_of_a_sequence_drops_the_same_at_all_time_steps() -> None:
    x = Tensor(np.ones((T, B, 40)), True)
    with Tape() as tape:
        y = Dropout(0.5, mask="sequence")(x)
    (dx,) = tape.cotangents([x], [y], [np.ones(y.shape)])
    assert (y.data == y.data[0]).all() and set(y.data.ravel()) == {0.0, 2.0} and (dx == y.data).all()
    y = Dropout(0.5)(x)
    assert (y.data != y.data[0]).any()


def test_keys_are_unrelated() -> None:
    keys = {mix_key(seed, update, layer) for seed in range(5) for update in range(5) for layer in range(5)}
    assert len(keys) == 125 and all(0 <= key < 2**64 for key in keys)
    assert mix_key(-1, 3) == mix_key(2**64 - 1, 3)
    y = ops.dropout(Tensor(np.ones(64)), rate=0.5, key=mix_key(1, 2))
    assert 0 < (y.data == 0).sum() < 64
