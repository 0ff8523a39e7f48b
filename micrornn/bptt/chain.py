"""Pieces of a sequence on tapes of their own, linked by their states.

Link      a piece: what it read, its tape, the state it starts from as leaves, the state it ends in
record    a piece on a tape
Chain     the Step over some links: losses from the last of them, gradients through all
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
from micrornn.recompute import Segment, Segments
from micrornn.tape import Tape, Tensor
from micrornn.tasks.task import State


@dataclass
class Link:
    """A piece of a sequence.

    inputs, targets, state    what it reads; state: the tensors it starts from, None for the initial state
    update, start             name its dropout masks: so many time steps of that update came before it
    weights                   all parameters as they were, where the tape must outlive an update; else None
    """

    inputs: np.ndarray
    targets: np.ndarray
    state: State | None
    update: int
    start: int = 0
    weights: np.ndarray | None = None
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
        link.segment = Segment(tape, state, last, loss, 0.0)
    return link.segment


@contextmanager
def _as_they_were(flat: Flat, weights: np.ndarray | None) -> Iterator[None]:
    """Let these be the parameters' numbers: a tape that outlives an update must not refer to what an update changes."""
    if weights is None:
        yield
        return
    now = {name: parameter.data for name, parameter in flat.parameters.items()}
    try:
        for name, parameter in flat.parameters.items():
            parameter.data = weights[flat.places[name]].reshape(parameter.shape)
        yield
    finally:
        for name, parameter in flat.parameters.items():
            parameter.data = now[name]


def forget_losses(link: Link) -> None:
    """Leave on the tape what its last state was computed from: the rest, such as the logits, is not needed again."""
    assert link.segment is not None
    tape, needed = link.segment.tape, {id(tensor) for tensor in link.segment.last}
    kept = []
    for row in reversed(tape.records):
        if any(id(tensor) in needed for tensor in row.outputs):
            needed |= {id(tensor) for tensor in row.inputs}
            kept.append(row)
    tape.records = kept[::-1]


class Chain:
    """The Step over links, from the oldest to the newest.

    new       so many of the links at the end are this update's; their losses count
    seeds     cotangent of the mean loss of each new link
    factor    what a cotangent is multiplied with where it crosses from a link to the one before
    """

    whole: Segment | None = None

    def __init__(self, model: Any, links: Sequence[Link], new: int, seeds: Sequence[float], factor: float = 1.0):
        self.model, self.links, self.new, self.seeds, self.factor = model, list(links), new, list(seeds), factor
        self.seed = 1.0
        self.last: State = ()

    def backward(self) -> float:
        flat = self.model.flat
        flat.join()
        fresh = self.links[len(self.links) - self.new :]
        for n, link in enumerate(fresh):
            if n:  # a link of the same sequence goes on where the one before ended
                link.state = record(self.model, fresh[n - 1]).last
            record(self.model, link)
        parameters = list(flat.parameters.values())
        flat.zero_grad()
        seeds = [0.0] * (len(self.links) - self.new) + self.seeds
        loss, steps = 0.0, sum(map(len, fresh))
        dlast: list[Any] = []
        for link, seed in zip(reversed(self.links), reversed(seeds)):
            segment = record(self.model, link)
            of = [*parameters, *(segment.first or ())]
            found = _back(segment, of, seed, dlast)
            for parameter, gradient in zip(parameters, found):
                if gradient is not None:
                    kernels.of(gradient).accumulate(parameter.grad, gradient)
            dlast = [self._crossed(gradient) for gradient in found[len(parameters) :]]
            loss += segment.loss.item() * len(link) / steps if seed else 0.0
        self.last = tuple(Tensor(tensor.data) for tensor in record(self.model, fresh[-1]).last)
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
        fresh = self.links[len(self.links) - self.new :]
        inputs, targets = (np.concatenate([getattr(link, name) for link in fresh]) for name in ("inputs", "targets"))
        state = fresh[0].state
        return Segments(self.model, inputs, targets, state, length=len(inputs), update=fresh[0].update).blown(limit)


def _back(segment: Segment, of: list[Tensor], seed: float, dlast: Sequence[Any]) -> list[Any]:
    """What flows back from the loss of a piece, times the seed, and from the cotangents of its last state."""
    pairs = [(segment.loss, seed)] if seed else []
    pairs += [(tensor, gradient) for tensor, gradient in zip(segment.last, dlast) if gradient is not None]
    if not pairs:
        return [None] * len(of)
    return segment.tape.cotangents(of, [pair[0] for pair in pairs], [pair[1] for pair in pairs], copy=False)
