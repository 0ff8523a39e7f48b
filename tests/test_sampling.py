"""Sampling has a path of its own: the numbers, and so the text, are those of the model's own forward pass."""

from __future__ import annotations

import re

import numpy as np
import pytest
from kernel_rows import BASIC

from micrornn.cells import find_cell
from micrornn.config import CELL_NAMES, Config
from micrornn.data import Vocab
from micrornn.errors import ConfigError, DivergedError
from micrornn.evaluate import evaluate
from micrornn.sampling import draw, sample
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tasks.text import LanguageModel, Stepper

TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


def a_model(vocab_size: int, **settings) -> LanguageModel:
    model = LanguageModel(Config(**({"hidden_size": 13, "embedding_size": 5, "seed": 4} | settings)), vocab_size)
    model.flat.data *= 2  # further from zero: logits that differ, gates that are not all half open
    model.train(False)
    return model


def a_state(model: LanguageModel) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(1)
    return tuple(Tensor(rng.normal(0, 0.5, s.shape), dtype=s.dtype) for s in model.rnn.initial(1))


STEPS = [  # of other cells the kernels are compiled for float32 alone, which test_cells.py does anyway
    (table, cell, dtype)
    for table in ("cpu", "reference")
    for cell in CELL_NAMES
    for dtype in TOLERANCE
    if table == "reference" or dtype == "float32" or cell in BASIC
]


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("table, cell, dtype", STEPS, indirect=["table"])
def test_a_step_is_the_models_own(table: str, cell: str, num_layers: int, dtype: str) -> None:
    """Dropout must not count: it is for training."""
    granularity = "sequence" if find_cell(cell).derivable else "primitive"
    model = a_model(11, cell=cell, num_layers=num_layers, dtype=dtype, dropout=0.5, granularity=granularity)
    state = a_state(model)
    before = [s.data.copy() for s in state]
    ids = np.random.default_rng(2).integers(0, 11, 20)
    with no_tape():
        wanted = model(ids[:, None], state)[0].data[:, 0]
    step = Stepper(model, state)
    got = np.array([step(int(token)).copy() for token in ids])
    scale = max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale)
    assert all(np.array_equal(s.data, kept) for s, kept in zip(state, before))


def plainly(model: LanguageModel, vocab: Vocab, length: int, prompt: str, seed: int, **how) -> str:
    """What `sample` means: the model reads one token after another, as in training."""
    rng, ids, state = np.random.default_rng(seed), list(vocab.encode(prompt)), None
    written = ids[-1:]
    for _ in range(length):
        with no_tape():
            logits, state = model(np.array(ids, np.int32)[:, None], state)
        ids = [draw(logits.data[-1, 0], how.get("temperature", 1.0), how.get("top_k", 0), 1.0, rng)]
        written += ids
    return vocab.decode(written)[len(vocab.decode(written[:1])) :]


@pytest.mark.parametrize("how", [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_k": 4}], ids=str)
@pytest.mark.parametrize("level, prompt", [("char", "over "), ("word", "the lazy\n")])
def test_the_text_is_that_of_the_plain_loop(level: str, prompt: str, how: dict[str, float]) -> None:
    text = "the quick brown fox\njumps over the lazy dog,\nand so on\n"
    vocab = Vocab.build([text], level)
    model = a_model(vocab.size, num_layers=2, level=level)
    for seed in range(3):
        got = list(sample(model, vocab, length=60, prompt=prompt, seed=seed, **how))
        assert len(got) == 60
        assert "".join(got) == plainly(model, vocab, 60, prompt, seed, **how)


def test_nothing_is_recorded() -> None:
    vocab = Vocab.build(["abc"], "char")
    with Tape() as tape:
        assert len("".join(sample(a_model(vocab.size), vocab, length=8))) == 8
    assert len(tape) == 0


def test_top_p_keeps_the_likeliest_that_reach_it() -> None:
    logits = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15]))
    rng = np.random.default_rng(0)
    for top_p, kept in ((0.3, {1}), (0.4, {1}), (0.5, {1, 3}), (0.86, {1, 3, 4, 0}), (1.0, {0, 1, 2, 3, 4})):
        assert {draw(logits, 1.0, 0, top_p, rng) for _ in range(400)} == kept
    assert {draw(logits, 1.0, 2, 0.9, rng) for _ in range(100)} == {1, 3}
    with pytest.raises(ConfigError, match="`top_p` is 0"):
        sample(a_model(3), Vocab.build(["abc"], "char"), length=1, top_p=0)


@pytest.mark.parametrize("level, until", [("char", "er"), ("char", "ab"), ("word", "lazy"), ("word", "fox j")])
def test_it_stops_behind_what_it_was_to_stop_at(level: str, until: str) -> None:
    vocab = Vocab.build(["the quick brown fox\njumps over the lazy dog"], level)
    model = a_model(vocab.size, level=level)
    whole = "".join(sample(model, vocab, length=20_000, seed=1))
    end = whole.index(until) + len(until)
    assert "".join(sample(model, vocab, length=None, seed=1, until=until)) == whole[:end]


@pytest.mark.parametrize("level", ["char", "word"])
def test_the_unknown_token_is_written_only_if_asked_for(level: str) -> None:
    vocab = Vocab.build(["a a a b b b c d"], level, max_size=3 if level == "char" else 5)
    model = a_model(vocab.size, level=level)
    unknown = vocab.tokens[vocab.unknown]
    assert unknown not in "".join(sample(model, vocab, length=200))
    assert unknown in "".join(sample(model, vocab, length=200, allow_unknown=True))
    model.decoder.bias.data[vocab.unknown] = 1e4  # however likely it is
    assert unknown not in "".join(sample(model, vocab, length=50, temperature=0))


def growing(num_layers: int, layer: int) -> LanguageModel:
    """An rnn_relu in which one layer's state doubles with each token, from about 1 on: infinite after about 128."""
    model = a_model(3, cell="rnn_relu", num_layers=num_layers)
    weights = model.rnn.weights
    for n in range(num_layers):
        weights[f"weight_hh_l{n}"].data[...] = 2 * np.eye(13) if n == layer else 0
    weights[f"bias_hh_l{layer}"].data[...] = 1
    for name, parameter in model.flat.parameters.items():  # what reads that state overflows no sooner
        if name == "decoder.weight" or name == f"rnn.weight_ih_l{layer + 1}":
            parameter.data[...] = 0.01
    return model


@pytest.mark.parametrize("num_layers, layer", [(1, 0), (3, 1)])
@pytest.mark.parametrize("prompt", ["", "abcabc", "abc" * 60], ids=len)
@pytest.mark.filterwarnings("error")
def test_a_state_that_overflows_is_told_with_its_layer_and_when(num_layers: int, layer: int, prompt: str) -> None:
    vocab, written = Vocab.build(["abcabc"], "char"), []
    with pytest.raises(DivergedError) as caught:
        for piece in sample(growing(num_layers, layer), vocab, length=1000, prompt=prompt):
            written.append(piece)
    found = re.match(rf"the state of rnn_relu_l{layer} became infinite after (\d+) characters\n", str(caught.value))
    assert found and 120 < int(found[1]) < 132, caught.value
    assert len(written) == (0 if len(prompt) > 132 else int(found[1]) - len(prompt or "a"))


def test_logits_that_overflow_sooner_are_told_with_the_state_that_grew() -> None:
    model = growing(2, 0)
    model.decoder.weight.data[...] = 1e4
    what = r"the state of rnn_relu_l0 grew to \d.*e\+3\d, and the logits became infinite, after 1\d\d characters"
    with pytest.raises(DivergedError, match=what):
        list(sample(model, Vocab.build(["abc"], "char"), length=500))


def test_evaluating_it_is_told_alike() -> None:
    model, ids = growing(2, 1), np.arange(3000, dtype=np.int32) % 3
    for batch_size, num_steps in ((1, 7), (1, 500), (4, 32)):
        with pytest.raises(
            DivergedError, match=r"the state of rnn_relu_l1 became infinite after 12\d characters"
        ) as told:
            evaluate(model, ids, batch_size, num_steps)
        assert ("of lane 1" in str(told.value)) == (batch_size > 1)
    model.decoder.bias.data[1] = np.nan
    with pytest.raises(DivergedError, match=r"decoder.bias holds NaN \(1 of 3 numbers\)"):
        evaluate(model, ids, 4, 32)


def test_a_stepper_by_itself_stops_too() -> None:
    model = growing(1, 0)
    step = Stepper(model, model.rnn.initial(1))
    with pytest.raises(DivergedError, match=r"rnn_relu_l0 became infinite after 12\d characters"):
        for _ in range(200):
            step(0)
