"""Finite or told: what in a trained model became NaN or infinite, in which layer, and after how much text.

broken          what is not finite in a model with these states, in words
broken_windows  the same of a model that reads a text in lanes, with the number of tokens read until then
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micrornn import device
from micrornn.bptt import Windows
from micrornn.data import Lanes
from micrornn.tape import no_tape
from micrornn.tasks.text import LanguageModel

UNITS = {"char": "character", "word": "word", "byte": "byte"}  # of a vocabulary's kind
ADVICE = (
    "Use an earlier checkpoint, or train again: with a lower --lr, or a --cell whose state is bounded (not rnn_relu)"
)


def broken(model: LanguageModel, states: Sequence[np.ndarray]) -> tuple[str, bool]:
    """What is not finite, in words, and whether it is so from the start: a parameter, else the lowest layer's state
    that is not, else the logits.

    states    h, for the LSTM also c: (num_layers, ..., hidden_size) each
    """
    for name, parameter in model.flat.parameters.items():
        array = device.host(parameter.data)
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            return f"{name} holds {_kind(array, 'infinity')} ({bad:,} of {array.size:,} numbers)", True
    for layer in range(model.rnn.num_layers):
        for rows in states:
            if not np.isfinite(rows[layer]).all():
                return f"the state of {model.rnn.cell.name}_l{layer} became {_kind(rows[layer])}", False
    sizes = [max(float(np.abs(rows[layer]).max()) for rows in states) for layer in range(model.rnn.num_layers)]
    layer = int(np.argmax(sizes))
    name = f"{model.rnn.cell.name}_l{layer}"
    return f"the state of {name} grew to {sizes[layer]:.3g}, and the logits became infinite,", False


def after(tokens: int, kind: str) -> str:
    """ "after 523 characters"."""
    unit = UNITS.get(kind, "token")
    return f"after {tokens:,} {unit}{'' if tokens == 1 else 's'}"


def broken_windows(model: LanguageModel, lanes: Lanes, window: int, kind: str) -> str:
    """What is not finite when the model reads window number `window` of the lanes, and after how many tokens of its
    lane: all is read again up to there, then time step by time step."""
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
            what, always = broken(model, states)
            lane = ""
            if lanes.batch_size > 1:
                bad = np.any([~np.isfinite(array).all(axis=(0, 2)) for array in (device.host(logits.data), *states)], 0)
                lane = f" of lane {int(bad.argmax()) + 1}"
            return what if always else f"{what} {after(window * len(inputs) + t + 1, kind)}{lane}"
    return "the loss became NaN or infinite"


def _kind(array: np.ndarray, infinite: str = "infinite") -> str:
    """Infinite, if infinity is all that is wrong: NaN comes of it later."""
    return "NaN" if np.isnan(array).any() else infinite
