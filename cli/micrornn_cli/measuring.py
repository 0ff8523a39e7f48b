"""Calls a measure with the text and the sizes it needs: given ones as they are, others so that they fit the text."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from micrornn.checkpoint import RunFolder, require_writable
from micrornn.errors import CheckpointError, ConfigError, DataError
from micrornn.inspect.measure import Measure
from micrornn.inspect.subject import Subject
from micrornn.inspect.window import lanes_of, recurrents_of
from micrornn.report import figure, page
from micrornn.report.panels import Panel
from micrornn.tasks.material import Sizes
from micrornn_cli.waiting import progress


def require_outputs(save: str | None, html: str | None) -> str:
    """The format of the figure. ConfigError, MissingError, CheckpointError where one of the files cannot be."""
    format = Path(save).suffix[1:].lower() if save else ""
    if save and format not in figure.FORMATS:
        raise ConfigError(f"--save {save}: a figure is a .png or an .svg; end the name with one of them")
    for path, needs in ((save, figure.require), (html, page.require)):
        if path:
            needs()
            require_writable(path)
    return format


PIECES = 8  # of the sequences of a task
OF_PARTS = ("flow", "weights", "credit", "jacobian")  # look at the layers of one recurrent part


def why_not(name: str, subject: Subject) -> str:
    """Why a measure means nothing to the task of a run; empty where it does."""
    if name == "states" and subject.material.vocab is None:
        return "states reads a text token by token, and this run's task has none; `inspect flow` reads any"
    if name == "truncation" and not subject.material.cut:
        return (
            "truncation asks what is cut off at the borders of windows, and this run's task has none: each of its "
            "sequences is gone over as a whole"
        )
    return ""


def measured(name: str, what: Any, subject: Subject, sizes: Sizes,
             quiet: bool) -> Iterator[tuple[Measure, list[Panel]]]:  # fmt: skip
    """The measure with its panels: of each recurrent part, where a network has several and the measure looks at them;
    of flow, also what was watched while the run trained. ConfigError for one that means nothing to the run's task."""
    material, reason = subject.material, why_not(name, subject)
    if reason:
        raise ConfigError(reason)
    fitted = material.fitted(Sizes(what.windows, what.seq_len, what.batch_size), sizes)
    material.require_memory(subject.model, fitted)
    windows, seq_len, batch_size = (size or 1 for size in fitted)
    function = getattr(importlib.import_module(f"micrornn.inspect.{name}"), name)
    rnns = list(recurrents_of(subject.model)) if name in OF_PARTS else [""]
    parts = reversed(rnns) if len(rnns) > 1 else [""]
    for part in parts:
        with progress(f"measuring {name}", quiet) as tell:
            if name == "states":
                there = len(material.tokens)
                if sizes.seq_len and sizes.seq_len > there:
                    raise DataError(f"{subject.text} has {there:,} tokens, fewer than --seq-len {sizes.seq_len:,}")
                measure = function(
                    subject.model, material.vocab, material.tokens, tell, tokens=seq_len, **subject.about()
                )
            elif name == "noise" and not material.cut:  # small batches, instead of pieces of large ones
                lanes = max(1, min(batch_size, material.sequences // PIECES) // 4)
                pieces = subject.windows(seq_len, max(1, windows * batch_size // lanes), lanes)
                pieces = [piece for piece in pieces if lanes_of(piece) in (None, lanes)]  # the last may be smaller
                measure = function(subject.model, pieces, tell, lanes=lanes, **subject.about())
            else:
                pieces = subject.windows(seq_len, windows, batch_size)
                of_part = {"part": part} if part else {}
                measure = function(subject.model, pieces, tell, **of_part, **subject.about(part))
        if part and part != rnns[-1]:
            measure = dataclasses.replace(measure, what=f"{measure.what}_of_{part}")
        yield measure, drawn(name, measure)
    if name == "flow" and _watched(subject):
        from micrornn.inspect.watched import flow_over_training

        measure = flow_over_training(Path(subject.meta["path"]).parent, learned=subject.about()["learned"])
        yield measure, drawn(name, measure)


def drawn(name: str, measure: Measure) -> list[Panel]:
    """How a measure is drawn, as micrornn/report/NAME.py says."""
    panels: list[Panel] = importlib.import_module(f"micrornn.report.{name}").panels(measure)
    return panels


def _watched(subject: Subject) -> bool:
    """Whether something was watched while it trained. CheckpointError if what was watched cannot be read."""
    try:
        folder = RunFolder.open(Path(subject.meta["path"]).parent)
    except CheckpointError:  # a checkpoint that lies alone
        return False
    return bool(folder.gradients.read())
