"""How far back a trained network looks, measured: one input is changed, and its outputs are watched.

reach(task, model)    the change of the outputs k time steps after the input, for each k

In a batch of held-out data the input at one time step is replaced by that of another lane (of another time step,
where there is one lane only). What a network does not look at changes nothing: beyond its window a feed-forward net
gives the same numbers to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import device
from micrornn.tape import no_tape
from micrornn.tasks import Task

PLACES, LANES, MOST_STEPS = 6, 32, 64
SEEN = 0.05  # of the largest change: what counts as being looked at


def reach(task: Task, model: Any) -> np.ndarray | None:
    """changes (K,): of the outputs k steps later, the mean over outputs, lanes and places; None where the batches of
    the task are no arrays along time."""
    batches = task.validation() or task.batches
    inputs, _, _ = batches.next()
    parts = [np.array(inputs) if isinstance(inputs, np.ndarray) else inputs]  # which may be filled again
    while getattr(batches, "cut", False) and isinstance(inputs, np.ndarray) and sum(map(len, parts)) < MOST_STEPS:
        if len(parts) == batches.num_windows:
            break
        parts.append(np.array(batches.next()[0]))  # windows of one long sequence, one behind the other
    inputs = np.concatenate(parts) if len(parts) > 1 else inputs
    if not isinstance(inputs, np.ndarray) or inputs.ndim < 2 or len(inputs) < 2:
        return None
    inputs = np.array(inputs[:MOST_STEPS, :LANES])
    model.train(False)
    usual = _outputs(model, inputs)
    every = len(usual) == len(inputs) and usual.ndim == 3
    steps = len(inputs)
    sums, counts = np.zeros(steps), np.zeros(steps)
    places = np.unique(np.linspace(0, steps - 1, PLACES * (2 if every else 4)).astype(int))
    for place in places[: PLACES * 4]:
        other = inputs.copy()
        other[place] = np.roll(inputs[place], 1, axis=0) if inputs.shape[1] > 1 else inputs[place - 1]
        changed = np.abs(_outputs(model, other) - usual)
        if every:
            after = changed[place:].reshape(steps - place, -1).mean(axis=1)
            sums[: steps - place] += after
            counts[: steps - place] += 1
        else:
            sums[steps - 1 - place] += changed.mean()
            counts[steps - 1 - place] += 1
    known = counts > 0
    return np.where(known, sums / np.maximum(counts, 1), np.nan)


def _outputs(model: Any, inputs: np.ndarray) -> np.ndarray:
    with no_tape():
        return np.array(device.host(model(inputs, None)[0].data), float)


def furthest(changes: np.ndarray) -> int | None:
    """The most time steps back at which an input still changes the outputs by SEEN of the most; None: nothing does."""
    known = np.where(np.isfinite(changes), changes, 0.0)
    if not known.max() > 0:
        return None
    return int(np.flatnonzero(known >= SEEN * known.max())[-1])
