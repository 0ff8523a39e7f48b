"""Errors that say what in a trained model became NaN or infinite, in which layer, and after how much text.

require_finite_parameters    an error that names a parameter that is not finite
diverged                     the error for a model that reads token after token
diverged_in                  the same for a model that reads a text in lanes and windows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn import device
from micrornn.data import Lanes, LineLanes
from micrornn.errors import DivergedError, counted
from micrornn.tape import no_tape
from micrornn.windows import Windows

UNITS = {"char": "character", "word": "word", "spaced": "word", "byte": "byte"}  # of config.level
ADVICE = (
    "Use an earlier checkpoint, or train again: with a lower `lr`, or a `cell` whose state is bounded, as lstm and gru"
)


def require_finite_parameters(model: Any, where: str = "") -> None:
    """DivergedError that names the first parameter that is not finite; `where` is put before it."""
    for name, parameter in model.flat.parameters.items():
        array = device.host(parameter.data)
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise DivergedError(
                f"{where}{name} holds {_kind(array, 'infinity')} ({bad:,} of {counted(array.size, 'number')})\n{ADVICE}"
            )


def diverged(model: Any, states: Sequence[np.ndarray], read: int, lane: str = "") -> DivergedError:
    """What became NaN or infinite in a language model after it had read so many tokens: a parameter, if one was so from
    the start, else the state of the lowest layer that is not finite, else the logits.

    states    h, for the LSTM also c: (num_layers, ..., hidden_size) each
    """
    try:
        require_finite_parameters(model)
    except DivergedError as error:
        return error
    cell, layers = model.rnn.cell.name, range(model.rnn.num_layers)
    unit = UNITS.get(model.config.level, "token")
    when = f"after {counted(read, unit)}{lane}\n{ADVICE}"
    for layer in layers:
        for rows in states:
            if not np.isfinite(rows[layer]).all():
                return DivergedError(f"the state of {cell}_l{layer} became {_kind(rows[layer])} {when}")
    sizes = [max(float(np.abs(rows[layer]).max()) for rows in states) for layer in layers]
    layer = int(np.argmax(sizes))
    return DivergedError(
        f"the state of {cell}_l{layer} grew to {sizes[layer]:.3g}, and the logits became infinite, {when}"
    )


def diverged_in(model: Any, lanes: Lanes | LineLanes, window: int) -> DivergedError:
    """What becomes NaN or infinite in window number `window` of the lanes, and after how many tokens of a lane. To find
    it, the text is read again up to that window, and the window time step by time step."""
    windows = Windows(lanes)
    with no_tape():
        for _ in range(window):
            inputs, _, state = windows.next()
            windows.carry(model.read(inputs, state))
        inputs, _, state = windows.next()
        for t in range(len(inputs)):
            logits, state = model(inputs[t : t + 1], state)
            states = [device.host(tensor.data) for tensor in state]
            if all(np.isfinite(array).all() for array in (device.host(logits.data), *states)):
                continue
            lane = ""
            if lanes.batch_size > 1:
                bad = np.any([~np.isfinite(array).all(axis=(0, 2)) for array in (device.host(logits.data), *states)], 0)
                lane = f" of lane {int(bad.argmax()) + 1}"
            return diverged(model, states, window * len(inputs) + t + 1, lane)
    return DivergedError(f"the loss became NaN or infinite\n{ADVICE}")


def _kind(array: np.ndarray, infinite: str = "infinite") -> str:
    """The word for what is wrong: NaN where there is one, else `infinite`."""
    return "NaN" if np.isnan(array).any() else infinite
