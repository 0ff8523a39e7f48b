"""The gradient of one window of text, whole and cut off K time steps back, in the two ways of inspect/truncation.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.inspect.recorded import Layer, record
from micrornn.inspect.sweep import Scratch, apart, needed, sweep, vjp
from micrornn.inspect.window import Window
from micrornn.kernels import Kernels
from micrornn.ops.recurrent import NO_MASK


class Cuts:
    """The gradient of the mean loss over one window, whole and truncated.

    row       g_K as it is now: the recurrent parameters and the embedding, if there is one, in an order of their own
    full      g in the same order
    rest      the gradient of all other parameters, one after the other. They act at the loss's own time step alone, and
              no truncation changes them
    """

    def __init__(self, model: Any, window: Window, scratch: Scratch | None = None):
        """scratch: arrays to work in, which several windows may share one after the other."""
        self.model, self.inputs = model, np.array(window.inputs)
        self.embedding = getattr(model, "embedding", None)
        if self.embedding is not None and not self.embedding.weight.requires_grad:  # a token is a 1 among zeros
            self.embedding = None
        inside = {f"rnn.{name}" for name in model.rnn.weights} | {"embedding.weight"}
        above = [p for name, p in model.flat.parameters.items() if name not in inside]
        # A tied embedding is read by the output layer, too: that part of its gradient, no truncation changes.
        tied = [model.decoder.weight] if self.embedding is not None and model.config.tied else []
        levels, self.dy, gradients = apart(record(model, window), 1.0, [*above, *tied])
        whole = gradients.pop().reshape(-1) if tied else None
        self.above = {p.name: gradient for p, gradient in zip(above, gradients)}
        self.rest = np.concatenate([gradient.reshape(-1) for gradient in gradients])
        self.layers = [level[0] for level in reversed(levels)]  # the top one first
        self.k, self.scratch = kernels.of(self.dy), scratch or Scratch(self.dy.dtype)
        self.products = [_Products(layer) for layer in self.layers]
        sizes = [product.size for product in self.products]
        read = 0 if self.embedding is None else self.embedding.weight.data.size
        self.row = np.zeros(sum(sizes) + read, self.dy.dtype)
        self.slices = [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes))]
        self.table, self.above_table = slice(sum(sizes), None), np.zeros((), self.dy.dtype)
        self.windows(len(self.dy))
        if whole is not None:
            self.above_table = whole - self.row[self.table]
            self.row[self.table] += self.above_table
        self.full = self.row.copy()

    @property
    def losses(self) -> int:
        """Of how many the loss is the mean."""
        return int(np.prod(self.dy.shape[:2]))

    def _clear(self) -> None:
        self.row[...] = 0
        self.row[self.table] = self.above_table

    def by_lag(self) -> Iterator[tuple[float, np.ndarray]]:
        """`row` becomes `back` for K = 1, 2, ..., T in turn. Each gives (mean over losses and lanes of the norm of
        dL_s / d(h, c)_(s-K+1), and the mean of that gradient itself), over all layers together."""
        self._clear()
        squares: np.ndarray | float = 0.0
        mean: list[np.ndarray] = []
        for n, diagonal in enumerate(sweep([[layer] for layer in reversed(self.layers)], self.dy)):
            at = n % len(self.layers)
            self._add(at, diagonal.steps, diagonal.dgates, diagonal.dhidden, diagonal.dx, diagonal.dvectors)
            for gradient in diagonal.dstates:
                squares = squares + np.square(gradient, dtype=np.float64).sum(axis=2)
                mean.append(gradient.mean(axis=(0, 1), dtype=np.float64))
            if at == len(self.layers) - 1:
                yield float(np.sqrt(squares).mean()), np.concatenate(mean)
                squares, mean = 0.0, []

    def windows(self, num_steps: int) -> None:
        """`row` becomes `windows` for K = num_steps: a backward pass that stops at the border of each window."""
        self._clear()
        dout, everything = self.dy, slice(0, len(self.dy))
        for at, layer in enumerate(self.layers):
            gates, sided = layer.saved["gates"], layer.program.sided
            dgates = self.scratch.room("dgates", *gates.shape)
            dhidden = self.scratch.room("dhidden", *gates.shape) if sided else dgates
            whole = len(gates) // num_steps * num_steps
            # windows side by side, as if they were lanes: (time step in the window, window); the last may be short
            starts = [(num_steps, np.arange(0, whole, num_steps)), (len(gates) - whole, np.array([whole]))]
            dvectors = [np.zeros_like(vector) for vector in layer.saved["vectors"]]
            for length, start in starts:
                if length:
                    found = self._beside(layer, dout, dgates, dhidden, start + np.arange(length)[:, None])
                    dvectors = [one + more for one, more in zip(dvectors, found)]
            weight_ih = layer.saved["weights"][0]
            dout = self.scratch.room(f"dx{at}", *gates.shape[:2], weight_ih.shape[1])
            self.k.matmul(dout.reshape(-1, dout.shape[2]), dgates.reshape(-1, dgates.shape[2]), weight_ih)
            self._add(at, everything, dgates, dhidden, dout, dvectors)

    def _beside(self, layer: Layer, dy: np.ndarray, dgates: np.ndarray, dhidden: np.ndarray,
                 steps: np.ndarray) -> list[np.ndarray]:  # fmt: skip
        """Fill dgates (and dhidden) at these time steps (n, windows), each column a window cut off from the others; the
        gradients of the cell's vectors."""
        saved, room = layer.saved, self.scratch.room
        n, rows = len(steps), steps.shape[1] * dy.shape[1]

        def take(name: str, array: np.ndarray, at: np.ndarray) -> np.ndarray:
            out = room(name, *at.shape, *array.shape[1:])
            np.take(array, at, axis=0, out=out, mode="clip")
            return out.reshape(len(at), rows, array.shape[2])

        grads = []
        for name in layer.states:
            grad = room(f"d{name}", n + 1, rows, saved[name].shape[2])
            grad[...] = 0
            grads.append(grad)
        grads[0][1:] = take("dy", dy, steps)
        around = np.concatenate([steps, steps[-1:] + 1])  # the states before and after these time steps
        gates = take("gates", saved["gates"], steps)
        part = room("part", *gates.shape)
        part_hidden = room("part_hidden", *gates.shape) if layer.program.sided else part
        dvectors = vjp(
            self.k, layer, grads, part, part_hidden, gates,
            states={name: take(name, saved[name], around) for name in needed(layer)},
            hidden=take("hidden", saved["hidden"], steps) if layer.program.sided else None,
            mask=NO_MASK,
        )  # fmt: skip
        for out, found in ((dgates, part), (dhidden, part_hidden))[: 1 + layer.program.sided]:
            out[steps] = found.reshape(*steps.shape, *out.shape[1:])
        return dvectors

    def _add(self, at: int, steps: slice, dgates: np.ndarray, dhidden: np.ndarray, dx: np.ndarray,
             dvectors: list[np.ndarray]) -> None:  # fmt: skip
        """Add to `row` what these cotangents at these time steps give to the weights of a layer, and of the embedding
        below the last."""
        self.products[at].add(self.k, self.row[self.slices[at]], steps, dgates, dhidden, dvectors)
        if at == len(self.layers) - 1 and self.embedding is not None:
            table = self.row[self.table].reshape(self.embedding.weight.shape)
            ids = self.inputs[steps].astype(np.int32).reshape(-1)
            self.k.scatter_add(table, ids, dx.reshape(-1, dx.shape[2]))

    def flat(self) -> np.ndarray:
        """g_K as it is now, in the order of model.flat: (num_parameters,)."""
        out = np.zeros(len(self.model.flat), self.row.dtype)
        found = dict(self.above)
        for product, place in zip(self.products, self.slices):
            found |= product.split(self.row[place])
        if self.embedding is not None:
            found["embedding.weight"] = self.row[self.table]
        for name, gradient in found.items():
            out[self.model.flat.slices[name]] = gradient.reshape(-1)
        return out


class _Products:
    """The gradients of one layer's parameters, one after the other in a row, from cotangents of its gates."""

    def __init__(self, layer: Layer):
        saved, cell = layer.saved, layer.cell
        self.parameters = dict(zip(cell.parameters, layer.record.inputs[1 + len(cell.states) :]))
        self.ends = np.cumsum([parameter.data.size for parameter in self.parameters.values()])
        self.size, self.vectors = int(self.ends[-1]), cell.vectors
        self.inputs = {"weight_ih": saved["x"], "weight_hh": saved[cell.states[0]][:-1]}

    def _parts(self, row: np.ndarray) -> dict[str, np.ndarray]:
        parts = np.split(row, self.ends[:-1])
        return {name: part.reshape(p.shape) for (name, p), part in zip(self.parameters.items(), parts)}

    def add(self, k: Kernels, row: np.ndarray, steps: slice, dgates: np.ndarray,
            dhidden: np.ndarray, dvectors: list[np.ndarray]) -> None:  # fmt: skip
        """Add what cotangents at these time steps give."""
        of_vectors = dict(zip(self.vectors, dvectors))
        for name, out in self._parts(row).items():
            rows = (dgates if name.endswith("_ih") else dhidden).reshape(-1, dgates.shape[2])
            if name in self.inputs:
                k.matmul(out, rows, self.inputs[name][steps].reshape(len(rows), -1), trans_a=True, accumulate=True)
            else:
                out += of_vectors[name] if name in of_vectors else rows.sum(axis=0)

    def split(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """The gradient of each parameter by its name."""
        return {self.parameters[name].name: part for name, part in self._parts(row).items()}
