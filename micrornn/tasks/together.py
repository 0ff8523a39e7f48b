"""Many examples at once: as many as are at hand, those of similar length side by side, answered in their order.

gathered    examples in groups
said        what a network says of each of a group
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from micrornn import device
from micrornn.data.sequences import pad
from micrornn.errors import MicrornnError
from micrornn.tape import no_tape

AHEAD, FIRST = 256, 4  # examples of a group, at most; of the first one, so that its answers come soon
FEW = 4  # of unequal length are read one by one: to pad them may take kernels that are not compiled yet
LANES, STEPS = 64, 1 << 13  # of a batch: lanes, and time steps of all of them together, with their padding, at most
NUMBERS = 1 << 24  # that such a batch may have as logits

Example = TypeVar("Example")


def gathered(examples: Iterable[Example], at_hand: Callable[[], bool] = lambda: True) -> Iterator[list[Example]]:
    """The examples in groups of at most AHEAD.

    at_hand    whether the next example is there without waiting for it; if not, those that are there are a group
    """
    group: list[Example] = []
    most = FIRST
    try:
        for example in examples:
            group.append(example)
            if len(group) == most or not at_hand():
                yield group
                group, most = [], min(AHEAD, 4 * most)
    except MicrornnError:  # what came before is answered before that is told
        if group:
            yield group
        raise
    if group:
        yield group


def said(model: Any, inputs: Sequence[Any]) -> list[np.ndarray]:
    """Of each input, one lane wide, the network's outputs: (seq_len, output_size), or (output_size,)."""
    found: list[np.ndarray] = [np.empty(0)] * len(inputs)
    steps = min(STEPS, NUMBERS // getattr(model, "vocab_size", 1))
    for chosen in _batches(inputs, len(inputs) > FEW and getattr(model, "takes_padded", False), steps):
        rows = [inputs[n] for n in chosen]
        whole = len(rows) == 1 or len(rows[0]) == len(rows[-1])
        with no_tape():
            outputs = device.host(model(_side_by_side(model, rows, whole))[0].data)
        for lane, (n, row) in enumerate(zip(chosen, rows)):
            stop = None if whole else len(row)  # what comes behind that is padding
            found[n] = np.array(outputs[:stop, lane] if outputs.ndim == 3 else outputs[lane])
    return found


def _batches(inputs: Sequence[Any], padded: bool, steps: int) -> Iterator[list[int]]:
    """Which of them are read together: those that differ in their length alone, or, where no padding is understood,
    not even in that."""
    if not all(isinstance(row, np.ndarray) and row.ndim > 1 for row in inputs):
        yield from ([n] for n in range(len(inputs)))
        return
    batch: list[int] = []
    for n in sorted(range(len(inputs)), key=lambda n: len(inputs[n])):
        row, first = inputs[n], inputs[batch[0]] if batch else inputs[n]
        alike = row.shape[1:] == first.shape[1:] and (padded or len(row) == len(first))
        if batch and (not alike or len(batch) == LANES or (len(batch) + 1) * len(row) > steps):
            yield batch
            batch = []
        batch.append(n)
    yield batch


def _side_by_side(model: Any, rows: Sequence[Any], whole: bool) -> Any:
    """As one batch; whole: all are of the same length."""
    if len(rows) == 1:
        return rows[0]
    if whole:
        return np.concatenate(rows, axis=0 if model.rnn is None else 1)
    return pad([row[:, 0] for row in rows])
