"""The encoder-decoder: attention, scheduled sampling, beam search, and the network of all of them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from micrornn.attention import Attention
from micrornn.checks import check_padding
from micrornn.config import Config, setting
from micrornn.data.sequences import Padded, pad
from micrornn.decoding import edit_distance, search
from micrornn.errors import ConfigError, DivergedError
from micrornn.gradcheck import gradcheck
from micrornn.ops import sum as sum_op
from micrornn.recurrent import state_gradients
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tasks.encdec import END, EncoderDecoder, Pair, TeacherForcing, shifted


@dataclass(frozen=True)
class Settings(Config):
    attention: str = setting("none", "")
    teacher_forcing: str = setting("1", "")
    label_smoothing: float = setting(0.0, "")


SOURCES, TARGETS = [[3, 1, 2, 2], [4], [1, 3]], [[2, END], [1, 3, 3, END], [END]]


def batch(side: str = "right", more: int = 0) -> tuple[Pair, Padded]:
    """Three pairs, padded on one side, with `more` steps of padding than they need, and nonsense in it."""

    def padded(rows: list[list[int]]) -> Padded:
        values, mask = pad(rows, side)
        wide = ((0, more), (0, 0)) if side == "right" else ((more, 0), (0, 0))
        mask = np.pad(mask, wide)
        return Padded(np.where(mask, np.pad(values, wide), -7), mask)

    targets = padded(TARGETS)
    return Pair(padded(SOURCES), shifted(targets)), targets


def network(**settings: Any) -> EncoderDecoder:
    usual = {"hidden_size": 4, "embedding_size": 3, "dtype": "float64", "cell": "lstm"}
    return EncoderDecoder(Settings(**(usual | settings)), 5, 4)


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_attention_looks_at_no_padding(kind: str) -> None:
    rng = np.random.default_rng(0)
    attention = Attention(kind, 3, seed=1, dtype=np.float64)
    q, m = (Tensor(rng.normal(size=(n, 2, 3)), requires_grad=True) for n in (4, 5))
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool).T

    def both() -> Tensor:
        output, weights = attention(q, attention.memory(m, mask))
        return sum_op(output * output) + sum_op(weights * weights)

    assert min(check.decimals for check in gradcheck(both, [q, m, *attention.parameters().values()])) >= 8
    _, weights = attention(q, attention.memory(m, mask))
    assert np.all(weights.data[~np.broadcast_to(mask.T[:, None], weights.shape)] == 0)
    np.testing.assert_allclose(weights.data.sum(axis=2), 1)
    before = both().item()
    m.data[~mask] = np.nan
    with Tape() as tape:
        after = both()
    (dm,) = tape.cotangents([m], [after], [None])
    assert after.item() == before and np.all(dm[~mask] == 0) and np.all(dm[mask] != 0)
    mask[:, 1] = False  # nothing to look at
    _, weights = attention(q, attention.memory(m, mask))
    assert np.all(weights.data[1] == 0)


def test_additive_attention_is_the_formula() -> None:
    rng, attention = np.random.default_rng(0), Attention("additive", 3, dtype=np.float64)
    q, m = rng.normal(size=(2, 1, 3)), rng.normal(size=(4, 1, 3))
    _, weights = attention(Tensor(q), attention.memory(Tensor(m), np.ones((4, 1), bool)))
    for t in range(2):
        sides = q[t, 0] @ attention.query.weight.data.T + m[:, 0] @ attention.key.weight.data.T
        scores = np.tanh(sides + attention.query.bias.data + attention.key.bias.data) @ attention.vector.data
        np.testing.assert_allclose(weights.data[0, t], np.exp(scores) / np.exp(scores).sum())
    with pytest.raises(ConfigError, match="there is no attention 'general'; choose one of dot, additive"):
        Attention("general", 3)


@pytest.mark.parametrize(
    "settings",
    [{}, {"attention": "dot", "bidirectional": True, "num_layers": 2}, {"attention": "additive", "cell": "gru"}],
)
def test_the_network_s_gradient_and_its_padding(settings: dict[str, Any]) -> None:
    model = network(**settings)
    parameters = list(model.flat.parameters.values())
    found, gradients = [], []
    for side, more in (("right", 0), ("left", 0), ("right", 3), ("left", 2)):
        with Tape() as tape:
            loss, _ = model.loss(*batch(side, more))
        model.flat.zero_grad()
        tape.backward(loss)
        found.append(loss.item())
        gradients.append(model.flat.grad.copy())
    np.testing.assert_allclose(found, found[0], rtol=1e-13)
    for gradient in gradients[1:]:
        np.testing.assert_allclose(gradient, gradients[0], rtol=1e-10, atol=1e-14)
    inputs, targets = batch("left", 1)
    checks = gradcheck(lambda: model.loss(inputs, targets)[0], parameters, samples=12)
    assert min(check.decimals for check in checks) >= 8
    plain = model.copy(granularity="primitive").loss(inputs, targets)[0].item()
    assert plain == pytest.approx(found[0], rel=1e-12)
    pairs = [network_of_one(model, n) for n in range(3)]  # a batch is no more than its lanes
    assert found[0] == pytest.approx(np.average(pairs, weights=[len(row) for row in TARGETS]))
    assert set(model.rnns) == {"encoder", "decoder"} and model.rnns["encoder"] is model.rnn
    with Tape() as tape:
        loss, _ = model.loss(inputs, targets)
    tape.backward(loss)
    cell, ways = model.config.cell, ["", "_reverse"] if model.config.bidirectional else [""]
    layers = range(model.config.num_layers)
    names = {f"encoder.{cell}_l{n}{way}" for n in layers for way in ways} | {f"decoder.{cell}_l{n}" for n in layers}
    assert state_gradients(tape).keys() == names


def test_gradcheck_sees_padding_that_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(attention="dot")
    steps, more = check_padding(model, *batch())
    assert steps.count > 0 and steps.error == 0 and more.decimals >= 12
    memory = Attention.memory
    monkeypatch.setattr(Attention, "memory", lambda self, rows, mask: memory(self, rows, np.ones_like(mask)))
    steps, more = check_padding(model, *batch())
    assert more.decimals < 8  # a step that repeats the state is attended to: the longer the padding the more


def network_of_one(model: EncoderDecoder, n: int) -> float:
    targets = pad([TARGETS[n]])
    return model.loss(Pair(pad([SOURCES[n]]), shifted(targets)), targets)[0].item()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_scheduled_sampling_reads_what_the_decoder_says(dropout: float) -> None:
    """Against a walk step by step that chooses while it goes."""
    model = network(attention="dot", teacher_forcing="0.5", dropout=dropout, num_layers=2, seed=3)
    inputs, targets = batch()
    model.train()
    seen = set()
    for update in range(6):
        model.draw_dropout(update)
        loss = model.loss(inputs, targets)[0].item()
        _, state, memory = model.encode(inputs.source)
        true = np.random.default_rng([3, update]).random(inputs.before.values.shape) < 0.5
        total, count, read = 0.0, 0, inputs.before.values[0]
        for t in range(len(targets.values)):
            model._dropout_start(t)
            logits, state = model.decode(Padded(read[None], inputs.before.mask[t : t + 1]), state, memory)
            log_p = logits.data[0] - np.log(np.exp(logits.data[0]).sum(axis=1, keepdims=True))
            for lane in np.flatnonzero(targets.mask[t]):
                total, count = total - log_p[lane, targets.values[t, lane]], count + 1
            if t + 1 < len(targets.values):
                chosen = inputs.before.values[t + 1]
                read = np.where(true[t + 1], chosen, log_p.argmax(axis=1))
                seen.add(bool((read != chosen)[inputs.before.mask[t + 1]].any()))
        model._dropout_start(0)
        assert loss == pytest.approx(total / count, rel=1e-12)
    assert seen == {True, False}
    forced = network(attention="dot", num_layers=2, seed=3, dropout=dropout)
    model.train(False), forced.train(False)
    assert model.loss(inputs, targets)[0].item() == forced.loss(inputs, targets)[0].item()


def test_how_often_the_decoder_is_told_the_truth() -> None:
    for text, at, share in (
        ("0.25", 9, 0.25), ("linear:0.2:100", 50, 0.6), ("linear:0.2:100", 500, 0.2), ("exponential:0.5", 3, 0.125),
        ("sigmoid:10", 0, 10 / 11), ("sigmoid:10", 10**6, 0), ("1", 5, 1),
    ):  # fmt: skip
        assert TeacherForcing(text)(at) == pytest.approx(share)
    for text in ("often", "1.5", "-1", "nan", "linear:0.5", "linear:0.5:0", "sigmoid:0.5", "exponential:2", ""):
        with pytest.raises(ConfigError, match=r"`teacher_forcing` is .*must be a probability such as 0.5"):
            TeacherForcing(text)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_is_exhaustive_search(penalty: float) -> None:
    model, longest = network(attention="additive", seed=5, hidden_size=6), 3
    model.flat.data[...] *= 6  # sure of something
    source = pad(SOURCES)
    every = [tokens for n in range(longest + 1) for tokens in itertools.product([1, 2, 3], repeat=n)]
    answers = model.answers(source, longest, beam=len(every), penalty=penalty)
    for lane, row in enumerate(SOURCES):
        scores = {}
        for tokens in every:
            targets = pad([[*tokens, END]])
            loss = model.loss(Pair(pad([row]), shifted(targets)), targets)[0].item()
            scores[tokens] = -loss * (len(tokens) + 1), -loss * (len(tokens) + 1) ** (1 - penalty)
        assert len(answers[lane]) == len(every)
        best = max(scores, key=lambda tokens: scores[tokens][1])
        assert tuple(answers[lane][0].tokens) == best
        for answer in answers[lane]:
            expected = scores[tuple(answer.tokens.tolist())]
            np.testing.assert_allclose((answer.log_p, answer.score), expected, rtol=1e-9)
        assert sum(math.exp(answer.log_p) for answer in answers[lane]) < 1
    greedy = model.answers(source, longest)
    for lane, row in enumerate(SOURCES):
        tokens: list[int] = []
        with no_tape():
            while len(tokens) < longest:
                targets = pad([[*tokens, END]])
                likeliest = int(model(Pair(pad([row]), shifted(targets)))[0].data[-1, 0].argmax())
                if likeliest == END:
                    break
                tokens.append(likeliest)
        assert greedy[lane][0].tokens.tolist() == tokens


def test_an_answer_of_nan_is_told() -> None:
    model = network()
    model.output.bias.data[1] = np.nan
    with pytest.raises(DivergedError, match="became NaN or infinite on this input"):
        model.answers(pad(SOURCES), 3)


def test_a_beam_finds_what_greed_misses() -> None:
    """After 1 all is open, after the less likely 2 all is certain."""
    table = {0: [0.0, 0.6, 0.4], 1: [0.5, 0.25, 0.25], 2: [0.98, 0.01, 0.01]}

    def step(ids: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        with np.errstate(divide="ignore"):
            return np.log([table[int(n)] for n in ids]), (state[0] + 1,)

    options: Any = {"longest": 4, "end": 0, "penalty": 0.0}
    (greedy,) = search(step, (np.zeros((1, 1)),), width=1, **options)[0]
    first = search(step, (np.zeros((2, 1)),), width=2, **options)[0][0]
    assert greedy.tokens.tolist() == [1] and first.tokens.tolist() == [2]
    assert math.exp(greedy.log_p) == pytest.approx(0.3) and math.exp(first.log_p) == pytest.approx(0.392)


def test_edit_distance() -> None:
    for one, other, edits in (("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("same", "same", 0)):
        assert edit_distance(one, other) == edits
    assert edit_distance(["K", "AE1", "T"], ["K", "T"]) == 1


def test_half_of_the_units_in_each_direction() -> None:
    with pytest.raises(ConfigError, match="`bidirectional`: each direction has half of the units, and `hidden_size=5`"):
        network(bidirectional=True, hidden_size=5)
    model = network(bidirectional=True, num_layers=2, cell="slstm")
    _, first, _ = model.encode(pad(SOURCES))
    assert [part.shape for part in first] == [(2, 3, 4)] * len(model.rnn.cell.states)
    source = pad(SOURCES)
    _, last = model.rnn(model.source_embedding(source.values), mask=source.mask)
    np.testing.assert_array_equal(first[0].data[1], np.concatenate([last[0].data[2], last[0].data[3]], axis=1))
