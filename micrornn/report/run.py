"""What a page says of the run itself: facts, learning curve, and the text as it was read in lanes and windows.

Run         all of that
run_of      the run of a subject
learning    the learning curve as a panel
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micrornn.checkpoint import RunFolder
from micrornn.config import learning as learning_of
from micrornn.data import Lanes, Vocab
from micrornn.errors import CheckpointError, MicrornnError, counted, named
from micrornn.inspect.panels import Curve, Lines
from micrornn.inspect.subject import Subject
from micrornn.runs import own_task
from micrornn.schema import check_table
from micrornn.snapshot import REPORT


@dataclass(frozen=True)
class Run:
    """name and facts: how the run is told; metrics: the rows of metrics.jsonl; lanes: the text that it learns from
    as it is read in training, None where that is not at hand; carried: whether its windows hand on their state;
    command: what wrote the page, and the tool that it is of; unit: of the loss."""

    name: str
    facts: Sequence[tuple[str, str]] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    lanes: Lanes | None = None
    vocab: Vocab | None = None
    carried: bool = True
    command: str = ""
    tool: str = "inspect"
    unit: str = "nats per token"


def run_of(subject: Subject, command: str = "") -> Run:
    """The run that a subject is of. What lies no longer beside the checkpoint is left out. CheckpointError for metrics
    that are damaged."""
    config, meta, model = subject.model.config, subject.meta, subject.model
    unit = subject.material.unit
    facts = [
        ("model", f"{config.num_layers} x {config.hidden_size} {config.cell_title}, "
                  f"{counted(len(model.flat), 'parameter')}"),
        ("learning", learning_of(config)),
        ("checkpoint", f"{Path(meta['path']).name}, after {counted(meta['updates'], 'update')}"),
    ]  # fmt: skip
    if meta.get("best_val_loss") is not None:
        facts.append(("best validation loss", f"{meta['best_val_loss']:.3f} {unit}"))
    try:
        folder = RunFolder.open(Path(meta["path"]).parent)
    except CheckpointError:  # a checkpoint that lies alone
        folder = None
    metrics: Sequence[Mapping[str, Any]] = [] if folder is None else _checked(folder)
    lanes = None
    try:
        if subject.material.vocab and not config.lines:  # whose windows are no columns of the text
            lanes = own_task(meta, device="cpu").lanes
    except MicrornnError:
        pass
    metrics = metrics or meta.get("history", ())
    return Run(subject.run, facts, metrics, lanes, subject.material.vocab, config.state == "carried", command,
               unit=unit)  # fmt: skip


def _checked(folder: RunFolder) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl. CheckpointError where one is not what training writes."""
    where, rows = named(folder.metrics_path), enumerate(folder.metrics(), 1)
    return [check_table(row, REPORT, f"{where}:{number}", CheckpointError) for number, row in rows]


def learning(metrics: Sequence[Mapping[str, Any]], unit: str = "nats per token") -> Lines | None:
    """The learning curve: training and validation loss over updates. None if there are not two points of it."""
    rows = [row for row in metrics if isinstance(row.get("update"), int)]
    curves = []
    for name, key in (("training, smoothed", "loss"), ("validation", "val_loss")):
        points = [(row["update"], row[key]) for row in rows if isinstance(row.get(key), int | float)]
        if points:
            x, y = np.array(points, float).T
            curves.append(Curve(name, x, _smooth(y) if key == "loss" else y))
    if not curves or len(curves[0].x) < 2:
        return None
    return Lines("Loss over training", "update", f"loss, {unit}", curves)


def _smooth(y: np.ndarray) -> np.ndarray:
    """The mean over a hundredth of the run around each place."""
    half = len(y) // 200
    sums = np.concatenate([[0.0], np.cumsum(y)])
    at = np.arange(len(y))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(y))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means
