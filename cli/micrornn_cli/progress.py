"""What training shows while it runs. A terminal shows the newest numbers, the curve so far and what the model writes by
now, and is updated in place; elsewhere there is a line now and then."""

from __future__ import annotations

import math
import re
import time
from typing import Any

from rich.console import Group
from rich.live import Live as InPlace
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from micrornn.errors import DivergedError
from micrornn.printable import cut, visible
from micrornn.sampling import sample
from micrornn.train import Report, Training
from micrornn_cli.console import count, duration, err
from micrornn_cli.curve import CurveSoFar
from micrornn_cli.waiting import line as waiting

PLAIN_SECONDS = 10.0
REFRESH_SECONDS, CURVE_SECONDS, SAMPLE_SECONDS = 0.5, 2.0, 8.0
SHARE = 0.01  # of the time, at most, is spent on curves and samples
SAMPLE_LENGTH, LONGEST = 400, 0.5  # tokens of a sample; seconds after which it is cut off
LEAST_ROWS = 20  # of a terminal on which there is room for a curve


def measure(kind: str, loss: float) -> str:
    """The loss in its usual unit: bits per character, or perplexity of words. kind: of token; "" for tasks without
    text."""
    if not kind:
        return f"{loss:.4g}"
    return f"perplexity {math.exp(min(loss, 700)):.1f}" if kind == "word" else f"{loss / math.log(2):.3f} bits"


class Live:
    """The newest numbers; every validation leaves a line behind."""

    def __init__(self, training: Training, quiet: bool = False):
        self.training, self.quiet = training, quiet
        self.kind = "" if training.task.vocab is None else training.task.vocab.kind
        self.unit = self.kind or training.task.unit
        self.live = err.is_terminal and not err.is_dumb_terminal and not quiet
        self.shown, self.speed, self.loss = 0.0, 0.0, 0.0
        self.curve = CurveSoFar(self.kind, training.task.baseline, training.history)
        self.picture, self.writes = Text(), Text()
        self.refreshed = self.drawn = self.sampled = 0.0
        self.note = "first update"
        self.display = InPlace(console=err, auto_refresh=False, transient=True)

    def __enter__(self) -> Live:
        if self.live:
            waiting.clear()
            waiting.elsewhere = self._say
            self.sampled = time.monotonic()
            self.display.start()
            self._say(self.note)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live:
            waiting.elsewhere = None
            self.display.stop()

    def print(self, words: Any, **how: Any) -> None:
        """A line that stays."""
        self.display.console.print(words, **how)

    def part_done(self, report: Report) -> float:
        """The part of the run that is done, by the limit that comes first."""
        parts = [1e-9]
        if self.training.num_updates:
            parts.append(report.update / self.training.num_updates)
        if self.training.config.max_minutes:
            parts.append(report.seconds / (60 * self.training.config.max_minutes))
        return min(1.0, max(parts))

    def show(self, report: Report) -> None:
        """One more update."""
        first = self.shown == 0
        self.speed = report.tokens_per_second if first else 0.95 * self.speed + 0.05 * report.tokens_per_second
        self.loss = report.loss if first else 0.95 * self.loss + 0.05 * report.loss
        now = time.monotonic()
        if self.quiet:
            self.shown = now
            return
        self.curve.add(report, self.loss)
        due = not self.live and (first or now - self.shown >= PLAIN_SECONDS)
        if report.val_loss is not None or due:
            self.print(self.row(report, err.width), soft_wrap=True)
            self.shown = now
        self.shown = self.shown or now
        if self.live and now - self.refreshed >= REFRESH_SECONDS:
            self._refresh(report, now)

    def row(self, report: Report, width: int) -> Text:
        """One line with as many as fit of: update, loss, validation, speed, gradient, time left."""
        part = self.part_done(report)
        left = duration(report.seconds / part - report.seconds) if report.seconds and part > 1e-9 else "?"
        cells = [
            ("update", f"update {report.update:>6,}", ""),
            ("loss", ("" if self.kind else "loss ") + measure(self.kind, self.loss), ""),
            ("validation", f"validation {measure(self.kind, report.val_loss or 0.0)}", "bold green"),
            ("speed", f"{count(self.speed)} {self.unit}/s", "dim"),
            ("gradient", f"|g| {report.grad_norm:.2f}", "dim"),
            ("left", f"{left} left", "dim"),
        ]
        if report.val_loss is None:
            del cells[2]
        elif self.training.chooses is not None and report.score is not None:  # best.ckpt goes by this, not by the loss
            cells.insert(2, ("score", f"{self.training.chooses.name} {report.score:.4g}", "bold green"))
        for name in ("gradient", "speed", "left"):  # left out in this order if there is no room
            if len("  ".join(words for _, words, _ in cells)) > width:
                cells = [cell for cell in cells if cell[0] != name]
        return Text("  ").join(Text(words, style) for _, words, style in cells)

    def _say(self, words: str) -> None:
        """Show what happens before the first update is done."""
        self.display.update(Text(cut(words, err.width - 1), "dim"), refresh=True)

    def _refresh(self, report: Report, now: float) -> None:
        """Draw again what has changed. Curve and sample are drawn so rarely that they take a hundredth of the time."""
        self.refreshed = now
        tall = err.height >= LEAST_ROWS
        if tall and now - self.drawn >= CURVE_SECONDS:
            self.picture = self.curve.drawn(err.width, min(9, err.height // 3))
            self.drawn = self._again(now, CURVE_SECONDS)
        if tall and self.kind and now - self.sampled >= SAMPLE_SECONDS:
            self.writes = self._sample(now)
            self.sampled = self._again(time.monotonic(), SAMPLE_SECONDS, now)
        bar = Table.grid(padding=(0, 1))
        width = min(20, err.width // 4)
        bar.add_row(ProgressBar(1.0, self.part_done(report), width=width), self.row(report, err.width - width - 1))
        self.display.update(Group(self.picture, self.writes, bar), refresh=True)

    def _again(self, now: float, pause: float, start: float | None = None) -> float:
        """The time from which the pause until the next drawing counts: now, or later if this drawing took long."""
        took = time.monotonic() - (now if start is None else start)
        return now + max(0.0, took / SHARE - pause)

    def _sample(self, now: float) -> Text:
        """A line or two that the model writes by now. It uses its own random numbers and no tape, so that it does not
        change the training."""
        written, room = "", 2 * (err.width - 1) - len("writes  ")
        try:
            for piece in sample(self.training.model, self.training.task.vocab, length=SAMPLE_LENGTH, temperature=0.8,
                                seed=self.training.updates):  # fmt: skip
                written = (written + piece).lstrip()
                if len(written) >= room or time.monotonic() - now > LONGEST:
                    break
        except DivergedError:
            written += " ..."  # the next update will say what is wrong
        shown = cut(visible(re.sub(" +", " ", written)), room)
        return Text.assemble(("writes  ", "bold"), (shown, "italic"), "\n")
