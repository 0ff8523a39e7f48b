"""A network that follows a series row by row, and says what comes behind the last one.

Follower    reads a row, keeps the state, says what comes
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micrornn import device
from micrornn.data.series import Scaling
from micrornn.errors import DivergedError
from micrornn.tape import no_tape
from micrornn.tasks.batches import State


class Follower:
    """A network that has read a series up to now.

    said    (output_size,) what it says behind the last row; None where too few rows were read for their differences
    """

    def __init__(self, model: Any, scaling: Scaling, targets: int):
        model.train(False)
        self.model, self.scaling, self.targets = model, scaling, targets
        self.known = np.empty((0, len(scaling.mean)))  # the last rows, as many as differences and forecasts ask for
        self.state: State | None = None
        self.said: np.ndarray | None = None

    def read(self, row: np.ndarray) -> None:
        """Read a row (D,). DivergedError where the network's numbers do not stay finite."""
        d = self.scaling.difference
        self.known = np.concatenate([self.known[-d - self.scaling.horizon :], row[None]])
        if len(self.known) <= d:
            return
        read = self.scaling.read(self.known[-d - 1 :])[:, None]
        with no_tape():
            outputs, self.state = self.model(read, self.state)
        self.said = device.host(outputs.data)[0, 0].astype(np.float64)
        if not np.isfinite(self.said).all():
            raise DivergedError("the network's numbers became NaN or infinite on this input")

    def ahead(self) -> np.ndarray:
        """(horizon, targets) the values that follow, as it says."""
        assert self.said is not None
        values, at = self.known[:, : self.targets], np.array([len(self.known) - 1])
        return self.scaling.values(self.said.reshape(1, self.scaling.horizon, -1), values, at)[0]
