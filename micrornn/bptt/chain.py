"""Pieces of a sequence on tapes of their own, linked by their states.

Link            a piece: what it read, its tape, the state it starts from as leaves, the state it ends in
record          a piece on a tape; record_all, of several
Chain           the Step over some links
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.inspect.nonfinite import Blown
from micrornn.parameters import Flat
from micrornn.recompute import Segment, Segments, back
from micrornn.tape import Tape, Tensor
from micrornn.tasks.task import State


@dataclass
class Link:
    """A piece of a sequence.

    inputs, targets, state    what it reads; state: the tensors it starts from, None for the initial state
    update, start             name its dropout masks: so many time steps of that update came before it
    weights                   all parameters as they were, where the tape must outlive an update; else None
    dloss                     cotangent of its mean loss; 0 once that has counted
    """

    inputs: np.ndarray
    targets: np.ndarray
    state: State | None
    update: int
    start: int = 0
    weights: np.ndarray | None = None
    dloss: float = 0.0
    segment: Segment | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.inputs)


def record(model: Any, link: Link) -> Segment:
    """Compute a piece forward, once."""
    if link.segment is None:
        state = link.state
        if state is not None:
            state = tuple(Tensor(tensor.data, requires_grad=True) for tensor in state)
        model.draw_dropout(link.update, link.start)
        with _as_they_were(model.flat, link.weights), Tape(guard=False) as tape:
            loss, last = model.loss(link.inputs, link.targets, state)
        link.segment = Segment(tape, state, last, loss, link.dloss)
    return link.segment


def record_all(model: Any, links: Sequence[Link]) -> None:
    """Compute links forward, each from where the one before ended."""
    for n, link in enumerate(links):
        if n:
            link.state = record(model, links[n - 1]).last
        record(model, link)


@contextmanager
def _as_they_were(flat: Flat, weights: np.ndarray | None) -> Iterator[None]:
    """Let these be the parameters' numbers: a tape that outlives an update must not refer to what an update changes."""
    if weights is None:
        yield
        return
    now = {name: parameter.data for name, parameter in flat.parameters.items()}
    try:
        for name, parameter in flat.parameters.items():
            parameter.data = weights[flat.slices[name]].reshape(parameter.shape)
        yield
    finally:
        for name, parameter in flat.parameters.items():
            parameter.data = now[name]


class Chain:
    """The Step over links, from the oldest to the newest.

    factor    what a cotangent is multiplied with where it crosses from a link to the one before
    past      what lies before them (past.py): has back(dlast), from the cotangents of its last state to `grad`
    """

    whole: Segment | None = None

    def __init__(self, model: Any, links: Sequence[Link], factor: float = 1.0, past: Any = None):
        self.model, self.links, self.factor, self.past = model, list(links), factor, past
        self.dloss = 1.0
        self.last: State = ()

    def backward(self) -> float:
        flat = self.model.flat
        flat.join()
        record_all(self.model, self.links)
        loss, steps = 0.0, sum(map(len, self.links))
        dlast: list[Any] = []
        for n, link in enumerate(reversed(self.links)):
            segment = record(self.model, link)
            dlast = [self._crossed(gradient) for gradient in back(self.model, segment, dlast, new=n == 0)]
            loss += segment.loss.item() * len(link) / steps
        if self.past is not None:
            self.past.back(dlast)
        self.last = tuple(Tensor(tensor.data) for tensor in record(self.model, self.links[-1]).last)
        return loss

    def _crossed(self, gradient: Any) -> Any:
        """A cotangent behind the border. A copy: it is used by another tape."""
        if gradient is None:
            return None
        table = kernels.of(gradient)
        out = table.empty(gradient.shape, gradient.dtype)
        table.scale(out, gradient, self.factor)
        return out

    def blown(self, limit: float | None = None) -> Blown | None:
        inputs, targets = (np.concatenate([getattr(link, a) for link in self.links]) for a in ("inputs", "targets"))
        first = self.links[0]
        window = Segments(self.model, inputs, targets, first.state, length=len(inputs), update=first.update)
        return window.blown(limit)
