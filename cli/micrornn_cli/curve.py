"""The learning curve of a run so far, as a small picture for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.text import Text

from micrornn.inspect.panels import Curve, Lines
from micrornn.train import Report
from micrornn_cli.chart import chart

MOST_POINTS = 400  # of the training loss; if there are more, every second one is dropped
WIDEST = 120  # columns
ENOUGH = 5  # points from which on a curve is drawn


class CurveSoFar:
    """Training loss (a moving average) and validation loss over updates, beside a baseline without a network: its name,
    such as "by frequency alone", and its loss."""

    def __init__(self, kind: str, baseline: tuple[str, float] | None, history: Sequence[Mapping[str, Any]]):
        self.kind, self.baseline = kind, baseline
        self.stride, self.points = 1, [(row["update"], row["loss"]) for row in history]
        self.validations = [(row["update"], row["val_loss"]) for row in history if row["val_loss"] is not None]

    def add(self, report: Report, loss: float) -> None:
        """One more update; `loss` is the average that is shown."""
        if report.update % self.stride == 0:
            self.points.append((report.update, loss))
        if len(self.points) > MOST_POINTS:
            self.points, self.stride = self.points[::2], 2 * self.stride
        if report.val_loss is not None:
            self.validations.append((report.update, report.val_loss))

    def drawn(self, width: int, height: int) -> Text:
        """The picture, with curves in `height` lines; empty until there are enough points."""
        if len(self.points) < ENOUGH:
            return Text()
        curves = [self._curve("training", self.points)]
        if self.validations:
            curves.append(self._curve("validation", self.validations))
        ends = self.points[0][0], self.points[-1][0]
        if self.baseline is not None:
            words, loss = self.baseline
            curves.append(self._curve(words, [(update, loss) for update in ends]))
        unit = {"word": "perplexity", "": "loss"}.get(self.kind, "bits")
        panel = Lines("", "update", unit, curves, log_y=self.kind == "word")
        return chart(panel, min(width - 1, WIDEST), height, colour=True)

    def _curve(self, name: str, points: Sequence[tuple[int, float]]) -> Curve:
        x, y = (np.array(column, float) for column in zip(*points))
        if self.kind == "word":
            return Curve(name, x, np.exp(np.minimum(y, 700)))
        return Curve(name, x, y / math.log(2) if self.kind else y)
