"""Sampling has a path of its own: the numbers, and so the text, are those of the model's own forward pass."""

from __future__ import annotations

import numpy as np
import pytest

from micrornn.config import CELL_NAMES, Config
from micrornn.data import Vocab
from micrornn.tape import Tape, Tensor, no_tape
from micrornn.tasks.text import LanguageModel, Stepper, _draw, sample

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def a_model(vocab_size: int, **settings) -> LanguageModel:
    model = LanguageModel(Config(**({"hidden_size": 13, "embedding_size": 5, "seed": 4} | settings)), vocab_size)
    model.flat.data *= 2  # further from zero: logits that differ, gates that are not all half open
    model.train(False)
    return model


def a_state(model: LanguageModel) -> tuple[Tensor, ...]:
    rng = np.random.default_rng(1)
    return tuple(Tensor(rng.normal(0, 0.5, s.shape), dtype=s.dtype) for s in model.rnn.initial(1))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_step_is_the_models_own(table: str, cell: str, num_layers: int, dtype: str) -> None:
    """Dropout must not count: it is for training."""
    model = a_model(11, cell=cell, num_layers=num_layers, dtype=dtype, dropout=0.5)
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
        ids = [_draw(logits.data[-1, 0], how.get("temperature", 1.0), how.get("top_k", 0), rng)]
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
