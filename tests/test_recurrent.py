"""The recurrent layer: three granularities that are one, masks that count exactly, and windows that join."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_rows import VARIED

from micrornn.errors import ConfigError, ShapeError
from micrornn.layers import Dropout
from micrornn.ops import mean
from micrornn.parameters import orthogonal, zeros
from micrornn.recurrent import GRANULARITIES, Recurrent, last_valid, state_gradients
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
                learn_initial=True, clip_message=clip, initializers={"weight_hh": orthogonal}, seed=0,
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
            Recurrent(cell, inputs, hidden, 2, way, granularity=granularity, dtype=np.float64, seed=0),
            5, np.float64, seq_len=seq_len, batch_size=batch_size, **where,
        )
        for granularity in GRANULARITIES
    ]  # fmt: skip
    assert_close(results[1], results[0], 1e-11)
    assert_close(results[2], results[1], 1e-11)


# --- masks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", VARIED)
def test_masked_steps_do_not_exist(cell: str, reverse: bool, granularity: str) -> None:
    """Exactly, not nearly: the state is carried over bit by bit, no gradient reaches a masked input."""
    rng = np.random.default_rng(2)
    model = Recurrent(cell, D, H, bidirectional=reverse, granularity=granularity, seed=0)
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
        model = Recurrent(cell, D, H, 2, True, granularity=granularity, seed=0)
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
    model = Recurrent(cell, D, H, 2, True, granularity=granularity, dtype=np.float64, seed=0)
    x = rng.normal(size=(T, B, D))
    y, last = model(Tensor(x), lengths=lengths)
    for lane, length in enumerate(lengths):
        alone, end = model(Tensor(x[:length, lane : lane + 1]))
        np.testing.assert_allclose(y.data[:length, lane], alone.data[:, 0], rtol=0, atol=1e-13)
        for ours, theirs in zip(last, end):
            np.testing.assert_allclose(ours.data[:, lane], theirs.data[:, 0], rtol=0, atol=1e-13)


def test_arrays_and_lists_do_where_tensors_are_meant() -> None:
    model = Recurrent("lstm", D, H, seed=0)
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
    model = Recurrent(cell, D, H, 2, granularity=granularity, dtype=np.float64, seed=0)
    x, mask = Tensor(rng.normal(size=(8, B, D))), np.arange(8)[:, None] < np.array(lengths)
    first = states(model, B, rng, np.float64)
    y, last = model(x, first, mask=mask)
    y1, carried = model(x[:cut], first, mask=mask[:cut])
    y2, end = model(x[cut:], carried, mask=mask[cut:])
    np.testing.assert_allclose(np.concatenate([y1.data, y2.data]), y.data, rtol=0, atol=1e-13)
    for ours, theirs in zip(end, last, strict=True):
        np.testing.assert_allclose(ours.data, theirs.data, rtol=0, atol=1e-13)


def test_learned_initial_state_is_one_row_for_all_lanes() -> None:
    model = Recurrent("lstm", D, H, 2, learn_initial=True, dtype=np.float64, seed=0)
    h_0, c_0 = (model.weights[name] for name in ("h_0", "c_0"))
    assert h_0.shape == c_0.shape == (2, 1, H) and not h_0.data.any()
    h_0.data[...], c_0.data[...] = 0.3, -0.2
    x = np.random.default_rng(0).normal(size=(T, B, D))
    y, _ = model(Tensor(x))
    given, _ = model(Tensor(x), [Tensor(np.full((2, B, H), value)) for value in (0.3, -0.2)])
    assert (y.data == given.data).all()


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


def test_gradients_of_states_are_those_of_every_layer_and_call() -> None:
    one, two = Recurrent("gru", D, H), Recurrent("gru", H, H + 1)
    with Tape() as tape:
        y, _ = two(one(Tensor(OK))[0])
        loss = mean(two(one(Tensor(OK[:2]))[0])[0]) + mean(y)
    tape.backward(loss)
    found = state_gradients(tape)
    assert [array.shape for array in found.values()] == [(T, B, H), (T, B, H + 1), (2, B, H), (2, B, H + 1)]
    assert [*found] == ["gru_l0", "gru_l0.2", "gru_l0.3", "gru_l0.4"]
    with pytest.raises(KeyError, match="there are gru_l0, gru_l0"):
        found["lstm_l0"]
