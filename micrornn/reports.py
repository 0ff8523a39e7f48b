"""What training says about an update: a report, and an update that still waits for its validation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What one update did.

    loss, val_loss       in the task's unit; for text in nats per token, averaged over time steps and lanes
    grad_norm            before clipping
    seconds, tokens      since the start of the run
    tokens_per_second    of this update
    score                the metric that chooses best.ckpt, if that is not the loss
    """

    update: int
    tokens: int
    seconds: float
    loss: float
    val_loss: float | None
    lr: float
    grad_norm: float
    tokens_per_second: float
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        found = dataclasses.asdict(self)
        return {name: value for name, value in found.items() if name != "score" or value is not None}


@dataclass(frozen=True)
class Pending:
    """An update that has changed the weights and is not written yet to the history, metrics.jsonl and gradients.jsonl.
    If a signal stops the run here, a resumed run begins by writing it, and by the validation that is due.

    report       without its validation
    gradients    the row for gradients.jsonl, if there is one
    """

    report: Report
    gradients: dict[str, Any] | None
