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
from micrornn.report import figure, page
from micrornn.report.panels import Panel
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


def measured(name: str, what: Any, subject: Subject, sizes: tuple[int | None, int | None, int | None],
             quiet: bool) -> Iterator[tuple[Measure, list[Panel]]]:  # fmt: skip
    """The measure with its panels; of flow, also what was watched while the run trained."""
    windows, seq_len, batch_size = fitted(subject, what, sizes)
    config = dataclasses.replace(subject.model.config, batch_size=batch_size, num_steps=seq_len, backprop="window")
    subject.model.require_memory(config)
    function = getattr(importlib.import_module(f"micrornn.inspect.{name}"), name)
    with progress(f"measuring {name}", quiet) as tell:
        if name == "states":
            if sizes[1] and sizes[1] > len(subject.ids):
                raise DataError(f"{subject.text} has {len(subject.ids):,} tokens, fewer than --seq-len {sizes[1]:,}")
            measure = function(subject.model, subject.vocab, subject.ids, tell, tokens=seq_len, **subject.about())
        else:
            pieces = list(subject.windows(seq_len, windows, batch_size))
            measure = function(subject.model, pieces, tell, **subject.about())
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


def fitted(subject: Subject, what: Any, given: tuple[int | None, int | None, int | None]) -> tuple[int, int, int]:
    """(windows, seq_len, batch_size): what was asked for is kept, the others shrink until the text is long enough:
    lanes first, then windows, then time steps."""
    config = subject.model.config
    usual = what.windows, what.seq_len or config.num_steps, what.batch_size or config.batch_size
    windows, seq_len, batch_size = (own or other for own, other in zip(given, usual))
    room = len(subject.ids) - 1
    if given[2] is None:
        batch_size = max(1, min(batch_size, room // (windows * seq_len)))
    if given[0] is None:
        windows = max(1, min(windows, room // (batch_size * seq_len)))
    if given[1] is None:
        seq_len = max(2, min(seq_len, room // (batch_size * windows)))
    return windows, seq_len, batch_size
