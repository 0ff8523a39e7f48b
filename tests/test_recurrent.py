"""The recurrent layer: three granularities that are one, masks that count exactly, windows that join, and how
parameters start."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_rows import VARIED

from micrornn import kernels, ops
from micrornn.cells import CELLS
from micrornn.dropmask import drop_mask, mix_key
from micrornn.errors import ConfigError, ShapeError
from micrornn.gradcheck import gradcheck
from micrornn.layers import Dropout, Embedding, Linear
from micrornn.parameters import Module, glorot, identity, normal, orthogonal, uniform, zeros
from micrornn.recurrent import GRANULARITIES, Recurrent, last_valid
from micrornn.tape import Tape, Tensor

T, B, D, H = 5, 3, 4, 6
CLOSE = {np.float64: 1e-12, np.float32: 1e-5}


def states(model: Recurrent, batch_size: int, rng: np.random.Generator, dtype: type) -> list[Tensor]:
    shape = (model.num_layers * len(model.directions), batch_size, model.hidden_size)
    return [Tensor(rng.normal(size=shape), True, s + "_0", dtype) for s in model.cell.states]


def everything(model: Recurrent, seed: int, dtype: type, given: bool = True, seq_len: int = T,
               batch_size: int = B, **where: Any) -> dict[str, np.ndarray]:  # fmt: skip
    """Outputs, last states, and the gradients of a random weighting of them with respect to all there is."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.normal(size=(seq_len, batch_size, model.input_size)), True, "x", dtype)
    leaves = [x, *model.parameters().values()]
    state = states(model, batch_size, rng, dtype) if given else None
    leaves += state or []
    with Tape() as tape:
        y, last = model(x, state, **where)
    out = dict(zip(("y", "h_n", "c_n"), (y, *last)))
    seeds = [rng.normal(size=part.shape) for part in out.values()]
    cotangents = tape.cotangents(leaves, [*out.values()], seeds)
    gradients = {f"d{leaf.name}": g for leaf, g in zip(leaves, cotangents) if g is not None}
    return {name: part.data for name, part in out.items()} | gradients


def assert_close(one: dict[str, np.ndarray], other: dict[str, np.ndarray], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        scale = max(1.0, float(np.abs(other[name]).max()))
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=tolerance * scale, err_msg=name)


# --- one recurrence, three granularities --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", CLOSE, ids=lambda t: t.__name__)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("cell", VARIED)
def test_granularities_agree(cell: str, num_layers: int, bidirectional: bool, dtype: type) -> None:
    rng = np.random.default_rng(1)
    masks: list[dict[str, Any]] = [{}, {"mask": rng.random((T, B)) < 0.6}, {"lengths": [5, 1, 3]}]
    for where, given_state, clip in itertools.product(masks, (True, False), (0.0, 0.05)):
        results = []
        for granularity in GRANULARITIES:
            model = Recurrent(
                cell, D, H, num_layers, bidirectional, 0.3, granularity=granularity, dtype=dtype,
                learn_initial=True, clip_message=clip, initializers={"weight_hh": orthogonal},
            )  # fmt: skip
            model.dropout_key = 7
            results.append(everything(model, 3, dtype, given_state, **where))
        assert ("dh_0" in results[0]) and len(results[0]) >= 6
        assert_close(results[1], results[0], CLOSE[dtype])
        assert_close(results[2], results[1], CLOSE[dtype])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_granularities_agree_at_any_size(data: st.DataObject) -> None:
    names = ("seq_len", "batch_size", "inputs", "hidden")
    seq_len, batch_size, inputs, hidden = (data.draw(st.integers(1, 9), label=name) for name in names)
    cell, way = data.draw(st.sampled_from(VARIED)), data.draw(st.booleans(), label="bidirectional")
    lanes = st.lists(st.integers(0, seq_len), min_size=batch_size, max_size=batch_size)
    where = {"lengths": data.draw(lanes, label="lengths")}
    results = [
        everything(
            Recurrent(cell, inputs, hidden, 2, way, granularity=granularity, dtype=np.float64),
            5, np.float64, seq_len=seq_len, batch_size=batch_size, **where,
        )
        for granularity in GRANULARITIES
    ]  # fmt: skip
    assert_close(results[1], results[0], 1e-11)
    assert_close(results[2], results[1], 1e-11)


def test_clip_message_does_limit_and_dropout_does_drop() -> None:
    """What the agreement above cannot tell: that these two do anything at all."""
    plain = everything(Recurrent("gru", D, H, dtype=np.float64), 3, np.float64)
    clipped = everything(Recurrent("gru", D, H, clip_message=0.05, dtype=np.float64), 3, np.float64)
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
                model = Recurrent(cell, D, H, **usual, recurrent_dropout=0.4, granularity=granularity)
                model.dropout_key, model.dropout_start = 7, 2  # where a segment begins does not matter
                found.append(everything(model, 3, dtype, **where))
            assert_close(found[1], found[0], CLOSE[dtype])
            assert_close(found[2], found[1], CLOSE[dtype])
            if dtype is np.float64:
                loss = partial(weighted, model, where)
                checks = gradcheck(loss, [*model.parameters().values()], samples=2)
                assert max(check.error for check in checks) < 1e-8
        model.train(False)
        plain = Recurrent(cell, D, H, **usual)
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


# --- masks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", VARIED)
def test_masked_steps_do_not_exist(cell: str, reverse: bool, granularity: str) -> None:
    """Exactly, not nearly: the state is carried over bit by bit, no gradient reaches a masked input."""
    rng = np.random.default_rng(2)
    model = Recurrent(cell, D, H, bidirectional=reverse, granularity=granularity)
    mask = rng.random((T, B)) < 0.5
    mask[:, 1] = False  # a lane in which nothing counts
    mask[:, 2] = True
    x = Tensor(rng.normal(size=(T, B, D)), True, "x", np.float32)
    first = states(model, B, rng, np.float32)
    with Tape() as tape:
        y, last = model(x, first, mask=mask)
    dx, *dfirst = tape.cotangents([x, *first], [y, *last], [rng.normal(size=part.shape) for part in (y, *last)])
    assert (dx[~mask] == 0).all() and (np.abs(dx[mask]).max(axis=-1) > 0).all()
    for n in range(1 + reverse):
        h = y.data[:, :, n * H : (n + 1) * H]
        before = np.concatenate([h[1:], first[0].data[n][None]] if n else [first[0].data[n][None], h[:-1]])
        assert (h[~mask] == before[~mask]).all()
        for start, end in zip(first, last):
            assert (end.data[n, 1] == start.data[n, 1]).all()
    assert all((d[:, 1] != 0).all() for d in dfirst), "a lane that is masked throughout hands its cotangent on"

    x.data[~mask] = 1e30  # whatever stands there
    again, _ = model(x, first, mask=mask)
    assert (again.data == y.data).all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("cell", VARIED)
def test_what_is_masked_is_never_looked_at(cell: str, granularity: str, table: str) -> None:
    """NaN and infinity under the mask, in x, in the state of a lane without any step, and in what a loss sends back:
    all gradients are, bit by bit, those of a run with ordinary numbers there."""
    found = []
    for there in (0.3, np.nan, -np.inf):
        rng = np.random.default_rng(5)
        model = Recurrent(cell, D, H, 2, True, granularity=granularity)
        mask = rng.random((T, B)) < 0.6
        mask[:, 2] = False
        x = Tensor(rng.normal(size=(T, B, D)), True, "x", np.float32)
        first = states(model, B, rng, np.float32)
        x.data[~mask] = there
        for state in first:
            state.data[:, 2] = there
        with Tape() as tape, np.errstate(invalid="ignore"):
            y, last = model(x, first, mask=mask)
            dy = rng.normal(size=y.shape)
            dy[~mask] = 0 if there == 0.3 else there
            seeds = [dy, *(rng.normal(size=part.shape) for part in last)]
            leaves = [x, *first, *model.weights.values()]
            found.append([y.data[mask], *tape.cotangents(leaves, [y, *last], seeds)])
    for other in found[1:]:
        for one, plain in zip(other, found[0], strict=True):
            assert np.isfinite(one).all() and (one == plain).all()


@pytest.mark.parametrize("cell", VARIED)
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_lengths_are_runs_of_each_lane_alone(cell: str, granularity: str) -> None:
    """A padded batch gives what each sequence gives by itself; both directions."""
    rng, lengths = np.random.default_rng(4), [3, 5, 1]
    model = Recurrent(cell, D, H, 2, True, granularity=granularity, dtype=np.float64)
    x = rng.normal(size=(T, B, D))
    y, last = model(Tensor(x), lengths=lengths)
    for lane, length in enumerate(lengths):
        alone, end = model(Tensor(x[:length, lane : lane + 1]))
        np.testing.assert_allclose(y.data[:length, lane], alone.data[:, 0], rtol=0, atol=1e-13)
        for ours, theirs in zip(last, end):
            np.testing.assert_allclose(ours.data[:, lane], theirs.data[:, 0], rtol=0, atol=1e-13)


def test_arrays_and_lists_do_where_tensors_are_meant() -> None:
    model = Recurrent("lstm", D, H)
    x, zero = np.ones((T, B, D)), np.zeros((1, B, H))
    mask = np.arange(T)[:, None] < [5, 2, 3]
    y, _ = model(Tensor(x, dtype=np.float32), lengths=[5, 2, 3])
    for other in (model(x, (zero, zero), mask.tolist())[0], model(x, lengths=np.array([5, 2, 3]))[0]):
        assert (other.data == y.data).all()


def test_last_valid_is_the_last_output_that_counts() -> None:
    y = Tensor(np.arange(T * B * 2.0).reshape(T, B, 2), True)
    with Tape() as tape:
        row = last_valid(y, [5, 1, 3])
    assert (row.data == y.data[[4, 0, 2], [0, 1, 2]]).all()
    dy = tape.cotangents([y], [row], [np.ones((B, 2))])[0]
    assert dy.sum() == 6 and (dy[[4, 0, 2], [0, 1, 2]] == 1).all()


# --- windows ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    cell=st.sampled_from(VARIED), granularity=st.sampled_from(GRANULARITIES), cut=st.integers(1, 7),
    lengths=st.lists(st.integers(0, 8), min_size=B, max_size=B), seed=st.integers(0, 99),
)  # fmt: skip
def test_two_windows_with_carried_state_are_one(
    cell: str, granularity: str, cut: int, lengths: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    model = Recurrent(cell, D, H, 2, granularity=granularity, dtype=np.float64)
    x, mask = Tensor(rng.normal(size=(8, B, D))), np.arange(8)[:, None] < np.array(lengths)
    first = states(model, B, rng, np.float64)
    y, last = model(x, first, mask=mask)
    y1, carried = model(x[:cut], first, mask=mask[:cut])
    y2, end = model(x[cut:], carried, mask=mask[cut:])
    np.testing.assert_allclose(np.concatenate([y1.data, y2.data]), y.data, rtol=0, atol=1e-13)
    for ours, theirs in zip(end, last, strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=0, atol=1e-13)


def test_learned_initial_state_is_one_row_for_all_lanes() -> None:
    model = Recurrent("lstm", D, H, 2, learn_initial=True, dtype=np.float64)
    h_0, c_0 = (model.weights[name] for name in ("h_0", "c_0"))
    assert h_0.shape == c_0.shape == (2, 1, H) and not h_0.data.any()
    h_0.data[...], c_0.data[...] = 0.3, -0.2
    x = np.random.default_rng(0).normal(size=(T, B, D))
    y, _ = model(Tensor(x))
    given, _ = model(Tensor(x), [Tensor(np.full((2, B, H), value)) for value in (0.3, -0.2)])
    assert (y.data == given.data).all()


# --- how parameters start -----------------------------------------------------------------------------------


def is_orthogonal(w: np.ndarray) -> bool:
    blocks = np.split(w, len(w) // w.shape[1])
    return all(np.allclose(q @ q.T, np.eye(len(q)), atol=1e-12) for q in blocks) and not np.allclose(*blocks[:2])


INITIALIZERS: list[tuple[Any, Callable[[np.ndarray], Any]]] = [  # for a weight of (4 * 50, 50)
    (orthogonal, is_orthogonal),
    (identity, lambda w: (w == np.tile(np.eye(50), (4, 1))).all()),
    (zeros, lambda w: not w.any()),
    (glorot, lambda w: 0.95 < np.abs(w).max() / np.sqrt(6 / 250) <= 1 and abs(w.mean()) < 0.005),
    (uniform(0.2), lambda w: 0.19 < np.abs(w).max() <= 0.2 and abs(w.std() - 0.2 / 3**0.5) < 0.003),
    (normal(0.5), lambda w: abs(w.std() - 0.5) < 0.02 and np.abs(w).max() > 1),
]  # fmt: skip


@pytest.mark.parametrize("start, holds", INITIALIZERS, ids=lambda x: getattr(x, "__name__", "")[:12])
def test_initializers(start: Any, holds: Callable[[np.ndarray], Any]) -> None:
    one, two, same = (start(np.random.default_rng(seed), (200, 50)) for seed in (0, 1, 0))
    assert one.shape == (200, 50) and holds(one) and holds(two)
    assert (one == same).all()
    assert start in (identity, zeros) or (one != two).any()
    model = Recurrent("lstm", 3, 50, initializers={"weight_hh": start}, dtype=np.float64)
    assert holds(model.weights["weight_hh_l0"].data)


def test_orthogonal_matrices_are_drawn_from_all_of_them() -> None:
    """Householder's QR alone gives a first number that is never positive."""
    signs = {np.sign(orthogonal(np.random.default_rng(seed), (4, 4))[0, 0]) for seed in range(20)}
    assert signs == {-1, 1}


@pytest.mark.parametrize("cell", VARIED)
def test_defaults_and_seeds(cell: str) -> None:
    models = [Recurrent(cell, D, H, 2, True, seed=seed) for seed in (1, 1, 2)]
    names = [*models[0].parameters()]
    each = CELLS[cell].parameters
    assert names == [f"{name}_l{layer}{way}" for layer in (0, 1) for way in ("", "_reverse") for name in each]
    same, other = (
        [(a.data == b.data).all() for a, b in zip(models[0].weights.values(), model.weights.values())]
        for model in models[1:]
    )
    assert all(same) and not all(other)
    bound = 1 if cell in ("rnn_relu", "indrnn") else H**-0.5
    assert all(np.abs(w.data).max() <= bound for w in models[0].weights.values())
    assert cell != "rnn_relu" or (models[0].weights["weight_hh_l1"].data == np.eye(H)).all()


def test_forget_bias_opens_the_forget_gate_alone() -> None:
    plain, opened = Recurrent("lstm", D, H), Recurrent("lstm", D, H, forget_bias=1.5)
    for name, value in (("bias_ih_l0", 1.5), ("bias_hh_l0", 0.0)):
        bias, before = opened.weights[name].data, plain.weights[name].data
        assert (bias[H : 2 * H] == value).all()
        assert (np.delete(bias, np.s_[H : 2 * H]) == np.delete(before, np.s_[H : 2 * H])).all()
    assert all(
        (a.data == b.data).all()
        for a, b in zip(
            Recurrent("gru", D, H, forget_bias=1.5).weights.values(), Recurrent("gru", D, H).weights.values()
        )
    )


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


# --- mistakes -----------------------------------------------------------------------------------------------

OK, STATE = np.zeros((T, B, D), np.float32), np.zeros((1, B, H), np.float32)
MISTAKES: list[tuple[Callable[[], Any], Sequence[str]]] = [
    (lambda: Recurrent("elman", D, H), ["'elman'", "rnn, rnn_relu, lstm, gru"]),
    (lambda: Recurrent("gru", D, H, granularity="fine"), ["'fine'", "primitive, cell, sequence"]),
    (lambda: Recurrent("gru", D, 0), ["hidden_size must be 1 or more, not 0"]),
    (lambda: Dropout(1.0), ["Dropout: rate", "below 1", "1.0"]),
    (lambda: Dropout(0.5, mask="lane"), ["'lane'", "step, sequence"]),
    (lambda: Recurrent("gru", D, H, dropout_mask="lane"), ["'lane'", "step, sequence"]),
    (lambda: Recurrent("gru", D, H, recurrent_dropout=1.0), ["recurrent_dropout", "below 1", "1.0"]),
    (lambda: Recurrent("gru", D, H, recurrent_dropout=0.1, clip_message=1.0), ["`recurrent_dropout` makes it two"]),
    (lambda: Recurrent("gru_before", D, H, recurrent_dropout=0.1), ["cell gru_before", "no kernel"]),
    (lambda: Recurrent("mingru", D, H, recurrent_dropout=0.1), ["cell mingru", "through no weights"]),
    (lambda: Recurrent("gru", D + 1, H)(Tensor(OK)), ["(5, 3, 4)", "(seq_len, batch_size, 5)"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK[:0])), ["(0, 3, 4)", "seq_len"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), [Tensor(STATE[:, :2])]), ["(1, 2, 6)", "(1, 3, 6)", "h"]),
    (lambda: Recurrent("lstm", D, H)(Tensor(OK), [Tensor(STATE)]), ["(1, 3, 6)", "h, c"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), mask=np.ones((B, T), bool)), ["(3, 5)", "(5, 3)", "seq_len"]),
    *[(lambda g=g: Recurrent("gru", D, H, granularity=g)(Tensor(OK), lengths=[5]), ["[5]", "3 numbers in 0..5"])
      for g in GRANULARITIES],
    (lambda: Recurrent("gru", D, H)(Tensor(OK), lengths=4), ["lengths 4", "3 numbers"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), lengths=[1, 2, -1]), ["-1", "0..5"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), lengths=[1, 2, 2.5]), ["whole number", "2.5"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), mask=np.ones((T, B)), lengths=[5] * B), ["not both"]),
    (lambda: Recurrent("gru", D, H)(Tensor(OK), Tensor(STATE)), ["list of h", "[h]"]),
    (lambda: Recurrent("gru", D, H)("a text"), ["real numbers"]),
    (lambda: Recurrent("gru", D, 2.5), ["hidden_size", "2.5"]),
    (lambda: Recurrent("gru", D, H, dropout="much"), ["dropout", "'much'"]),
    (lambda: Recurrent("gru", D, H, initializers={"weights": zeros}), ["'weights'", "weight_ih, weight_hh, bias"]),
    (lambda: last_valid(Tensor(OK[0]), [1, 2]), ["(3, 4)", "seq_len"]),
    (lambda: last_valid(Tensor(OK), [1, 2, 6]), ["[1, 2, 6]", "1..5"]),
    (lambda: last_valid(Tensor(OK), [1, 2]), ["[1, 2]", "3 numbers"]),
]  # fmt: skip


@pytest.mark.parametrize("mistake, named", MISTAKES, ids=[str(n[0]) for _, n in MISTAKES])
def test_mistakes_are_named(mistake: Callable[[], Any], named: Sequence[str]) -> None:
    with pytest.raises((ShapeError, ConfigError)) as caught:
        mistake()
    assert all(word in str(caught.value) for word in named), str(caught.value)


def test_keys_are_unrelated() -> None:
    keys = {mix_key(seed, update, layer) for seed in range(5) for update in range(5) for layer in range(5)}
    assert len(keys) == 125 and all(0 <= key < 2**64 for key in keys)
    assert mix_key(-1, 3) == mix_key(2**64 - 1, 3)
    y = ops.dropout(Tensor(np.ones(64)), rate=0.5, key=mix_key(1, 2))
    assert 0 < (y.data == 0).sum() < 64
