"""What training tells of an update: a report, and one that waits for its validation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """What one update did. loss and val_loss as the task has them, of a text in nats per token, averaged over time and
    lanes; the gradient's norm before clipping; seconds and tokens since the start of the run; tokens_per_second of this
    update. score: the validation's metric that chooses best.ckpt, where that is not the loss."""

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
    """An update whose weights have moved and which is not yet in the history, in metrics.jsonl and gradients.jsonl: if
    a signal comes before it is, a resumed run begins with that, and with the validation that was due.

    report, gradients    the report, without its validation, and the row of gradients.jsonl, if there is one
    """

    report: Report
    gradients: dict[str, Any] | None
