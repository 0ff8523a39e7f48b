"""What is looked at: a trained model and a text, read in lanes and windows.

open_subject(run, text)     the model of a run, and a text for it
Subject.windows(...)        windows of that text, each with the state that the text before it leaves
recurrent_of(model)         the recurrent layers of a model; ConfigError if it has none
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micrornn import device
from micrornn.data import Lanes, Vocab, find
from micrornn.data.text import Ids
from micrornn.errors import CheckpointError, ConfigError, DataError
from micrornn.evaluate import encode_files
from micrornn.inspect.learned import learned
from micrornn.inspect.measure import Learned
from micrornn.optim import Schedule
from micrornn.parameters import Module
from micrornn.recurrent import Recurrent
from micrornn.runs import Progress, load_run, own_text
from micrornn.tape import Tensor, no_tape
from micrornn.tasks.text import LanguageModel

if TYPE_CHECKING:
    from micrornn.inspect.carried import Carried


@dataclass(frozen=True)
class Window:
    """inputs, targets: int32 (seq_len, batch_size). state: what the text before it left, None for the initial one."""

    inputs: np.ndarray
    targets: np.ndarray
    state: tuple[Tensor, ...] | None


def piece_of(window: Window, lanes: slice, steps: slice = slice(None)) -> Window:
    """Some lanes of a window, and of its time steps from the first on."""
    state = None
    if window.state is not None:
        state = tuple(Tensor(part.data[:, lanes].copy()) for part in window.state)
    inputs, targets = (np.ascontiguousarray(ids[steps, lanes]) for ids in (window.inputs, window.targets))
    return Window(inputs, targets, state)


@dataclass(frozen=True)
class Subject:
    """model, in evaluation mode (no dropout), vocab, meta of the checkpoint, ids of the text, `run` and `text` as
    they are told to people."""

    model: LanguageModel
    vocab: Vocab
    meta: Mapping[str, Any]
    ids: Ids
    run: str
    text: str

    def windows(self, seq_len: int, num_windows: int, batch_size: int) -> Iterator[Window]:
        """`num_windows` windows of `seq_len` time steps in `batch_size` lanes, spread evenly over the text.

        Each comes with the state that reading as many time steps before it leaves, as in training; a window at
        the very beginning has none. DataError if the text is too short for them.
        """
        lanes = self.lanes(seq_len, num_windows, batch_size)
        places = np.unique(np.linspace(min(1, lanes.num_windows - 1), lanes.num_windows - 1, num_windows).astype(int))
        for place in places:
            state = None
            if place:
                inputs, _ = lanes.window(int(place) - 1)
                with no_tape():
                    _, last = self.model(inputs)
                state = tuple(Tensor(tensor.data.copy()) for tensor in last)
            yield Window(*lanes.window(int(place)), state)

    def lanes(self, seq_len: int, num_windows: int, batch_size: int) -> Lanes:
        """The text in lanes. DataError if it is too short for so many windows."""
        needed, there = batch_size * seq_len * num_windows + 1, len(self.ids)
        if there < needed:
            raise DataError(
                f"{self.text} has {there:,} tokens, but {num_windows:,} windows of {seq_len:,} time steps in "
                f"{batch_size:,} lanes need {needed:,}\n"
                "  give more text, or lower --windows, --seq-len or --batch-size"
            )
        return Lanes(self.ids, batch_size, seq_len, self.text)

    @cached_property
    def learned(self) -> Learned | None:
        """Its loss on this text beside those that take no learning; None where it is not finite."""
        return learned(self.model, self.ids, self.vocab)

    @cached_property
    def carried(self) -> Carried | None:
        """How much of a gradient it can carry over half a window; None where the text is too short to see."""
        from micrornn.inspect.carried import carried_by  # it reads Windows

        return carried_by(self.model, self.ids)

    def about(self, **more: Any) -> dict[str, Any]:
        """What a Measure says of its subject."""
        config = self.model.config
        names = ("cell", "num_layers", "hidden_size", "batch_size", "num_steps")
        return {
            "run": self.run, "checkpoint": self.meta["path"], "updates": self.meta["updates"], "text": self.text,
            "trained": {name: getattr(config, name) for name in names}, "lr_left": lr_left(self.meta),
            "learned": None if self.learned is None else dataclasses.asdict(self.learned),
            "carried": None if self.carried is None else self.carried.to_dict(),
        } | more  # fmt: skip


def lr_left(meta: Mapping[str, Any]) -> float:
    """How much of the learning rate its schedule had left at a checkpoint, from its meta: 1 until it falls. That a
    warm-up was still raising it is no fall."""
    config, history, updates = meta["config"], meta.get("history") or (), max(1, meta["updates"])
    schedule = Schedule(config["schedule"], config["num_updates"] or None)
    left = schedule(updates - 1)
    if history:  # what it really was at the last validation, also where epochs or a resumed run set its end
        updates, left = max(1, history[-1]["update"]), history[-1]["lr"] / config["lr"]
    warm = schedule.warmup
    return float(min(1.0, left / min(1.0, updates / warm) if warm else left))


def open_subject(run: str, text: Sequence[str] = (), which: str = "best", progress: Progress | None = None, *,
                 unseen: str = "", encoding: str = "") -> Subject:  # fmt: skip
    """The model of a run folder or checkpoint, and a text: the files named, else what the run learns from.

    unseen, encoding    of the files named, see `evaluate.encode_files`

    CheckpointError, DataError: what cannot be read, or a text with symbols that the vocabulary lacks.
    """
    model, vocab, meta = load_run(run, which)
    if text:
        encoded = encode_files(find(text), vocab, unseen, encoding, model.config.encoding)
        ids: Ids = encoded.ids
        told = ", ".join(text[:3]) + (f" and {len(text) - 3} more" if len(text) > 3 else "")
        told += f" ({encoded.words()})" if encoded.unseen else ""
    else:
        try:
            ids = own_text(meta, progress)[0]
        except (DataError, ConfigError, CheckpointError) as error:
            raise type(error)(f"{error}.\nName a text with --text FILE.") from None
        told = "the text it learns from"
    if model.config.lines:
        told += ", its lines read on from one to the next"
    model.train(False)
    return Subject(model, vocab, meta, ids, Path(run).name or run, told)


def recurrent_of(model: Module) -> Recurrent:
    """The recurrent layers of a model. ConfigError if there are none: nothing flows through time then."""
    found = [model] if isinstance(model, Recurrent) else []
    found += [part for part in vars(model).values() if isinstance(part, Recurrent)]
    if not found:
        raise ConfigError(f"{type(model).__name__} has no recurrent layer: no gradient flows through time in it")
    if any(device.of(weight.data) != "cpu" for weight in found[0].weights.values()):
        raise ConfigError("a model on a graphics card is inspected as a copy: model.copy(device='cpu')")
    return found[0]
