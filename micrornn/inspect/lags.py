"""How much one token tells about the one that stands `lag` places behind it: counted in the text, without a model.

    gains(ids, vocab_size, most)    what each lag tells, in nats
    reach(...)                      the furthest lag that stands out from those around it

A gradient shows what a model can learn from far back only once it has begun to: a model that has not yet found what is
fixed by the letter 30 places back gets hardly any gradient from there. Pairs of tokens can simply be counted. They tell
nothing of what it takes several tokens to know, which is why this is no more than a lower bound of num_steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micrornn.data.text import Ids

MOST_TOKENS, MOST_SYMBOLS = 300_000, 512
LEARNED = 0.6  # of the text pairs are counted in; on the rest it is seen what they tell
STRENGTH = 5.0  # a count of tokens behind another is taken with so many of the usual ones
NEAREST = 8  # what is nearer a model finds soon, and its gradient shows it
AROUND = range(2, 7)  # a lag stands out from those so far from it on either side,
TIMES, SHARE, ERRORS = 2.0, 0.01, 4.0  # if it tells so many times their median, and enough to matter and to be told
HALF = 0.5


@dataclass(frozen=True)
class Gains:
    """frequencies: nats per token by the frequencies of tokens alone; gains, errors (lags,): how much less it takes
    with the token 1, 2, 3, ... places before known, and the standard error. Both on text that was not counted."""

    frequencies: float
    gains: np.ndarray
    errors: np.ndarray

    @property
    def pairs(self) -> float:
        """Nats per token with the token right before it known."""
        return self.frequencies - (float(self.gains[0]) if len(self.gains) else 0.0)


def gains(ids: Ids, vocab_size: int, most: int) -> Gains:
    """What the token 1, 2, ..., `most` places back tells. Of more than 512 symbols the rare ones count as one."""
    row = np.asarray(ids[0 : min(len(ids), MOST_TOKENS)], np.int64)
    if vocab_size > MOST_SYMBOLS:
        order = np.argsort(-np.bincount(row, minlength=vocab_size), kind="stable")
        place = np.empty(vocab_size, np.int64)
        place[order] = np.arange(vocab_size)
        row, vocab_size = np.minimum(place[row], MOST_SYMBOLS - 1), MOST_SYMBOLS
    cut = int(LEARNED * len(row))
    counted, rest = row[:cut], row[cut:]
    alone = (np.bincount(counted, minlength=vocab_size) + 1.0) / (len(counted) + vocab_size)
    found, errors = [], []
    for lag in range(1, min(most, len(rest) // 2, len(counted) // 2) + 1):
        pairs = np.bincount(counted[:-lag] * vocab_size + counted[lag:], minlength=vocab_size**2)
        table = pairs.reshape(vocab_size, vocab_size)
        likely = (table + STRENGTH * alone) / (table.sum(axis=1, keepdims=True) + STRENGTH)
        told = np.log(likely[rest[:-lag], rest[lag:]]) - np.log(alone[rest[lag:]])
        found.append(told.mean())
        errors.append(told.std() / np.sqrt(len(told)))
    frequencies = -float(np.log(alone[rest]).mean()) if len(rest) else float("nan")
    return Gains(frequencies, np.array(found), np.array(errors))


def reach(found: Gains) -> int:
    """The furthest lag that stands out, 0 if none does: it tells at least half of what the best of those tells, and is
    no multiple of a nearer one that tells as much (what comes back every 30 places comes back every 60, too)."""
    values, least = found.gains, SHARE * found.frequencies
    out: dict[int, float] = {}
    for at, value in enumerate(values):
        around = [values[n] for away in AROUND for n in (at - away, at + away) if 0 <= n < len(values)]
        if at + 1 < NEAREST or value < max(least, ERRORS * found.errors[at]) or not around:
            continue
        lag = at + 1
        again = any(lag % nearer == 0 and told >= value - 2 * found.errors[at] for nearer, told in out.items())
        if not again and value >= TIMES * max(0.0, float(np.median(around))):
            out[lag] = float(value)
    return max((lag for lag, value in out.items() if value >= HALF * max(out.values())), default=0)
