"""A recurrent cell over a whole sequence, in one direction, as a single op. A single time step is a sequence of one.

    SequenceOp    the op of a cell
    DroppedOp     the same with recurrent dropout
    StepOp        for a cell that has no kernels of its own: a time step, recorded on a tape inside

    x (T, B, D), states (B, H) to start from, then the cell's parameters in the order in which it declares them:
    weight_ih (G H, D), weight_hh (G H, H), bias_ih, bias_hh (G H,), vectors (H,)
    mask (T, B) bool or None: what stands in x at a masked step is never looked at
    reverse: from the last step to the first; clip: limit of the message passed back
    -> y (T, B, H), and the last of each state (B, H)

The kernels are derived from the cell's step (cells/derive.py, kernels/symbols). They project the inputs, step by step
or all at once; all weight gradients are one product behind the loop.

What is saved stays readable: the states and the gates for every time step and, once a backward pass has gone through,
their cotangents: h, c, gates, dh, dc, dgates. That is what inspection reads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from micrornn import device
from micrornn.errors import ShapeError
from micrornn.kernels import Kernels
from micrornn.ops.masks import drop_nonfinite, keep, take_mask
from micrornn.tape import Op, Tape, Tensor

NO_MASK = np.ones((0, 0), bool)


class SequenceOp(Op):
    """What a cell computes over a sequence, and its way back.

    cell    whatever has a name, `gates`, `states`, `weights`, `vectors`, `parameters`, `shapes` and a `program`
    """

    many, least, most = True, 1, sys.maxsize  # of inputs; how many it must be says `_check`

    def __init__(self, cell: Any):  # not in the table of ops: a cell need not be one of ours
        self.cell, self.name, self.__doc__ = cell, cell.name, cell.__doc__
        self.forward, self.back = self._forward, self._back
        self._shapes: dict[tuple[int, int], list[tuple[int, ...]]] = {}  # of the parameters, by D and H

    def _forward(self, k: Kernels, x: np.ndarray, *given: np.ndarray, mask: Any = None, reverse: bool = False,
                 clip: float = 0.0) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:  # fmt: skip
        cell, program = self.cell, self.cell.program
        initial, parameters = given[: len(cell.states)], given[len(cell.states) :]
        if not self._fit(x, initial, parameters):
            self._refuse(x, initial, parameters)
        (seq_len, batch_size, _), size = x.shape, initial[0].shape[1]
        if mask is None:
            mask = NO_MASK
        else:
            mask = take_mask(self.name, mask)
            if mask.shape != (seq_len, batch_size):
                raise ShapeError(f"{self.name}: mask {mask.shape}, wanted (T, B) = ({seq_len}, {batch_size})")
            x = keep(k, x, mask)
        mask, states = k.asarray(mask), []
        for first in initial:
            rows = k.empty((seq_len + 1, batch_size, size), x.dtype)
            rows[seq_len if reverse else 0] = first
            states.append(rows)
        gates = k.empty((seq_len, batch_size, len(cell.gates) * size), x.dtype)
        hidden = k.empty(gates.shape, x.dtype) if program.sided else None
        named = dict(zip(cell.weights, parameters))
        weights = named["weight_ih"], named.get("weight_hh"), named["bias_ih"], named.get("bias_hh")
        vectors = parameters[len(named) :]
        k.cell_sequence(program, states, gates, hidden, x, weights, vectors, mask, reverse)
        saved = dict(zip(cell.states, states), x=x, weights=weights[:2], vectors=vectors, mask=mask, reverse=reverse,
                     clip=clip, gates=gates)  # fmt: skip
        if hidden is not None:
            saved["hidden"] = hidden
        last = 0 if reverse else seq_len
        return (_outputs(states[0], reverse), *[rows[last] for rows in states]), saved

    def _fit(self, x: np.ndarray, initial: tuple[np.ndarray, ...], parameters: tuple[np.ndarray, ...]) -> bool:
        """Whether all shapes are as they must be; if not, `_refuse` says which is not."""
        if x.ndim != 3 or 0 in x.shape or len(initial) != len(self.cell.states):
            return False
        _, batch_size, inputs = x.shape
        size = initial[0].shape[-1] if initial[0].ndim else 0
        wanted = self._shapes.get((inputs, size))
        if wanted is None:
            shapes = self.cell.shapes(inputs, size)
            wanted = self._shapes[inputs, size] = [shapes[name] for name in self.cell.parameters]
        state = (batch_size, size)
        for array in initial:
            if array.shape != state:
                return False
        return size > 0 and [array.shape for array in parameters] == wanted

    def _refuse(self, x: np.ndarray, initial: tuple[np.ndarray, ...], given: tuple[np.ndarray, ...]) -> None:
        """ShapeError that says what does not fit."""
        cell = self.cell
        if len(given) != len(cell.parameters):
            raise ShapeError(f"{self.name}: wanted x, {', '.join((*cell.states, *cell.parameters))}")
        parameters = dict(zip(cell.parameters, given))
        rows = parameters["weight_ih"].shape[:1]
        size = rows[0] // len(cell.gates) if rows else 0
        shapes = cell.shapes(x.shape[-1] if x.ndim else 0, size)
        fits = all(array.shape == shapes[name] for name, array in parameters.items())
        if x.ndim != 3 or 0 in x.shape or not size or not fits:
            found = ", ".join(f"{name} {array.shape}" for name, array in parameters.items())
            count = len(cell.gates)
            words = {"weight_ih": f"({count}H, D)", "weight_hh": f"({count}H, H)", "bias_ih": f"({count}H,)"}
            words["bias_hh"] = words["bias_ih"]
            wanted = ", ".join(words.get(name, "(H,)") for name in parameters)
            raise ShapeError(f"{self.name}: x {x.shape}, {found}; wanted (T, B, D), {wanted}, none of them 0")
        for name, state in zip(cell.states, initial):
            if state.shape != (x.shape[1], size):
                raise ShapeError(f"{self.name}: initial {name} {state.shape}, wanted (B, H) = ({x.shape[1]}, {size})")

    def _back(self, k: Kernels, saved: dict[str, Any], dys: tuple[Any, ...],
              needs: tuple[bool, ...]) -> tuple[Any, ...]:  # fmt: skip
        cell, program = self.cell, self.cell.program
        gates, reverse, mask, x, (dy, *dlast) = saved["gates"], saved["reverse"], saved["mask"], saved["x"], dys
        if dy is not None and mask.size:
            dy = drop_nonfinite(k, dy, mask)
        dstates = self._arrived(k, saved, dy, dlast)
        dgates = k.empty(gates.shape, gates.dtype)
        dhidden = k.empty(gates.shape, gates.dtype) if program.sided else dgates
        dvectors = self.cell_back(k, saved, dgates, dhidden, dstates)
        for name, drows in zip(cell.states, dstates):
            saved[f"d{name}"] = drows
        saved["dgates"] = dgates
        if program.sided:
            saved["dhidden"] = dhidden
        first, dx = -1 if reverse else 0, None
        if needs[0]:
            dx = k.empty(x.shape, x.dtype)
            k.matmul(dx.reshape(-1, x.shape[2]), dgates.reshape(-1, dgates.shape[2]), saved["weights"][0])
        before = _outputs(saved[cell.states[0]], not reverse)
        if mask.size and cell.recurrent:  # a lane that is masked throughout may have started from NaN
            before = keep(k, before, mask)
        dweights = self.weight_gradients(k, x, before, dgates, dhidden)
        return dx, *[drows[first] for drows in dstates], *[dweights[name] for name in cell.weights], *dvectors

    def _arrived(self, k: Kernels, saved: dict[str, Any], dy: Any, dlast: Sequence[Any]) -> list[np.ndarray]:
        """The cotangents of the states, holding so far what comes from outside the layer."""
        states, reverse = [saved[name] for name in self.cell.states], saved["reverse"]
        dstates = [_seeded(k, states[0], reverse, dy, dlast[0])]
        for rows, last in zip(states[1:], dlast[1:]):
            drows = k.empty(rows.shape, rows.dtype)
            drows[0 if reverse else -1] = 0 if last is None else last
            dstates.append(drows)
        return dstates

    def cell_back(self, k: Kernels, saved: dict[str, Any], dgates: np.ndarray, dhidden: np.ndarray,
                  dstates: list[np.ndarray]) -> list[np.ndarray]:  # fmt: skip
        """From the cotangents of the states (T + 1, B, H), which hold what comes from outside the layer, to those of
        the gates, to those of the states before, all of them written in place; the cotangents of the vectors."""
        cell, program = self.cell, self.cell.program
        dvectors = [k.empty(vector.shape, vector.dtype) for vector in saved["vectors"]]
        k.cell_sequence_vjp(
            program, dgates, dhidden, dstates, dvectors, [saved[name] for name in cell.states], saved["gates"],
            saved.get("hidden"), saved["weights"][1], saved["vectors"], saved["mask"], saved["reverse"], saved["clip"],
        )  # fmt: skip
        return dvectors

    def weight_gradients(self, k: Kernels, x: np.ndarray, before: np.ndarray, dgates: np.ndarray, dhidden: np.ndarray,
                         into: dict[str, Any] | None = None) -> dict[str, np.ndarray]:  # fmt: skip
        """Gradients of weights and biases by name, each as one product over all time steps and lanes.

        x, before    what the layer read, and the h that each step started from
        into         arrays by name to which they are added
        """
        found: dict[str, np.ndarray] = {}
        for side, cotangents, read in (("ih", dgates, x), ("hh", dhidden, before))[: 1 + self.cell.recurrent]:
            rows, weight, bias = cotangents.reshape(-1, dgates.shape[2]), f"weight_{side}", f"bias_{side}"
            found[weight] = into[weight] if into else k.empty((rows.shape[1], read.shape[2]), x.dtype)
            k.matmul(found[weight], rows, read.reshape(-1, read.shape[2]), trans_a=True, accumulate=into is not None)
            if side == "hh" and dhidden is dgates:
                found[bias] = found["bias_ih"]
            else:
                found[bias] = k.empty(rows.shape[1:], x.dtype)
                k.sum(found[bias].reshape(1, -1), rows.reshape(1, *rows.shape), False)
            if into:
                k.accumulate(into[bias], found[bias])
        return found


class DroppedOp(SequenceOp):
    """The op of a cells.dropped.Dropped: behind the states, keep (B, H) is told, which is no state to whoever calls it.
    `saved` holds h and dh as without dropout."""

    def _forward(self, k: Kernels, x: np.ndarray, *given: np.ndarray, reverse: bool = False,
                 **options: Any) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:  # fmt: skip
        h, keep = given[0], given[len(self.cell.states) - 2]
        through = k.empty(h.shape, h.dtype)
        k.mul(through, h, keep)
        ends, saved = super()._forward(k, x, through, *given, reverse=reverse, **options)
        return (_outputs(saved[self.cell.states[1]], reverse), *ends[2:-1]), saved

    def _arrived(self, k: Kernels, saved: dict[str, Any], dy: Any, dlast: Sequence[Any]) -> list[np.ndarray]:
        rows = saved["arrived"] = _seeded(k, saved[self.cell.states[0]], saved["reverse"], dy, None)
        if dy is not None and saved["mask"].size:
            _hand_back(k, rows, saved["mask"], saved["reverse"])
        return super()._arrived(k, saved, None, [None, *dlast, None])

    def cell_back(self, k: Kernels, saved: dict[str, Any], dgates: np.ndarray, dhidden: np.ndarray,
                  dstates: list[np.ndarray]) -> list[np.ndarray]:  # fmt: skip
        return super().cell_back(k, saved | {self.cell.states[0]: saved["arrived"]}, dgates, dhidden, dstates)

    def _back(self, k: Kernels, saved: dict[str, Any], dys: tuple[Any, ...],
              needs: tuple[bool, ...]) -> tuple[Any, ...]:  # fmt: skip
        dx, dthrough, dh, *others = super()._back(k, saved, dys, needs)
        count, first = len(self.cell.states), -1 if saved["reverse"] else 0
        total = k.empty(dh.shape, dh.dtype)
        k.mul(total, dthrough, saved[self.cell.states[-1]][first])
        k.accumulate(total, dh)
        k.accumulate(total, saved.pop("arrived")[first])  # what came back to masked first steps
        return dx, total, *others[: count - 3], None, *others[count - 2 :]


class StepOp(Op):
    """One time step as one record: what `run` records lies on a tape of its own, and is walked back over there.

    run(*tensors) -> a tuple of tensors
    """

    many, least, most = True, 1, sys.maxsize

    def __init__(self, cell: Any):
        self.name, self.__doc__ = cell.name, cell.__doc__
        self.forward, self.back = self._forward, self._back

    def _forward(self, k: Kernels, *arrays: np.ndarray, run: Any) -> tuple[tuple[np.ndarray, ...], Any]:
        inputs = [Tensor(array, requires_grad=True) for array in arrays]
        with Tape() as tape:
            outputs = run(*inputs)
        return tuple(tensor.data for tensor in outputs), (tape, inputs, outputs)

    def _back(self, k: Kernels, saved: Any, dys: Any, needs: tuple[bool, ...]) -> list[np.ndarray | None]:
        tape, inputs, outputs = saved
        arrived = [(y, dy) for y, dy in zip(outputs, dys if isinstance(dys, tuple) else (dys,)) if dy is not None]
        return tape.cotangents(inputs, [y for y, _ in arrived], [dy for _, dy in arrived])


def _outputs(rows: np.ndarray, reverse: bool) -> np.ndarray:
    """The state after each step, of rows (T + 1, B, H); with `not reverse` the one that each step started from."""
    return rows[:-1] if reverse else rows[1:]


def _hand_back(k: Kernels, rows: np.ndarray, mask: np.ndarray, reverse: bool) -> None:
    """What comes back to the output of a masked step (rows (T + 1, B, H)) goes to the one before, which it repeats."""
    if device.of(mask) == "cpu" and not _outputs(rows, reverse)[~mask].any():
        return
    for t in range(len(mask)) if reverse else reversed(range(len(mask))):
        cur, prev = (t, t + 1) if reverse else (t + 1, t)
        masked = k.empty(rows[cur].shape, rows.dtype)
        k.sub(masked, rows[cur], keep(k, rows[cur], mask[t]))
        k.accumulate(rows[prev], masked)


def _seeded(k: Kernels, rows: np.ndarray, reverse: bool, dy: Any, dlast: Any) -> np.ndarray:
    """Cotangents of the first state, holding so far what comes from outside the layer."""
    drows = k.empty(rows.shape, rows.dtype)
    first, last = (-1, 0) if reverse else (0, -1)
    drows[first] = 0
    _outputs(drows, reverse)[...] = 0 if dy is None else dy
    if dlast is not None:
        k.accumulate(drows[last], dlast)
    return drows
