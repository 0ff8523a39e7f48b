"""From a decoder's probabilities to an answer: greedily, or by beam search.

search           the best sequences that a step function gives, for many lanes at once
edit_distance    the fewest insertions, deletions and replacements that turn one sequence into another

A hypothesis that ends leaves the beam, which is then narrower by one (Sutskever, Vinyals, Le 2014, arXiv:1409.3215,
section 3.2). So a beam of one is greedy search, and a beam that holds all sequences is exhaustive search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

State = tuple[np.ndarray, ...]
Step = Callable[[np.ndarray, State], tuple[np.ndarray, State]]


class Answer(NamedTuple):
    """A sequence without its end.

    tokens    ids
    log_p     the logarithm of its probability, including the end
    score     log_p / n^penalty for n tokens, including the end: answers of different lengths are compared by this
    """

    tokens: np.ndarray
    log_p: float
    score: float


def search(step: Step, state: State, *, width: int, longest: int, end: int, penalty: float = 1.0) -> list[list[Answer]]:
    """For each lane up to `width` answers, the best one first.

    step       step(ids (N,), state) -> (log-probabilities (N, V) of the next token, the next state). There are
               N = B * width rows; the hypotheses of a lane are neighbours
    state      arrays (..., N, size) to start from; all rows of a lane are the same
    longest    the most tokens of an answer; one that is as long must end
    end        the token that ends an answer. It is also the input before the first token
    """
    rows = state[0].shape[-2]
    lanes = rows // width
    log_p = np.full((lanes, width), -np.inf)
    log_p[:, 0] = 0  # all hypotheses of a lane start alike, so that only one counts
    tokens = np.zeros((lanes, width, longest + 1), np.int32)
    room, every = np.full(lanes, width), np.arange(lanes)[:, None]
    found: list[list[Answer]] = [[] for _ in range(lanes)]
    last = np.full(rows, end, np.int32)
    for t in range(longest + 1):
        scores, state = step(last, state)
        size = scores.shape[1]
        total = log_p[:, :, None] + scores.reshape(lanes, width, size).astype(np.float64)
        if t == longest:
            ended = total[:, :, end].copy()
            total[...] = -np.inf
            total[:, :, end] = ended
        chosen = _largest(total.reshape(lanes, width * size), width)
        log_p = np.take_along_axis(total.reshape(lanes, -1), chosen, axis=1)
        parent, token = chosen // size, chosen % size
        tokens = tokens[every, parent]
        tokens[:, :, t] = token
        valid = (np.arange(width) < room[:, None]) & (log_p > -np.inf)
        done = valid & (token == end)
        for lane, place in zip(*np.nonzero(done)):
            value = float(log_p[lane, place])
            found[lane].append(Answer(tokens[lane, place, :t].copy(), value, value / (t + 1) ** penalty))
        room = room - done.sum(axis=1)
        log_p = np.where(valid & ~done, log_p, -np.inf)
        if not (log_p > -np.inf).any():
            break
        state = tuple(part[..., (every * width + parent).ravel(), :] for part in state)
        last = token.ravel().astype(np.int32)
    return [sorted(answers, key=lambda answer: -answer.score) for answers in found]


def _largest(rows: np.ndarray, count: int) -> np.ndarray:
    """The indices of the `count` largest numbers of each row, the largest first; of equal numbers the first."""
    if count == 1:
        return rows.argmax(axis=1)[:, None]
    if count < rows.shape[1]:
        places = np.sort(np.argpartition(-rows, count - 1, axis=1)[:, :count], axis=1)
    else:
        places = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    order = np.argsort(-np.take_along_axis(rows, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def edit_distance(one: Sequence[Any], other: Sequence[Any]) -> int:
    """The fewest insertions, deletions and replacements that turn `one` into `other` (Levenshtein 1966)."""
    before = list(range(len(other) + 1))
    for n, item in enumerate(one, 1):
        row = [n]
        for m, wanted in enumerate(other, 1):
            row.append(min(before[m] + 1, row[-1] + 1, before[m - 1] + (item != wanted)))
        before = row
    return before[-1]
