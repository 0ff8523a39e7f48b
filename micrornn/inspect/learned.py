"""What a model has learned of a text: its loss beside those that take no learning.

learned(model, ids, vocab)    -> Learned, or None where the loss is not finite
frequencies(ids, vocab_size)  the unigram entropy of a text
"""

from __future__ import annotations

import math
from itertools import islice

import numpy as np

from micrornn.data import LineLanes, Vocab, validation_layout
from micrornn.data.text import Ids
from micrornn.evaluate import window_losses
from micrornn.inspect.measure import Learned
from micrornn.tasks.text import LanguageModel

LANES, WINDOWS = 16, 9  # read: so many lanes spread over the text, and the first windows of each
COUNTED, AT_ONCE = 2_000_000, 1 << 18  # tokens whose frequencies are counted; how many of them at a time


def learned(model: LanguageModel, ids: Ids, vocab: Vocab) -> Learned | None:
    """The loss of a model in evaluation mode over some thousand tokens from all over the text. The first window of
    each lane is left out if there are more: it starts from the initial state, which most of a text does not. What has
    learned line by line is read line by line.

    None if the loss is not finite, or if there are fewer than two tokens.
    """
    if len(ids) < 2:
        return None
    newline = vocab.newline if model.config.lines else None
    lanes = validation_layout(ids, LANES, model.config.num_steps, newline)
    losses = list(islice(window_losses(model, lanes), WINDOWS))
    loss = float(np.mean(losses[1:] or losses))
    if isinstance(lanes, LineLanes):  # each counts by its tokens, of which there are `num_tokens` in all windows
        read = lanes.window_tokens[: len(losses)].sum() / lanes.num_tokens
        loss = float(np.sum(losses) / lanes.num_windows / read)
    token = {"char": "character"}.get(vocab.kind, vocab.kind)
    found = Learned(loss, frequencies(ids, vocab.size), math.log(vocab.size), token)
    return found if math.isfinite(loss) else None


def frequencies(ids: Ids, vocab_size: int) -> float:
    """- sum of p ln p over the tokens of a text, in nats: what predicting by frequency alone costs."""
    counts = np.zeros(vocab_size)
    for start in range(0, min(len(ids), COUNTED), AT_ONCE):
        part = np.asarray(ids[start : min(start + AT_ONCE, COUNTED, len(ids))])
        counts += np.bincount(part, minlength=vocab_size)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
