"""What tasks share whose answers are classes.

Classifying    accuracy, which class is taken for which, and answers with probabilities
shares         outputs to probabilities
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from micrornn import device
from micrornn.data.sequences import Padded
from micrornn.tape import no_tape
from micrornn.tasks.task import Confusion, Metric, State, Task


class Classifying(Task):
    """A class for each sequence, or at each time step. The network's outputs are logits: (..., V) of V classes, or
    (..., 1) for the second one of two.

    labels    of the classes; without baselines of its own, a task has them equally often
    """

    metrics: ClassVar[Sequence[Metric]] = (Metric("loss", "nats"), Metric("accuracy", "", "higher"))
    labels: Sequence[str] = ()

    def found(self, model: Any, inputs: Any, targets: np.ndarray,
              state: State | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, State]:  # fmt: skip
        """(right, found, mask, last state) of a batch, arrays of one shape: the numbers of the right classes, of those
        that a network finds, and which of both count."""
        with no_tape():
            outputs, last = model(inputs, state)
        logits = device.host(outputs.data)
        found = logits.argmax(axis=-1) if logits.shape[-1] > 1 else (logits[..., 0] > 0).astype(int)
        per_step = isinstance(inputs, Padded) and inputs.mask.shape == found.shape
        mask = inputs.mask if per_step else np.ones(found.shape, bool)
        return np.reshape(targets, found.shape).astype(int), found, mask, last

    def scores(self, model: Any, inputs: Any, targets: Any, state: State | None) -> Mapping[str, tuple[float, float]]:
        right, found, mask, _ = self.found(model, inputs, targets, state)
        return {"accuracy": (float((right == found)[mask].sum()), float(mask.sum()))}

    @property
    def baselines(self) -> Mapping[str, tuple[str, float]]:
        count = len(self.labels)
        return {"loss": ("by guessing", math.log(count)), "accuracy": ("by guessing", 1 / count)}

    @property
    def baseline(self) -> tuple[str, float] | None:  # type: ignore[override]
        return self.baselines.get("loss")

    def confusion(self, model: Any) -> Confusion | None:
        batches = self.validation()
        if batches is None:
            return None
        counts = np.zeros((len(self.labels), len(self.labels)), np.int64)
        model.train(False)
        for _ in range(batches.num_windows):
            right, found, mask, last = self.found(model, *batches.next())
            np.add.at(counts, (right[mask], found[mask]), 1)
            batches.carry(last)
        return Confusion(self.labels, counts)

    def answer(self, outputs: np.ndarray, example: Any, proba: bool) -> dict[str, Any]:
        """The class of a sequence, of outputs (V,), and the probability of each; or that of each time step, of outputs
        (seq_len, V), with the probabilities of those that were chosen: all would be hundreds of numbers a line."""
        each = shares(outputs)
        if each.ndim > 1:
            told: dict[str, Any] = {"answer": " ".join(self.labels[n] for n in each.argmax(axis=1).tolist())}
            return told | ({"probabilities": each.max(axis=1).tolist()} if proba else {})
        told = {"answer": self.labels[int(each.argmax())]}
        return told | ({"probabilities": dict(zip(self.labels, each.tolist()))} if proba else {})


def shares(logits: np.ndarray) -> np.ndarray:
    """The probabilities (..., V) of logits (..., V), in float64; of the second class's logits alone, (..., 1),
    those of both, (..., 2)."""
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    found = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))
