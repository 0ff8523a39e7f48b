"""A window that needs more memory than there is: it is processed in segments, each computed twice.

The tape of a window holds everything that its forward pass computed. Here, the window is first read without a tape, and
only the states at the borders between segments are kept. Then each segment, from the last to the first, is computed
again from the state at its border, on a tape of its own; and the cotangent of that state is handed to the segment
before:

    read     s0 -> segment 0 -> s1 -> segment 1 -> s2
    back                                           s2 -> segment 2 -> loss 2       and back: ds2
                                s1 -> segment 1 -> loss 1, s2 with ds2             and back: ds1
             s0 -> segment 0 -> loss 0, s1 with ds1

The gradient is that of the whole window. Memory is needed for one segment and for the borders; the price is one more
forward pass through the recurrent layers.

Chen, Xu, Zhang, Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016, arXiv:1604.06174; for recurrent networks
Gruslys, Munos, Danihelka, Lanctot, Graves, Memory-Efficient Backpropagation Through Time, 2016, arXiv:1606.03401.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.inspect.nonfinite import Blown, blown
from micrornn.tape import Tape, Tensor, no_tape

State = tuple[Tensor, ...]
Cotangents = Sequence[np.ndarray | None]


@dataclass(frozen=True)
class Segment:
    """Some time steps of a window on a tape: the state before them (None at the start of the window), the state after
    them, their mean loss, and its weight in the loss of the window, times dloss."""

    tape: Tape
    first: State | None
    last: State
    loss: Tensor
    weight: float


class Segments:
    """One window of a task's network: its loss and its gradient, from segments of at most `length` time steps.

    inputs, targets    as the task's batches give them, with the state to start from. For more than one segment they are
                       arrays whose first axis is time, such as int32 (seq_len, batch_size)
    dloss              cotangent of the loss, which is the mean over time steps and lanes
    update             chooses the dropout masks. They are those of the whole window, for any length of the segments

    After `backward`, `last` is the state at the end, and `whole` is the segment with its tape if there is only one.
    """

    def __init__(self, model: Any, inputs: Any, targets: Any, state: State | None, *,
                 length: int, dloss: float = 1.0, update: int = 0):  # fmt: skip
        self.model, self.inputs, self.targets, self.state = model, inputs, targets, state
        self.length, self.dloss, self.update = length, dloss, update
        self.starts = range(0, len(inputs), length)
        self.last: State = ()
        self.whole: Segment | None = None

    def backward(self) -> float:
        """Write the gradient to `grad` of every parameter, in place of what is there. The loss in nats per token."""
        loss = 0.0
        dlast: Cotangents = ()
        self.model.flat.join()
        for start, state in zip(reversed(self.starts), reversed(self._borders())):
            segment = self._record(start, state)
            dlast = back(self.model, segment, dlast, new=start == self.starts[-1])
            loss += segment.loss.item() * self._count(self._part(self.targets, start)) / self._count(self.targets)
            self.last = self.last or segment.last
            self.whole = segment if len(self.starts) == 1 else None
            del segment  # the next one reuses its memory
        return loss

    def blown(self, limit: float | None = None) -> Blown | None:
        """What blew up first (inspect/nonfinite.py): a value in the first segment that has one, or, if all values are
        finite, a gradient, searched from the last segment on. Computes the window again, and writes to no `grad`."""
        if device.of(self.model.flat.data) != "cpu":
            return self._on_host().blown(limit)
        borders = self._borders()
        for start, state in zip(self.starts, borders):
            segment = self._record(start, state)
            found = blown(segment.tape, segment.loss, segment.weight, limit)
            if found is not None and found.what == "value":
                return _later(found, start)
            del segment
        dlast: Cotangents = ()
        for start, state in zip(reversed(self.starts), reversed(borders)):
            segment = self._record(start, state)
            found = blown(segment.tape, segment.loss, segment.weight, limit, list(zip(segment.last, dlast)))
            if found is not None:
                return _later(found, start)
            dlast = _cotangents(segment, list(segment.first or ()), dlast)
            del segment
        return None

    def _on_host(self) -> Segments:
        """The same window for a copy of the model in the machine's memory."""
        state = None if self.state is None else tuple(Tensor(device.host(tensor.data)) for tensor in self.state)
        model = self.model.copy(device="cpu")
        options: dict[str, Any] = {"length": self.length, "dloss": self.dloss, "update": self.update}
        return Segments(model, self.inputs, self.targets, state, **options)

    def _part(self, rows: Any, start: int) -> Any:
        return rows[start : start + self.length] if len(self.starts) > 1 else rows

    def _count(self, targets: Any) -> int:
        """The weight of the mean over these targets: their time steps, or the tokens of padded lines."""
        return int((targets >= 0).sum()) if self.model.config.lines else len(targets)

    def _borders(self) -> list[State | None]:
        """The state at the start of each segment."""
        states = [self.state]
        if len(self.starts) == 1:
            return states
        with no_tape():
            for start in self.starts[:-1]:
                self.model.draw_dropout(self.update, start)
                states.append(read(self.model, self._part(self.inputs, start), states[-1]))
        return states

    def _record(self, start: int, state: State | None) -> Segment:
        """A segment on a tape. Except in the first one, the cotangent of the state it starts from is needed."""
        if self.whole is not None:
            return self.whole
        if start:
            assert state is not None
            state = tuple(Tensor(tensor.data, requires_grad=True) for tensor in state)
        self.model.draw_dropout(self.update, start)
        inputs, targets = self._part(self.inputs, start), self._part(self.targets, start)
        with Tape(guard=False) as tape:
            loss, last = self.model.loss(inputs, targets, state)
        weight = self.dloss * self._count(targets) / self._count(self.targets)
        return Segment(tape, state if start else None, last, loss, weight)


def read(model: Any, inputs: Any, state: State | None) -> State:
    """The last state, computed by `model.read` where there is one: that does not compute the outputs."""
    last: State = model.read(inputs, state) if hasattr(model, "read") else model(inputs, state)[1]
    return last


def back(model: Any, segment: Segment, dlast: Cotangents, new: bool) -> list[np.ndarray | None]:
    """Go back from the loss of a segment and the cotangents of its last state. The gradients go to `grad` of all
    parameters: in place of what is there if `new`, else added to it. Returns the cotangents of its first state, which
    may be arrays of the tape."""
    parameters = list(model.flat.parameters.values())
    found = _cotangents(segment, [*parameters, *(segment.first or ())], dlast)
    for parameter, gradient in zip(parameters, found):
        if new:  # writing goes to memory once; setting zeros and adding would go there three times
            parameter.grad[...] = 0 if gradient is None else gradient
        elif gradient is not None:
            kernels.of(gradient).accumulate(parameter.grad, gradient)
    return found[len(parameters) :]


def _cotangents(segment: Segment, of: list[Tensor], dlast: Cotangents) -> list[np.ndarray | None]:
    """The cotangents of tensors, from the segment's loss, if it has a weight, and from those of its last state, if
    any."""
    pairs: list[tuple[Tensor, Any]] = [(segment.loss, segment.weight)] if segment.weight else []
    pairs += [(tensor, gradient) for tensor, gradient in zip(segment.last, dlast) if gradient is not None]
    if not pairs:
        return [None] * len(of)
    return segment.tape.cotangents(of, [tensor for tensor, _ in pairs], [dout for _, dout in pairs], copy=False)


def _later(found: Blown, start: int) -> Blown:
    """Time counted from the start of the window."""
    return dataclasses.replace(found, t=None if found.t is None else found.t + start)
