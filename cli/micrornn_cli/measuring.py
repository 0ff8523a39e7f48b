"""Runs a measure with the text and sizes that it needs, and writes figures and pages of measures.

measured           a measure; sizes that the user gave are kept, others are chosen to fit the text
require_outputs    whether the figure and the page can be written
write_outputs      writes them
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from micrornn.checkpoint import require_writable, write_atomically
from micrornn.errors import ConfigError, DataError, counted
from micrornn.inspect.measure import Measure
from micrornn.inspect.panels import Panel
from micrornn.inspect.register import Measuring
from micrornn.inspect.subject import Subject
from micrornn.inspect.window import recurrents_of
from micrornn.report import figure, page
from micrornn.report.run import Run
from micrornn.tasks.material import Sizes
from micrornn_cli.flags import with_flags
from micrornn_cli.waiting import progress


def require_outputs(save: str | None, html: str | None) -> None:
    """ConfigError, MissingError or CheckpointError, before anything is measured, if the figure or the page cannot be
    written to these paths."""
    if save and _format(save) not in figure.FORMATS:
        raise ConfigError(f"--save {save}: a figure is a .png or an .svg; end the name with one of them")
    for path, needs in ((save, figure.require), (html, page.require)):
        if path:
            needs()
            require_writable(path)


def write_outputs(found: Sequence[tuple[Measure, Sequence[Panel]]], save: str | None, html: str | None = None,
                  run: Callable[[], Run] = lambda: Run("")) -> None:  # fmt: skip
    """Write the figure and the page of these measures to the paths that were given. run: what the page says of the
    run."""
    if save:
        write_atomically(save, [figure.figure(found, _format(save))])
    if html:  # a name that is no UTF-8 reaches Python as surrogates, which no file can hold
        write_atomically(html, [page.page(run(), found).encode(errors="replace")])


def _format(save: str) -> str:
    return Path(save).suffix[1:].lower()


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
