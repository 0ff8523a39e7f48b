"""An update every k1 time steps, back through k2: TBPTT(k1, k2).

    g = d/dtheta of the mean of L_t over the last k1 time steps, the state k2 time steps ago given

Each loss counts in one update, and goes back k2 - k1 + 1 to k2 time steps, its own included: never as few as behind
the left edge of a window. The work is shared: each time step is computed forward once, and what it computed is kept
until it lies k2 time steps back (past.py). So an update costs k1 time steps forward and k2 back. Memory is that of k2
time steps, and of a copy of the parameters for each k1 of them: what was computed with the parameters of its time has
the derivatives of that time.

BPTT(h; h') of Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
Trajectories, 1990; k1 and k2 as in Sutskever, Training Recurrent Neural Networks, 2013.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn import device, kernels
from micrornn.bptt.chain import Chain, Link, record, record_all
from micrornn.bptt.past import Past
from micrornn.bptt.way import Step, Way
from micrornn.errors import CheckpointError, ConfigError, counted
from micrornn.tape import Tensor


class K1K2(Way):
    def prepare(self) -> None:
        self.k1, self.k2 = self.typed.whole
        most = self.batches.num_windows * self.k1
        if self.k2 > most:
            raise ConfigError(
                f"`backprop={self.config.backprop}`: there is nothing to go back {counted(self.k2, 'time step')} "
                f"through; the lanes have {most:,}"
            )
        copies, room = -(-(self.k2 - self.k1) // self.k1), device.memory()
        needed = copies * len(self.model.flat) * np.dtype(self.config.dtype).itemsize
        if room and needed > room:
            raise ConfigError(
                f"`backprop={self.config.backprop}` keeps the parameters of {counted(copies, 'update')}: "
                f"{needed / 1e9:,.2g} GB, and the machine has {room / 1e9:,.2g}; take a larger K1 or a smaller K2"
            )
        self.past = Past(self.model, self.k2 - self.k1)

    def next(self, update: int) -> Step:
        if self.batches.window in (0, self.batches.num_windows):
            self.past.keep(0)
        inputs, targets, state = self.batches.next()
        weights = None
        if self.k2 > self.k1:
            table, flat = kernels.of(self.model.flat.data), self.model.flat
            weights = table.empty(flat.data.shape, flat.data.dtype)
            weights[...] = flat.data
        dloss = self.k1 if self.config.loss == "sum" else 1.0
        link = Link(np.array(inputs), np.array(targets), state, update, weights=weights, dloss=dloss)
        links = self._split(link) if self.past.pieces is None else [link]
        return Chain(self.model, links, past=self.past)

    def _split(self, link: Link) -> list[Link]:
        """With a border k2 time steps before the end of each update to come: for what is walked tape by tape."""
        cut, found = self.k1 - self.k2 % self.k1, []
        for part in (slice(0, cut), slice(cut, self.k1)):
            if len(link.inputs[part]):
                state = None if part.start else link.state
                read, share = (link.inputs[part], link.targets[part], state), len(link.inputs[part]) / self.k1
                found.append(Link(*read, link.update, part.start, link.weights, link.dloss * share))
        return found

    def commit(self, step: Chain) -> None:
        super().commit(step)
        most, links = self.k2 - self.k1, step.links
        if most and self.past.pieces is not None and not self.past.add(links[0]):  # the first of all
            links = self._split(links[0])
            record_all(self.model, links)
        if self.past.pieces is None:
            for n, link in enumerate(links):
                if sum(map(len, links[n:])) <= most:
                    self.past.add(link)

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What the kept time steps read, from which they are computed again."""
        arrays: dict[str, np.ndarray] = {}
        for n, link in enumerate(self.past.links):
            arrays |= {f"{n}/inputs": link.inputs, f"{n}/targets": link.targets}
            arrays |= {f"{n}/state/{at}": device.host(part.data) for at, part in enumerate(link.state or ())}
            if link.weights is not None and (not link.start or n == 0):  # links of one update share them
                arrays[f"{n}/weights"] = device.host(link.weights)
        return arrays, {name + "s": [getattr(link, name) for link in self.past.links] for name in ("update", "start")}

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        table, flat, states = kernels.of(self.model.flat.data), self.model.flat, len(self.model.rnn.cell.states)
        left, weights = set(arrays), None
        self.past.keep(0)
        try:
            for n, (update, start) in enumerate(zip(meta["updates"], meta["starts"], strict=True)):
                if f"{n}/weights" in arrays:
                    weights = table.asarray(_like(arrays[f"{n}/weights"], flat.data.shape, flat.data.dtype))
                names = [f"{n}/state/{at}" for at in range(states)]
                state = None
                if names[0] in arrays:
                    state = tuple(Tensor(table.asarray(_like(arrays[name], None, flat.data.dtype))) for name in names)
                link = Link(arrays[f"{n}/inputs"], arrays[f"{n}/targets"], state, int(update), int(start), weights)
                left -= {f"{n}/inputs", f"{n}/targets", f"{n}/weights", *names}
                record(self.model, link)
                if not self.past.add(link):  # tape by tape, then, and the borders are there
                    self.past.add(link)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(f"what `backprop={self.config.backprop}` has kept is damaged: {error}") from None
        if left or len(self.past.links) < len(meta["updates"]):
            raise CheckpointError(f"the checkpoint holds more than `backprop={self.config.backprop}` keeps")


def _like(array: np.ndarray, shape: tuple[int, ...] | None, dtype: np.dtype) -> np.ndarray:
    if array.dtype != dtype or (shape is not None and array.shape != shape):
        raise ValueError(f"an array of {array.dtype} {array.shape}")
    return array
