"""How well does a trained model predict what it did not learn from?

    losses(model, batches)         the loss of each batch of any task in turn

For a model that reads tokens, on a text:

    window_losses(model, lanes)    the mean loss of each window in turn; the state is carried from one to the next
    evaluate(model, ids, ...)      the loss over a text -> Score
    require_finite(model, ids)     an error, with its cause, where a model does not stay finite while it reads

Losses are in nats per token, as everywhere in the library; whoever prints them may convert them to bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from micrornn.data import Encoded as Encoded
from micrornn.data import Lanes, LineLanes, validation_layout
from micrornn.data import encode_files as encode_files  # offered here too
from micrornn.data.text import Ids
from micrornn.errors import DataError, counted
from micrornn.finite import diverged_in, require_finite_parameters
from micrornn.tape import Tensor, no_tape
from micrornn.windows import Windows

Progress = Callable[[int, int], None]
Look = Callable[[Any, Any, tuple[Tensor, ...] | None], None]


@dataclass(frozen=True)
class Score:
    """How well a model predicts a text.

    loss          nats per token, the mean over all predicted tokens
    predicted     the number of predicted tokens. A few at the end of each lane, which fill no window, are left out
    tokens        the number of tokens of the text
    batch_size, num_steps   the lanes and the time steps of a window with which it was read
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
        """e to the loss: the model is as unsure as between so many equally likely tokens."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def losses(model: Any, batches: Any, look: Look | None = None) -> Iterator[float]:
    """The loss of each batch of an epoch in turn, from the state that the batch before it left. The loss of a padded
    batch is multiplied by its `weight`, so that the mean over batches is the mean over all that is not padding.

    look(inputs, targets, state)    called with each batch
    """
    for _ in range(batches.num_windows):
        with no_tape():  # not around the loop: the caller may record between two batches
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
    """The mean loss over the ids. A short text is read with fewer lanes, then fewer time steps; a model with a memory
    budget reads fewer time steps at once.

    progress(done, total)    called after each window
    newline                  the id that ends a line, if each line is to be read from the initial state

    DivergedError where the model's numbers become NaN or infinite, with the layer and after how many tokens.
    """
    if len(ids) < 2:
        raise DataError(f"the text has {counted(len(ids), 'token')}, at least 2 are needed; give more of it")
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
