"""What training shows while it runs: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import time
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from micrornn.train import Report, Training
from micrornn_cli.console import count, duration, err

PLAIN_SECONDS = 10.0


def measure(kind: str, loss: float) -> str:
    """The loss as people speak of it: bits per character, or perplexity of words."""
    return f"{loss / math.log(2):.3f} bits" if kind == "char" else f"perplexity {math.exp(min(loss, 700)):.1f}"


class Live:
    """A bar and the newest numbers; every validation leaves a line behind."""

    def __init__(self, training: Training, quiet: bool = False):
        self.training, self.kind, self.quiet = training, training.vocab.kind, quiet
        self.unit = "char" if self.kind == "char" else "word"
        self.live = err.is_terminal and not quiet
        self.shown, self.speed, self.loss = 0.0, 0.0, 0.0
        self.bar = Progress(
            BarColumn(bar_width=20), TextColumn("{task.fields[line]}"), console=err, transient=True,
            disable=not self.live, refresh_per_second=5,
        )  # fmt: skip
        self.task = self.bar.add_task("", total=1.0, line="first update")

    def __enter__(self) -> Live:
        self.bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()

    def part_done(self, report: Report) -> float:
        """How much of the run is behind us, by the limit that comes first."""
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
        part = self.part_done(report)
        left = duration(report.seconds / part - report.seconds) if report.seconds else "?"
        if self.live:
            line = (
                f"update {report.update:,}  {measure(self.kind, self.loss)}  "
                f"{count(self.speed)} {self.unit}/s  |g| {report.grad_norm:.2f}  {left} left"
            )
            self.bar.update(self.task, completed=part, line=line)
        due = not self.live and (first or now - self.shown >= PLAIN_SECONDS)
        if report.val_loss is not None or due:
            self.bar.console.print(self.row(report, left), soft_wrap=True)
            self.shown = now
        self.shown = self.shown or now

    def row(self, report: Report, left: str) -> Text:
        """One line: where we are, the loss in two units, what validation says, speed, gradient, time left."""
        text = Text(f"update {report.update:>6,}  ")
        text.append(f"loss ~{self.loss:.3f} nats = {measure(self.kind, self.loss)}")
        if report.val_loss is not None:
            text.append(f"  validation {measure(self.kind, report.val_loss)}", "bold green")
        text.append(f"  {count(self.speed)} {self.unit}/s  |g| {report.grad_norm:.2f}  {left} left", "dim")
        return text
