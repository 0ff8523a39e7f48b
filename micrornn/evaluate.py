"""How well does a trained model predict what it did not learn from?

    losses(model, batches)         the loss of each batch of any task in turn

and of a model that reads tokens, on a text:

    window_losses(model, lanes)    the mean loss of each window in turn, state carried from one to the next
    encode_files(paths, vocab)     text files in a vocabulary that already is -> Encoded
    evaluate(model, ids, ...)      the loss over a text -> Score
    require_finite(model, ids)     an error, with its cause, where a model does not stay finite while it reads

Losses are in nats per token, as everywhere in the library; whoever prints them may turn them into bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from micrornn.data import Encoder, Lanes, LineLanes, Vocab, is_utf8, read_bytes, read_chunks, validation_layout
from micrornn.data.text import Ids
from micrornn.errors import DataError
from micrornn.finite import diverged_in, require_finite_parameters
from micrornn.tape import Tensor, no_tape
from micrornn.windows import Windows

Progress = Callable[[int, int], None]
Look = Callable[[Any, Any, tuple[Tensor, ...] | None], None]


@dataclass(frozen=True)
class Score:
    """What a model is worth on a text.

    loss          nats per token, averaged over all that were predicted
    predicted     how many tokens those are: whole windows only, so a few at the end of each lane are not
    tokens        how many the text has
    batch_size, num_steps   how it was read: so many lanes, windows of so many time steps
    """

    loss: float
    predicted: int
    tokens: int
    batch_size: int
    num_steps: int

    @property
    def bits(self) -> float:
        """Bits per token."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """e to the loss: between so many equally likely tokens the model wavers."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def losses(model: Any, batches: Any, look: Look | None = None) -> Iterator[float]:
    """The loss of each batch of an epoch in turn, each from the state that the one before left; of padded batches
    times their `weight`, so that the mean of all is the mean over what is no padding.

    look(inputs, targets, state)    called with each batch
    """
    for _ in range(batches.num_windows):
        with no_tape():  # not around the loop: whoever reads on may record in between
            inputs, targets, state = batches.next()
            loss, last = model.loss(inputs, targets, state)
            if look is not None:
                look(inputs, targets, state)
            batches.carry(last)
        yield loss.item() * getattr(batches, "weight", 1.0)


def window_losses(model: Any, lanes: Lanes | LineLanes) -> Iterator[float]:
    """The mean loss in nats per token of each window in turn, the state carried over from the one before."""
    return losses(model, Windows(lanes))


def evaluate(model: Any, ids: Ids, batch_size: int, num_steps: int,
             progress: Progress | None = None, newline: int | None = None) -> Score:  # fmt: skip
    """The mean loss over the ids. With fewer lanes, then fewer time steps, if that is short; and with fewer time steps
    where the model has a memory budget.

    progress(done, total)    called after each window with the number of windows
    newline                  the id that ends a line, where each is to be read from the initial state

    DivergedError where the model's numbers become NaN or infinite, with the layer and after how many tokens.
    """
    if len(ids) < 2:
        raise DataError(f"the text has {len(ids)} tokens, at least 2 are needed; give more of it")
    model.train(False)
    sizes = dataclasses.replace(model.config, batch_size=batch_size, num_steps=num_steps, backprop="window")
    lanes = validation_layout(ids, batch_size, model.segment_steps(sizes), newline)
    sizes = dataclasses.replace(model.config, batch_size=lanes.batch_size, num_steps=lanes.num_steps, backprop="window")
    model.require_memory(sizes)
    total = 0.0
    for done, loss in enumerate(window_losses(model, lanes), 1):
        total += loss
        if not math.isfinite(loss):
            raise diverged_in(model, lanes, done - 1)
        if progress is not None:
            progress(done, lanes.num_windows)
    predicted = len(ids) if isinstance(lanes, LineLanes) else lanes.num_windows * lanes.tokens_per_update
    return Score(total / lanes.num_windows, predicted, len(ids), lanes.batch_size, lanes.num_steps)


def require_finite(model: Any, ids: Ids, most: int = 10_000) -> None:
    """DivergedError, as of `evaluate`, where the model does not stay finite while it reads the first `most` tokens."""
    require_finite_parameters(model)
    if len(ids) > 1:
        evaluate(model, ids[0 : min(len(ids), most)], 1, min(100, len(ids) - 1))


class Encoded(NamedTuple):
    """ids: of all that was read, (num_tokens,); of `total` tokens of the text, `unseen` were not in the vocabulary;
    skipped: whether these were left out."""

    ids: np.ndarray
    unseen: int
    total: int
    skipped: bool

    def words(self) -> str:
        """What to say of what is unseen; empty if all of the text is in the vocabulary."""
        done = "left out" if self.skipped else "read as unknown"
        share = 100 * self.unseen / max(1, self.total)
        return f"{self.unseen:,} of {self.total:,} unseen in training ({share:.2g} %), {done}" if self.unseen else ""


def encode_files(paths: Sequence[Path], vocab: Vocab, unseen: str = "", encoding: str = "",
                 usual: str = "utf-8") -> Encoded:  # fmt: skip
    """The text in the files, one after the other, in a vocabulary. DataError names the file, and where in it the first
    symbol is that the vocabulary lacks; `unseen` as for `micrornn.data.Encoder`.

    encoding    of the files; "": UTF-8, or `usual` where one is no UTF-8
    """
    pieces, count, total, skipped = [np.empty(0, vocab.dtype)], 0, 0, False
    for path in paths:
        encoder = Encoder(vocab, unseen, str(path))
        written = encoding or ("utf-8" if usual == "utf-8" or is_utf8(path) else usual)
        pieces += encoder.encode(read_bytes([path]) if vocab.kind == "byte" else read_chunks([path], encoding=written))
        count, total = count + encoder.found.count, total + encoder.found.total
        skipped = encoder.unseen == "skip"
    return Encoded(np.concatenate(pieces), count, total, skipped)
