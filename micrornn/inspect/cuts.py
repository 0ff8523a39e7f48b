"""The gradient of one window of text, whole and cut off K time steps back, in the two ways of inspect/truncation.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from micrornn import kernels
from micrornn.inspect.recorded import Layer, record
from micrornn.inspect.sweep import Diagonal, Scratch, apart, needed, sweep, vjp
from micrornn.inspect.window import Window
from micrornn.ops.recurrent import NO_MASK
from micrornn.tape import Tensor


class Cuts:
    """The gradient of the mean loss over one window, whole and truncated, in the order of model.flat.

    row       (num_parameters,) g_K as it is now
    full      g
    """

    def __init__(self, model: Any, window: Window, scratch: Scratch | None = None):
        """scratch: arrays to work in, which several windows may share one after the other."""
        self.slices, self.inputs = model.flat.slices, np.array(window.inputs)
        self.embedding = getattr(model, "embedding", None)
        if self.embedding is not None and not self.embedding.weight.requires_grad:  # a token is a 1 among zeros
            self.embedding = None
        inside = {f"rnn.{name}" for name in model.rnn.weights} | {"embedding.weight"}
        above = [p for name, p in model.flat.parameters.items() if name not in inside]
        # A tied embedding is read by the output layer, too: that part of its gradient, no truncation changes.
        tied = [model.decoder.weight] if self.embedding is not None and model.config.tied else []
        levels, self.dy, gradients = apart(record(model, window), 1.0, [*above, *tied])
        self.layers = [level[0] for level in reversed(levels)]  # the top one first
        self.k, self.scratch = kernels.of(self.dy), scratch or Scratch(self.dy.dtype)
        # What acts at the loss's own time step alone, no truncation changes.
        self.above, self.row = np.zeros((2, len(model.flat)), self.dy.dtype)
        for parameter, gradient in zip(above, gradients):
            self.above[self.slices[parameter.name]] = gradient.reshape(-1)
        self.windows(len(self.dy))
        for weight in tied:
            whole, table = gradients[-1].reshape(-1), self.slices[weight.name]
            self.above[table] = whole - self.row[table]
            self.row[table] = whole
        self.full = self.row.copy()

    @property
    def losses(self) -> int:
        """Of how many the loss is the mean."""
        return int(np.prod(self.dy.shape[:2]))

    def by_lag(self) -> Iterator[tuple[float, np.ndarray]]:
        """`row` becomes `back` for K = 1, 2, ..., T in turn. Each gives (mean over losses and lanes of the norm of
        dL_s / d(h, c)_(s-K+1), and the mean of that gradient itself), over all layers together."""
        self.row[...] = self.above
        squares: np.ndarray | float = 0.0
        mean: list[np.ndarray] = []
        for diagonal in sweep([[layer] for layer in reversed(self.layers)], self.dy):
            self._add(diagonal)
            for gradient in diagonal.dstates:
                squares = squares + np.square(gradient, dtype=np.float64).sum(axis=2)
                mean.append(gradient.mean(axis=(0, 1), dtype=np.float64))
            if diagonal.layer is self.layers[-1]:
                yield float(np.sqrt(squares).mean()), np.concatenate(mean)
                squares, mean = 0.0, []

    def windows(self, num_steps: int) -> None:
        """`row` becomes `windows` for K = num_steps: a backward pass that stops at the border of each window."""
        self.row[...] = self.above
        dout = self.dy
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
            self._add(Diagonal(layer, 0, 0, (), dgates, dhidden, dout, dvectors))

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

    def _add(self, at: Diagonal) -> None:
        """Add to `row` what these cotangents give to the parameters of a layer, and to the embedding below the last."""
        layer, cell = at.layer, at.layer.cell
        inputs = {"weight_ih": layer.saved["x"], "weight_hh": layer.saved[layer.states[0]][:-1]}
        of_vectors = dict(zip(cell.vectors, at.dvectors))
        for name, parameter in zip(cell.parameters, layer.record.inputs[1 + len(cell.states) :]):
            out, rows = self._of(parameter), at.dgates if name.endswith("_ih") else at.dhidden
            rows = rows.reshape(-1, rows.shape[2])
            if name in inputs:
                self.k.matmul(out, rows, inputs[name][at.steps].reshape(len(rows), -1), trans_a=True, accumulate=True)
            else:
                out += of_vectors[name] if name in of_vectors else rows.sum(axis=0)
        if layer is self.layers[-1] and self.embedding is not None:
            ids = self.inputs[at.steps].astype(np.int32).reshape(-1)
            self.k.scatter_add(self._of(self.embedding.weight), ids, at.dx.reshape(-1, at.dx.shape[2]))

    def _of(self, parameter: Tensor) -> np.ndarray:
        """Its part of `row`."""
        return self.row[self.slices[parameter.name]].reshape(parameter.shape)
