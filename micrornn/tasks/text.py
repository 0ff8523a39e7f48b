"""A language model: predict the next token of a text from all tokens before it.

embedding -> recurrent layers -> linear -> cross-entropy with the next token, at every time step
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from micrornn import device
from micrornn.config import Config
from micrornn.data import Vocab
from micrornn.errors import ConfigError
from micrornn.layers import Dropout, Embedding, Linear
from micrornn.parameters import Flat, Module
from micrornn.recurrent import Recurrent
from micrornn.tape import Tensor, no_tape


class LanguageModel(Module):
    """ids (seq_len, batch_size) -> logits (seq_len, batch_size, vocab_size) and the last state."""

    def __init__(self, config: Config, vocab_size: int):
        if config.bidirectional:
            raise ConfigError(
                "--bidirectional: a language model that also reads backward has seen the token it is to predict; "
                "leave the flag away"
            )
        self.config, self.vocab_size = config, vocab_size
        dtype = np.dtype(config.dtype).type
        seeds = [int(s) for s in np.random.SeedSequence(config.seed).generate_state(4)]
        self.embedding = Embedding(vocab_size, config.embedding_size, seed=seeds[0], dtype=dtype)
        self.rnn = Recurrent(
            config.cell, config.embedding_size, config.hidden_size, config.num_layers,
            dropout=config.dropout, granularity=config.granularity,
            forget_bias=config.forget_bias, clip_message=config.clip_message, seed=seeds[1], dtype=dtype,
        )  # fmt: skip
        self.dropout = Dropout(config.dropout, seed=seeds[2])
        self.decoder = Linear(config.hidden_size, vocab_size, seed=seeds[3], dtype=dtype)
        self.flat = Flat(self.parameters())

    @property
    def num_parameters(self) -> int:
        return len(self.flat)

    def copy(self, **settings: Any) -> LanguageModel:
        """The same model with other settings, such as dtype="float64" or granularity="primitive"."""
        other = LanguageModel(dataclasses.replace(self.config, **settings), self.vocab_size)
        other.flat.data[...] = self.flat.data
        return other

    def draw_dropout(self, update: int) -> None:
        """New dropout masks; the same for the same update, whatever happened before."""
        self.rnn.dropout_key = self.dropout.key = update

    def __call__(self, ids: np.ndarray, state: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        y, last = self.rnn(self.embedding(ids), state)
        return self.decoder(self.dropout(y)), last


def memory_needed(config: Config, vocab_size: int) -> int:
    """Bytes of a training update, roughly: parameters, gradients, optimizer, and what the tape holds."""
    gates = {"lstm": 4, "gru": 3}.get(config.cell, 1)
    h, d, layers = config.hidden_size, config.embedding_size, config.num_layers
    parameters = vocab_size * (d + h) + gates * h * (d + h + 2) + (layers - 1) * gates * h * (2 * h + 2)
    per_token = layers * h * (3 * gates + 8) + 3 * d + 3 * vocab_size
    tokens = config.batch_size * config.num_steps
    return np.dtype(config.dtype).itemsize * (4 * parameters + tokens * per_token)


def require_memory(config: Config, vocab_size: int) -> None:
    """ConfigError where the sizes ask for more memory than the machine has."""
    needed, there = memory_needed(config, vocab_size), device.memory()
    if there and needed > there:
        raise ConfigError(
            f"these sizes need about {needed / 1e9:,.0f} GB of memory, and the machine has {there / 1e9:,.0f} GB; "
            "lower --hidden-size, --num-layers, --batch-size or --num-steps"
        )


def sample(model: LanguageModel, vocab: Vocab, *, length: int, prompt: str = "", temperature: float = 1.0,
           top_k: int = 0, seed: int = 0) -> Iterator[str]:  # fmt: skip
    """Let the model write `length` tokens behind the prompt, one by one.

    temperature    divides the logits: below 1 bolder about what it knows, 0 takes the likeliest token always
    top_k          draw from the k likeliest only; 0: from all
    Without a prompt it starts from a newline, or from the first token of the vocabulary if there is none.
    Raises DataError if the prompt holds symbols that the vocabulary lacks.
    """
    if not temperature >= 0:
        raise ConfigError(f"--temperature is {temperature}; it must be 0 or more")
    rng = np.random.default_rng(seed)
    newline = "\n" if vocab.kind == "char" else "<eos>"
    ids = vocab.encode(prompt) if prompt else np.array([vocab.tokens.index(newline) if newline in vocab.tokens else 0])
    if not len(ids):
        raise ConfigError("--prompt holds no token")
    model.train(False)
    with no_tape():  # around each call, not around the loop: whoever reads on may record in between
        logits, state = model(np.asarray(ids, np.int32)[:, None])
    previous: list[int] = [] if not prompt else [int(ids[-1])]
    for _ in range(length):
        token = _draw(logits.data[-1, 0], temperature, top_k, rng)
        # words are separated by what stands between two of them, which decode alone knows
        text = vocab.decode([*previous, token])
        yield text[len(vocab.decode(previous)) :] if previous else text
        previous = [token]
        with no_tape():
            logits, state = model(np.array([[token]], np.int32), state)


def _draw(logits: np.ndarray, temperature: float, top_k: int, rng: np.random.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) - logits.max()  # first, so that no temperature makes inf - inf of them
    if 0 < top_k < scaled.size:
        scaled[np.argpartition(scaled, -top_k)[:-top_k]] = -np.inf
    with np.errstate(over="ignore"):
        weights = np.exp(scaled / temperature).cumsum()
    return min(int(np.searchsorted(weights, rng.random() * weights[-1], side="right")), scaled.size - 1)
