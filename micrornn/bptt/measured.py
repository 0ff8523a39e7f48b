"""Ways to propagate back, measured on a trained network: how far each is from the gradient of the whole sequence.

    with_ways    the measure `truncation`, and with it bias, spread and cosine of each way's gradient, beside all of it
    looked_at    which ways are looked at

g is the gradient of the mean loss over a window of T time steps, all the way back to its beginning; g_way is what a way
makes of the same window while the parameters stay as they are: the mean of the gradients of its updates.

    bias = || E g_way - E g || / || E g ||,       spread = sqrt(E || d - E d ||^2) / || E g ||,    d = g_way - g

E is the mean over pieces of the data, and over the random numbers of a way that draws some. The bias has no noise in it
(inspect/bias.py). The spread is what a way adds to the noise of a piece; of `random` and `uoro` it is the price for a
bias of 0.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from micrornn.bptt import find
from micrornn.errors import ConfigError
from micrornn.inspect.bias import bias_of, pieces
from micrornn.inspect.measure import Array, Axis, Measure
from micrornn.inspect.window import Window
from micrornn.tasks.batches import Slices

FORWARD = ("rtrl", "snap1", "uoro")
STATES = 32  # that rtrl and uoro are tried on: each time step takes as many VJPs, in each lane
PIECES, LANES = 8, 2  # of the data, and of a piece, at most
TIME_STEPS, TIMES = 24, 4  # so many, or so many windows, are far enough back


def looked_at(num_steps: int, seq_len: int) -> list[str]:
    """One of each kind for windows of num_steps; grow is a window at any time."""
    found = ["full", f"window:{num_steps}", "online", "stateless"]
    if 2 * num_steps <= seq_len:
        found.append(f"{num_steps},{2 * num_steps}")
    return [*found, "random:0.5", *FORWARD]


@np.errstate(over="ignore", invalid="ignore")  # a gradient that is not finite gets NaN, not a warning
def with_ways(measure: Measure, model: Any, windows: Sequence[Window],
              progress: Callable[[int, int], None] | None = None) -> Measure:  # fmt: skip
    """The measure with more arrays: way_bias, way_low, way_high, way_spread, way_cosine (backprop,); NaN for a way that
    does not go with the network. low and high are two standard errors away. windows as `truncation` takes them."""
    plain = {"dropout": 0.0, "recurrent_dropout": 0.0, "clip_message": 0.0}
    config = dataclasses.replace(model.config, **plain, memory_budget=0, watch_gradients=0)
    model = model.copy(**plain, device="cpu")
    model.train(False)
    seq_len, lanes = windows[0].inputs.shape[:2]
    num_steps = max(1, min(config.num_steps, seq_len // 2))
    seq_len = min(seq_len, max(TIME_STEPS, TIMES * num_steps)) // num_steps * num_steps
    text = pieces(windows, max(1, min(LANES, len(windows) * lanes // PIECES, lanes)))
    text = text[:: max(1, len(text) // PIECES)][:PIECES]
    names = looked_at(num_steps, seq_len)
    rows = {name: [] for name in names}  # type: dict[str, list[np.ndarray]]
    for n, piece in enumerate(text):
        for name in names:
            gradient = _gradient(config, model, piece, name, num_steps, seq_len, n)
            rows[name].append(np.full(len(model.flat), math.nan) if gradient is None else gradient)
        if progress is not None:
            progress(n + 1, len(text))
    full = np.array(rows.pop("full"))
    found = {name: _judged(full, np.array(gradients)) for name, gradients in rows.items()}
    columns = {name: np.array([row[name] for row in found.values()]) for name in ABOUT}
    more = {f"way_{name}": Array(values, ("backprop",), "", ABOUT[name]) for name, values in columns.items()}
    return dataclasses.replace(
        measure, axes={**measure.axes, "backprop": Axis.of(tuple(rows))}, arrays={**measure.arrays, **more}
    )


ABOUT = {
    "bias": "norm of E g_way - E g by the norm of E g, without noise",
    "low": "the same, two standard errors down; 0 where it cannot be told from 0",
    "high": "the same, two standard errors up",
    "spread": "what a way adds to the noise of a piece, by the norm of E g",
    "cosine": "of the angle between E g_way and E g",
}


def _gradient(config: Any, model: Any, piece: Window, name: str, num_steps: int, seq_len: int,
              seed: int) -> np.ndarray | None:  # fmt: skip
    """The mean gradient of a way's updates over a piece; None where it does not go with the network."""
    steps = 1 if name == "online" else num_steps
    given = {"backprop": name, "num_steps": steps, "seed": seed, "loss": "mean", "device": "cpu"}
    config = dataclasses.replace(
        config, **given, state="fresh" if name == "stateless" else "carried", batch_size=piece.inputs.shape[1]
    )
    rnn = model.rnn
    dear = name in FORWARD and not (name == "snap1" and rnn.cell.derivable)
    if dear and len(rnn.cell.states) * rnn.num_layers * rnn.hidden_size > STATES:
        return None
    batches = Slices(piece.inputs[:seq_len], piece.targets[:seq_len], steps, carried=name != "stateless")
    if name != "stateless" and piece.state is not None:
        batches.state = tuple(part.data for part in piece.state)
    try:
        way = find(config, model, batches, steps)
    except ConfigError:
        return None
    total, read, update = np.zeros(len(model.flat)), 0, 0
    while read < batches.num_windows:
        step = way.next(update)
        step.backward()
        # random divides by the mean length of its pieces, the others by the one at hand
        parts = 1 / config.way.numbers[0] if config.way.name == "random" else way.batches_read
        total += np.asarray(model.flat.grad, np.float64) * parts
        way.commit(step)
        read, update = read + way.batches_read, update + 1
    return total / batches.num_windows


def _judged(full: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Bias and spread of a way's gradients (pieces, n) beside the whole ones."""
    off = rows - full
    one = bias_of(np.ones(len(full)), full @ full.T, (off @ off.T)[None], (off @ full.T)[None])
    spread = math.nan
    if one.told and np.isfinite(off).all():
        spread = math.sqrt(np.square(off - off.mean(axis=0)).sum() / max(1, len(off) - 1) / one.signal)
    values = {"bias": one.value, "low": one.low, "high": one.high, "cosine": one.cosine}
    return {name: float(value[0]) if one.told else math.nan for name, value in values.items()} | {"spread": spread}
