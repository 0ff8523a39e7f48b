"""The training loop: yields a report per update and prints nothing.

Training(config, tokens)    model, optimizer, schedule, place in the data; all that a checkpoint holds
.update()                   one window forward and backward, one optimizer step -> Report
.validate()                 mean loss over the held-out part; touches nothing that training uses
load_run(path)              a trained model, from a run folder or a checkpoint
run(training, folder)       update after update, validating, checkpointing, until a limit is reached
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micrornn import device
from micrornn.bptt import Windows
from micrornn.checkpoint import RunFolder, StrPath, load
from micrornn.config import Config
from micrornn.data import Lanes, Tokens, Vocab, split
from micrornn.errors import CheckpointError, DivergedError
from micrornn.evaluate import window_losses
from micrornn.ops import cross_entropy
from micrornn.optim import Optimizer, Schedule, clip_scale, global_norm
from micrornn.tape import Tape
from micrornn.tasks.text import LanguageModel, require_memory

CHECKPOINT_SECONDS = 30.0
LIMITS = ("num_updates", "epochs", "max_minutes")  # what a resumed run may change


@dataclass(frozen=True)
class Report:
    """What one update did. loss and val_loss in nats per token, averaged over time and lanes; the gradient's norm
    before clipping; seconds and tokens since the start of the run; tokens_per_second of this update."""

    update: int
    tokens: int
    seconds: float
    loss: float
    val_loss: float | None
    lr: float
    grad_norm: float
    tokens_per_second: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Training:
    """Everything that changes while a model learns from a text."""

    def __init__(self, config: Config, tokens: Tokens):
        device.require(config.device)
        self.config, self.tokens, self.vocab = config, tokens, tokens.vocab
        training, validation = split(tokens, config.val_fraction)
        self.lanes = Lanes(training, config.batch_size, config.num_steps)
        self.val_lanes = (
            Lanes.validation(validation, config.batch_size, config.num_steps) if config.val_fraction else None
        )
        require_memory(config, self.vocab.size)
        self.model = LanguageModel(config, self.vocab.size)
        self.optimizer = Optimizer(self.model.flat, config.optimizer)
        self.windows = Windows(self.lanes, carried=config.state == "carried")
        self.num_updates = self._num_updates()
        self.schedule = Schedule(config.schedule, self.num_updates)
        self.updates, self.seconds = 0, 0.0
        self.warm = False  # the first update of a process compiles kernels: that is no time of training
        self.whole = True  # False while an update is under way: such a state is worth no checkpoint
        self.best_val_loss: float | None = None
        self.history: list[dict[str, Any]] = []  # the reports of the updates at which there was a validation

    def _num_updates(self) -> int | None:
        """Where the run ends by itself, if it is known beforehand."""
        ends = [self.config.num_updates, math.ceil(self.config.epochs * self.lanes.num_windows)]
        return min((end for end in ends if end), default=None)

    def update(self) -> Report:
        """One window forward and backward, one step of the optimizer. DivergedError leaves all as it was before."""
        start, self.whole = time.perf_counter(), False
        config, flat = self.config, self.model.flat
        self.model.train()
        self.model.draw_dropout(self.updates)
        place = self.windows.epoch, self.windows.window, self.windows.state
        inputs, targets, state = self.windows.next()
        with Tape() as tape:
            logits, last = self.model(inputs, state)
            loss = cross_entropy(logits, targets=targets)
        flat.zero_grad()
        # cross_entropy is the mean over time and lanes; the sum over time is num_steps times that
        tape.backward(loss, config.num_steps if config.loss == "sum" else 1.0)
        value, norm = loss.item(), global_norm(flat)
        if not (math.isfinite(value) and math.isfinite(norm)):
            self.windows.epoch, self.windows.window, self.windows.state = place
            self.whole = True
            what = f"loss is {value}" if not math.isfinite(value) else f"gradient's norm is {norm}"
            raise DivergedError(f"update {self.updates + 1}: the {what}")
        lr = config.lr * self.schedule(self.updates)
        self.optimizer.update(lr, clip_scale(norm, config.clip_norm), config.clip_value or math.inf)
        self.windows.carry(last)
        self.updates += 1
        took = time.perf_counter() - start
        self.seconds += took if self.warm else 0.0
        self.warm = self.whole = True
        size = self.lanes.tokens_per_update
        return Report(self.updates, self.updates * size, self.seconds, value, None, lr, norm, size / took)

    def validate(self, stopped: Callable[[], bool] = lambda: False) -> float | None:
        """Mean loss in nats per token over the held-out part, its state carried from window to window from the
        start; None if nothing is held out, or if `stopped()` meanwhile."""
        if self.val_lanes is None:
            return None
        self.model.train(False)
        total = 0.0
        for loss in window_losses(self.model, self.val_lanes):
            if stopped():
                return None
            total += loss
        return total / self.val_lanes.num_windows

    def snapshot(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """(arrays, meta): all that is needed to go on to the bit, or to use the model."""
        arrays = {f"parameter/{name}": p.data for name, p in self.model.flat.parameters.items()}
        arrays |= {f"optimizer/{name}": array for name, array in self.optimizer.state.items()}
        for n, array in enumerate(self.windows.state or ()):
            arrays[f"carried/{n}"] = array
        meta = {
            "task": "text",
            "config": self.config.to_dict(),
            "vocab": self.vocab.to_dict(),
            "text": self.tokens.fingerprint,
            "updates": self.updates,
            "seconds": self.seconds,
            "epoch": self.windows.epoch,
            "window": self.windows.window,
            "best_val_loss": self.best_val_loss,
            "history": self.history,
        }
        return arrays, meta

    def restore(self, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
        """Go on where a snapshot was taken. CheckpointError if it is of another model or another text."""
        if meta["text"] != self.tokens.fingerprint:
            raise CheckpointError(
                "the text has changed since this run was started, so it cannot be resumed to the bit; "
                "give the same files, or start a new run"
            )
        load_parameters(self.model, arrays)
        for name, value in self.config.to_dict().items():
            was = meta["config"].get(name)
            if name not in LIMITS and value != was:
                raise CheckpointError(
                    f"the checkpoint is of another run: its {name} was {was!r}, and is now to be {value!r}"
                )
        for name, array in self.optimizer.state.items():
            array[...] = arrays[f"optimizer/{name}"]
        carried = [arrays[f"carried/{n}"] for n in range(sum(key.startswith("carried/") for key in arrays))]
        self.windows.state = tuple(carried) or None
        self.windows.epoch, self.windows.window = meta["epoch"], meta["window"]
        self.updates = self.optimizer.updates = meta["updates"]
        self.seconds, self.best_val_loss = meta["seconds"], meta["best_val_loss"]
        self.history = list(meta["history"])

    def done(self) -> bool:
        """Whether a limit of the configuration is reached."""
        limit = self.config.max_minutes * 60
        return (self.num_updates is not None and self.updates >= self.num_updates) or (
            limit > 0 and self.seconds >= limit
        )


def load_parameters(model: LanguageModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Copy a checkpoint's parameters into a model. CheckpointError names the first that does not fit."""
    wanted = {f"parameter/{name}": p for name, p in model.flat.parameters.items()}
    given = {name: array for name, array in arrays.items() if name.startswith("parameter/")}
    for name in sorted(wanted.keys() ^ given.keys()):
        where = "lacks" if name in wanted else "has an unknown"
        raise CheckpointError(f"the checkpoint is of another model: it {where} {name}")
    for name, parameter in wanted.items():
        array = given[name]
        if array.shape != parameter.shape or array.dtype != parameter.dtype:
            raise CheckpointError(
                f"the checkpoint is of another model: {name} is {array.shape} {array.dtype}, "
                f"wanted {parameter.shape} {parameter.dtype}"
            )
        parameter.data[...] = array


def load_model(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> tuple[LanguageModel, Vocab]:
    """The model and vocabulary that a checkpoint holds."""
    try:
        config, vocab = Config.from_dict(meta["config"], "the checkpoint"), Vocab.from_dict(meta["vocab"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint does not describe a language model: {error}") from None
    model = LanguageModel(config, vocab.size)
    load_parameters(model, arrays)
    return model, vocab


def load_run(path: StrPath, which: str = "best") -> tuple[LanguageModel, Vocab, dict[str, Any]]:
    """(model, vocabulary, the checkpoint's meta) of a run folder or of a checkpoint file.

    Of a folder it is best.ckpt if there is one, else last.ckpt; with which="last" it is always last.ckpt.
    meta["path"] is the file that was read.
    """
    file = Path(path)
    if file.is_dir():
        folder = RunFolder.open(file)
        file = folder.best if which == "best" and folder.best.is_file() else folder.last
        if not file.is_file():
            raise CheckpointError(f"{path}: this run has no checkpoint yet. Train it first.")
    arrays, meta = load(file)
    return *load_model(arrays, meta), meta | {"path": str(file)}


def run(training: Training, folder: RunFolder | None = None,
        stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:  # fmt: skip
    """Update until a limit is reached or `stopped()`; a report each. Validates every `val_every` updates and at
    the end.

    With a folder, metrics go there line by line, and a checkpoint at every validation, every half minute, and when
    the loop ends or is left. A DivergedError leaves the last checkpoint as it is.
    """
    saved_at, saved_update = time.monotonic(), training.updates
    if folder is not None and not folder.has_checkpoint:
        _save(training, folder, best=False)  # a run killed from here on resumes from something
    try:
        while not (training.done() or stopped()):
            report = training.update()
            start = time.perf_counter()
            whole, best = training.updates % training.config.val_every == 0 or training.done(), False
            if whole:
                report = dataclasses.replace(report, val_loss=training.validate(stopped))
                if report.val_loss is not None:
                    if not math.isfinite(report.val_loss):
                        raise DivergedError(f"update {report.update}: the validation loss is {report.val_loss}")
                    training.history.append(report.to_dict())
                    best = training.best_val_loss is None or report.val_loss < training.best_val_loss
                    training.best_val_loss = report.val_loss if best else training.best_val_loss
            if folder is not None:
                folder.append_metrics(report.to_dict())
                if whole or time.monotonic() - saved_at >= CHECKPOINT_SECONDS:
                    _save(training, folder, best)
                    saved_at, saved_update = time.monotonic(), training.updates
            training.seconds += time.perf_counter() - start
            yield report
    except DivergedError as error:
        kept = f"; the checkpoint of update {saved_update} is kept" if folder is not None else ""
        saved_update = training.updates  # what led to it is not worth keeping
        raise DivergedError(f"{error}{kept}. Lower --lr, or limit the gradient with --clip-norm") from None
    finally:
        if folder is not None and training.whole and training.updates != saved_update:
            _save(training, folder, best=False)


def _save(training: Training, folder: RunFolder, best: bool) -> None:
    if not math.isfinite(float(np.abs(training.model.flat.data).max())):
        raise DivergedError(f"update {training.updates}: a parameter is no longer finite")
    arrays, meta = training.snapshot()
    folder.save(arrays, meta, best=best)
