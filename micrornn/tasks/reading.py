"""A text to look at a trained language model with: that which it learns from, or another in the same vocabulary.

TextMaterial    the text
of_files        one out of files
entropy         of its tokens: what predicting by frequency alone costs
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from micrornn.config import Config
from micrornn.data import Lanes, LineLanes, Vocab, encode_files, find, validation_layout
from micrornn.data.text import Ids
from micrornn.errors import DataError, counted, some
from micrornn.tasks.language import memory_needed, require_memory
from micrornn.tasks.material import READ, Beside, Material, Sizes, shrunk
from micrornn.tasks.task import Batches, losses
from micrornn.windows import Windows

LANES = 16  # spread over the text, in which a loss is measured
WIDE = 32  # lanes on which it is judged how far a gradient gets
COUNTED, AT_ONCE = 2_000_000, 1 << 18  # tokens whose frequencies are counted; how many of them at a time


class TextMaterial(Material):
    """tokens: the ids of the text, vocab what they stand for; it is read as a network of these settings reads."""

    item, cut = "token", True

    def __init__(self, config: Config, vocab: Vocab, tokens: Ids, words: str = "the text it learns from"):
        self.config, self.vocab, self.tokens = config, vocab, tokens
        self.unit = f"nats per {({'char': 'character'}).get(vocab.kind, vocab.kind)}"
        self.words = words + (", its lines read on from one to the next" if config.lines else "")

    @property
    def room(self) -> int:
        return len(self.tokens) - 1

    def memory(self, config: Config) -> int:
        return memory_needed(config, self.vocab.size)

    def fitted(self, usual: Sizes, given: Sizes) -> Sizes:
        return shrunk(usual, given, self.config, self.room)

    def batches(self, sizes: Sizes = Sizes()) -> Batches:  # noqa: B008
        """The text in lanes. DataError if it is too short for so many windows."""
        windows = sizes.windows or 1
        seq_len, batch_size = sizes.seq_len or self.config.num_steps, sizes.batch_size or self.config.batch_size
        needed, there = batch_size * seq_len * windows + 1, len(self.tokens)
        if there < needed:
            raise DataError(
                f"{self.words} has {counted(there, 'token')}, but {counted(windows, 'window')} of "
                f"{counted(seq_len, 'time step')} in {counted(batch_size, 'lane needs', 'lanes need')} {needed:,}\n"
                "  give more text, or lower `windows`, `seq_len` or `batch_size`"
            )
        return Windows(Lanes(self.tokens, batch_size, seq_len, self.words))

    def carrying(self) -> Batches:
        """DataError if there are fewer than three tokens."""
        if len(self.tokens) < 3:
            raise DataError(f"{self.words} has {counted(len(self.tokens), 'token')}, fewer than 3")
        return Windows(Lanes.validation(self.tokens, WIDE, self.config.num_steps))

    def loss(self, model: Any) -> float:
        """Over some thousand tokens from all over the text. The first window of each lane is left out if there are
        more: it starts from the initial state, which most of a text does not. What has learned line by line is read
        line by line. NaN if there are fewer than two tokens."""
        if len(self.tokens) < 2:
            return math.nan
        newline = self.vocab.newline if self.config.lines else None
        lanes = validation_layout(self.tokens, LANES, self.config.num_steps, newline)
        found = list(islice(losses(model, Windows(lanes)), READ))
        if isinstance(lanes, LineLanes):  # each counts by its tokens, of which there are `num_tokens` in all windows
            read = lanes.window_tokens[: len(found)].sum() / lanes.num_tokens
            return float(np.sum(found) / lanes.num_windows / read)
        return float(np.mean(found[1:] or found))

    def beside(self) -> list[Beside]:
        token = self.unit.removeprefix("nats per ")
        return [
            Beside("frequencies", f"by {token} frequencies alone", entropy(self.tokens, self.vocab.size)),
            Beside("ln_V", "by chance (ln V)", math.log(self.vocab.size)),
        ]

    def require_memory(self, model: Any, sizes: Sizes) -> None:
        config = dataclasses.replace(model.config, batch_size=sizes.batch_size, num_steps=sizes.seq_len,
                                     backprop="window")  # fmt: skip
        require_memory(config, self.vocab.size)


def of_files(names: Sequence[str], config: Config, vocab: Vocab, unseen: str, encoding: str) -> TextMaterial:
    """unseen, encoding: see `data.encode_files`. DataError: what cannot be read, symbols that the vocabulary lacks."""
    encoded = encode_files(find(names), vocab, unseen, encoding, config.encoding)
    return TextMaterial(
        config, vocab, encoded.ids, some(names, 3) + (f" ({encoded.words()})" if encoded.unseen else "")
    )


def entropy(ids: Ids, vocab_size: int) -> float:
    """- sum of p ln p over the tokens of a text, in nats: what predicting by frequency alone costs."""
    counts = np.zeros(vocab_size)
    for start in range(0, min(len(ids), COUNTED), AT_ONCE):
        part = np.asarray(ids[start : min(start + AT_ONCE, COUNTED, len(ids))])
        counts += np.bincount(part, minlength=vocab_size)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
