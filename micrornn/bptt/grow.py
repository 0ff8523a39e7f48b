"""Windows that grow: num_steps doubles from A to B.

`grow:A-B:every=N` doubles the window every N updates. `grow:A-B:bias=X` looks every N updates whether it is too short:
on the next windows of twice the length it compares the gradient g of the whole with g_K, cut in the middle, and
doubles where

    || E g_K - E g || > X || E g ||,    E over PIECES pieces of text

Of two pieces i, j the errors are independent, so that E <d_i, d_j> = || E d ||^2 for d = g_K - g has no noise in it.
A window costs what one of `window` costs; a look costs 4 PIECES windows forward and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from micrornn import device
from micrornn.bptt.way import Step, Way, join, left_of_epoch
from micrornn.errors import CheckpointError, ConfigError, counted

PIECES = 8


class Grow(Way):
    needs_carried = False

    def prepare(self) -> None:
        low, high = self.typed.whole
        most = self.batches.num_windows * self.config.num_steps
        if high > most:
            raise ConfigError(
                f"`backprop={self.config.backprop}`: windows cannot grow to {counted(high, 'time step')}; "
                f"the lanes have {most:,}"
            )
        self.num_steps = low
        self.looked = 0  # the update before which the bias was measured last

    def next(self, update: int) -> Step:
        self._grow(update)
        self.batches_read = min(self.num_steps // self.config.num_steps, left_of_epoch(self.batches))
        return self.segments(*join(self.batches, self.batches_read), update)

    def _grow(self, update: int) -> None:
        (low, high), every, limit = self.typed.whole, int(self.typed.options["every"]), self.typed.options.get("bias")
        if limit is None:
            self.num_steps = min(low << min(update // every, 31), high)
        elif update and update % every == 0 and self.looked < update:
            self.looked = update
            if self.num_steps < high and self.bias(update) > limit:
                self.num_steps = min(2 * self.num_steps, high)

    def bias(self, update: int) -> float:
        """What windows of num_steps do to the mean gradient of the text that comes next, relative to its norm."""
        batches, flat = self.batches, self.model.flat
        position, grad = (batches.epoch, batches.window, batches.state), device.host(flat.grad).copy()
        half = self.num_steps // self.config.num_steps
        whole, off = [], []
        for _ in range(PIECES):
            if left_of_epoch(batches) < 2 * half:
                break
            inputs, targets, state = join(batches, 2 * half)
            step = self.segments(inputs, targets, state, update)
            step.backward()
            batches.carry(step.last)
            whole.append(device.host(flat.grad).astype(np.float64))
            cut = np.zeros_like(whole[-1])
            for part in (slice(0, self.num_steps), slice(self.num_steps, None)):
                window = self.segments(inputs[part], targets[part], state, update)
                window.backward()
                state = window.last
                cut += device.host(flat.grad) / 2
            if self.config.loss == "sum":
                cut *= 2
            off.append(cut - whole[-1])
        batches.epoch, batches.window, batches.state = position
        flat.grad[...] = grad
        signal, square = _pairs(whole), _pairs(off)
        return float(np.sqrt(square / signal)) if signal > 0 and square > 0 else 0.0

    @property
    def per_epoch(self) -> int | None:
        return None

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, {"num_steps": self.num_steps, "looked": self.looked}

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        low, high = self.typed.whole
        num_steps, looked = meta.get("num_steps"), meta.get("looked")
        if arrays or type(num_steps) is not int or type(looked) is not int or not low <= num_steps <= high:
            raise CheckpointError(f"the checkpoint does not say where `backprop={self.config.backprop}` is")
        self.num_steps, self.looked = num_steps, looked


def _pairs(rows: list[np.ndarray]) -> float:
    """The sum of <r_i, r_j> over all pairs i != j; of a single row, its square."""
    if len(rows) < 2:
        return float(sum(row @ row for row in rows))
    return float(np.square(np.sum(rows, axis=0)).sum() - sum(row @ row for row in rows))
