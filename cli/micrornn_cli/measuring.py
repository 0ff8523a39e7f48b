"""Calls a measure with the text and the sizes it needs: given ones as they are, others so that they fit the text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from micrornn.checkpoint import require_writable
from micrornn.errors import ConfigError, DataError, counted
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Panel
from micrornn.inspect.register import Measuring
from micrornn.inspect.subject import Subject
from micrornn.inspect.window import recurrents_of
from micrornn.report import figure, page
from micrornn.tasks.material import Sizes
from micrornn_cli.flags import with_flags
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


def measured(measuring: Measuring, subject: Subject, sizes: Sizes,
             quiet: bool) -> Iterator[tuple[Measure, list[Panel]]]:  # fmt: skip
    """The measure with its panels: of each recurrent part, where a network has several and the measure looks at them;
    and what is shown with it. ConfigError for one that means nothing to the run's task."""
    reason, material = measuring.why_not(subject), subject.material
    if reason:
        raise ConfigError(reason)
    there = len(material.tokens) if measuring.needs == "text" else 0
    if there and (sizes.seq_len or 0) > there:
        raise DataError(f"{subject.text} has {counted(there, 'token')}, fewer than --seq-len {sizes.seq_len:,}")
    fitted = material.fitted(Sizes(measuring.windows, measuring.seq_len, measuring.batch_size), sizes)
    material.require_memory(subject.model, fitted)
    rnns = list(recurrents_of(subject.model)) if measuring.by_part else [""]
    for part in reversed(rnns) if len(rnns) > 1 else [""]:
        with progress(f"measuring {measuring.name}", quiet) as tell:
            measure = measuring.take(subject, fitted, tell, part)
        if part and part != rnns[-1]:
            measure = dataclasses.replace(measure, what=f"{measure.what}_of_{part}")
        yield with_flags(measure), measuring.panels(measure)
    for measure in measuring.besides(subject):
        yield with_flags(measure), measuring.panels(measure)
