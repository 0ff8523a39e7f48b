"""A trained language model writes text: token after token, each drawn from the distribution that it predicts.

sample          the pieces of text, one by one
typical         of several texts, the one that is most like what the model has read
draw            one token from logits
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from micrornn.data import Decoder, Vocab
from micrornn.data.text import Ids
from micrornn.errors import ConfigError, DivergedError
from micrornn.finite import diverged
from micrornn.tape import no_tape

MOST_COUNTED = 1_000_000  # tokens from which `typical` takes the frequencies


def sample(model: Any, vocab: Vocab, *, length: int | None, prompt: str = "", temperature: float = 1.0,
           top_k: int = 0, top_p: float = 1.0, until: str = "", allow_unknown: bool = False,
           unseen: str = "", seed: int = 0) -> Iterator[str]:  # fmt: skip
    """Let the model write `length` tokens after the prompt, one by one; endlessly if `length` is None. A model that was
    trained with the setting `lines` begins each line from its initial state.

    temperature    divides the logits. Below 1, likely tokens become likelier; with 0, the likeliest is always taken
    top_k          draw from the k likeliest tokens only; 0: from all
    top_p          draw from the likeliest tokens whose probabilities add up to this only (Holtzman et al. 2020,
                   arXiv:1904.09751); 1: from all. With top_k, from those that both allow
    until          stop after this text has been written
    allow_unknown  also draw the token that stands for everything outside the vocabulary
    unseen         what to do with symbols of the prompt that the vocabulary lacks, see `micrornn.data.Encoder`

    Without a prompt it starts from a newline, or, if the vocabulary has none, from its first token. Raises DataError if
    the prompt holds symbols that the vocabulary lacks; DivergedError where the model's numbers become NaN or infinite.
    """
    if not temperature >= 0:
        raise ConfigError(f"`temperature` is {temperature}; it must be 0 or more")
    if not 0 < top_p <= 1:
        raise ConfigError(f"`top_p` is {top_p}; it must be above 0 and at most 1")
    barred = None if allow_unknown else vocab.unknown
    if barred is not None and vocab.size == 1:
        raise ConfigError("the vocabulary holds nothing but the unknown token; `allow_unknown` lets it be written")
    if model.config.device != "cpu":  # with a single lane a card is slower
        model = model.copy(device="cpu")
    # A word is written with the space before it. If the prompt ends in a space, that space is there already.
    spaced = vocab.kind == "word" and prompt.endswith(" ")
    ids = np.array([vocab.newline or 0])
    if prompt:
        ids = vocab.encode(prompt[:-1] if spaced else prompt, unseen, "`prompt`")
    if not len(ids):
        raise ConfigError("`prompt` holds no token")
    if model.config.lines and prompt:  # the state of a line begins with the newline before it
        ends = np.flatnonzero(ids == vocab.newline)
        ids = np.concatenate([[vocab.newline or 0], ids[ends[-1] + 1 if len(ends) else 0 :]])
    pieces = _pieces(model, vocab, ids, bool(prompt), (temperature, top_k, top_p), barred, seed)
    if spaced:
        pieces = (piece.removeprefix(" ") if n == 0 else piece for n, piece in enumerate(pieces))
    return _until(pieces if length is None else (piece for _, piece in zip(range(length), pieces)), until)


def typical(model: Any, vocab: Vocab, ids: Ids, *, draws: int, length: int, prompt: str = "",
            temperature: float = 1.0, seconds: float = math.inf) -> tuple[str, int]:  # fmt: skip
    """The model writes `draws` texts of `length` tokens, with the seeds 0, 1, ...; returns the one whose token
    frequencies are nearest to those of `ids`, and how many texts there were.

    The distance is the Kullback-Leibler divergence of the text's frequencies from those of the first million ids. It is
    large for a text that fell into a loop, such as of blanks. After so many seconds no further text is begun.
    DivergedError if none could be written.
    """
    counts = np.bincount(ids[0 : min(len(ids), MOST_COUNTED)], minlength=vocab.size) + 0.5
    own, found, trouble = np.log(counts / counts.sum()), [], None
    start = time.monotonic()
    for seed in range(draws):
        written = ""
        try:
            for piece in sample(model, vocab, length=length, prompt=prompt, temperature=temperature, seed=seed):
                written += piece
        except DivergedError as error:
            trouble = error
        tokens = np.bincount(vocab.encode(written, "skip"), minlength=vocab.size) if written else np.zeros(vocab.size)
        if tokens.any():
            shares = tokens[tokens > 0] / tokens.sum()
            found.append((float(shares @ (np.log(shares) - own[tokens > 0])), seed, written))
        if time.monotonic() - start > seconds:
            break
    if not found:
        raise trouble or ConfigError("the model wrote nothing")
    return min(found)[2], len(found)


def _pieces(model: Any, vocab: Vocab, ids: np.ndarray, prompted: bool, how: tuple[float, int, float],
            barred: int | None, seed: int) -> Iterator[str]:  # fmt: skip
    """What the model writes after the ids, endlessly."""
    rng = np.random.default_rng(seed)
    model.train(False)
    with no_tape():
        logits, state = model(np.asarray(ids, np.int32)[:, None])
    write, likely = model.stepper(state, len(ids)), logits.data[-1, 0]
    if not np.isfinite(likely).all():
        again = model.stepper(model.rnn.initial(1))  # token by token, it raises an error that names the token
        for token in ids:
            again(int(token))
        raise diverged(model, write.states(), len(ids))
    decode = Decoder(vocab, ids.tolist() if prompted else ())
    while True:
        if barred is not None:
            likely[barred] = -np.inf
        token = draw(likely, *how, rng)
        yield decode(token)
        if model.config.lines and token == vocab.newline:
            write = model.stepper(model.rnn.initial(1), write.read)
        likely = write(token)


def _until(pieces: Iterator[str], end: str) -> Iterator[str]:
    """The pieces, up to and with the first occurrence of `end`."""
    written = ""
    for piece in pieces:
        if end:
            kept = len(written)
            at = (written + piece).find(end)
            if at >= 0:
                yield piece[: at + len(end) - kept]
                return
            written = (written + piece)[-len(end) :]
        yield piece


def draw(logits: np.ndarray, temperature: float, top_k: int, top_p: float, rng: np.random.Generator) -> int:
    """Draw one token by its logits (vocab_size,), which are finite, or -inf for a token that is never drawn."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) - logits.max()  # first, so that no temperature makes inf - inf of them
    if 0 < top_k < scaled.size:
        scaled[np.argpartition(scaled, -top_k)[:-top_k]] = -np.inf
    with np.errstate(over="ignore"):
        weights = np.exp(scaled / temperature)
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = weights[order].cumsum() - weights[order]  # of all that are likelier
        weights[order[before >= top_p * weights.sum()]] = 0
    weights = weights.cumsum()
    return min(int(np.searchsorted(weights, rng.random() * weights[-1], side="right")), scaled.size - 1)
