"""What `micrornn compare` shows while runs train side by side: on a terminal a table in place, elsewhere a line now and
then."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live as InPlace
from rich.table import Table
from rich.text import Text

from micrornn.compare.folder import Comparison
from micrornn.errors import counted
from micrornn.printable import cut, visible
from micrornn_cli.console import duration, err
from micrornn_cli.flags import flags

PLAIN_SECONDS, REFRESH_SECONDS = 15.0, 0.5
STATES = {"done": "green", "failed": "bold red", "dropped": "dim", "stopped": "yellow"}


class Watching:
    """The runs of a comparison as they train. Losses are read from their folders: they may be on other machines."""

    def __init__(self, comparison: Comparison, quiet: bool):
        self.comparison, self.quiet = comparison, quiet
        self.live = err.is_terminal and not err.is_dumb_terminal and not quiet
        self.display = InPlace(console=err, auto_refresh=False, transient=True)
        self.started = self.shown = time.monotonic()
        self.read: dict[Path, int] = {}  # bytes of each file that were seen
        self.known: dict[tuple[int, int], tuple[int, int, float | None]] = {}

    def __enter__(self) -> Watching:
        if self.live:
            self.display.start()
            self.refresh()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.live:
            self.display.stop()

    def ended(self, variant: int, seed: int, outcome: Any) -> None:
        """A run is over, or over for now."""
        if self.quiet or outcome.state == "stopped":
            return
        name, (update, _, loss) = self.comparison.plan.variants[variant].name, self._last(variant, seed)
        words = f"{visible(name)}, seed {seed}: "
        if outcome.state == "failed":
            line = Text(words + "failed: " + visible(flags(outcome.why.splitlines()[0])), "red")
        else:
            told = "" if loss is None else f", validation loss {loss:.4g}"
            line = Text(f"{words}{counted(update, 'update')}{told}")
        self.display.console.print(line, soft_wrap=True)

    def tick(self) -> None:
        """Nothing has happened for a moment."""
        now = time.monotonic()
        if self.live and now - self.shown >= REFRESH_SECONDS:
            self.refresh()
        elif not self.live and not self.quiet and now - self.shown >= PLAIN_SECONDS:
            self.shown = now
            err.print(Text(self._line()), soft_wrap=True)

    def refresh(self) -> None:
        self.shown = time.monotonic()
        self.display.update(self._table(), refresh=True)

    def _line(self) -> str:
        runs = self.comparison.runs()
        ends = sum(self.comparison.outcome(*run).state in ("done", "failed", "dropped") for run in runs)
        return f"{ends} of {counted(len(runs), 'run')}, {100 * self._part():.0f} % of all, {self._left()}"

    def _part(self) -> float:
        """Of all tokens, how many are behind us; by runs where nobody knows where one ends."""
        parts = []
        for n, seed in self.comparison.runs():
            ends, state = self.comparison.plan.variants[n].tokens, self.comparison.outcome(n, seed).state
            over = state in ("done", "failed", "dropped")
            parts.append(1.0 if over else min(1.0, self._last(n, seed)[1] / ends) if ends else 0.0)
        return sum(parts) / max(1, len(parts))

    def _left(self) -> str:
        """In words, how long it will take yet."""
        spent, part = time.monotonic() - self.started, self._part()
        self.begun = getattr(self, "begun", part)
        done = part - self.begun
        return f"{duration(spent * (1 - part) / done)} left" if done > 0.02 else "time left: ?"

    def _last(self, variant: int, seed: int) -> tuple[int, int, float | None]:
        """Of a run the updates, the tokens, and the last validation loss that was seen."""
        known = self.known.get((variant, seed), (0, 0, None))
        path = self.comparison.folder(variant, seed) / "metrics.jsonl"
        self.read[path], rows = new_rows(path, self.read.get(path, 0))
        if rows:
            losses = [row["val_loss"] for row in rows if row.get("val_loss") is not None]
            known = rows[-1]["update"], rows[-1].get("tokens", 0), losses[-1] if losses else known[2]
            self.known[variant, seed] = known
        return known

    def _table(self) -> Group:
        """A row for each setting: how far its runs are, and the last loss of each."""
        plan = self.comparison.plan
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("setting", "done", "updates", "validation loss of each seed"):
            table.add_column(name, no_wrap=True)
        most = max(3, err.height - 4)
        for n, variant in enumerate(plan.variants[:most]):
            cells, done, updates = Text(), 0, 0
            for seed in plan.seeds:
                state = self.comparison.outcome(n, seed).state
                update, _, loss = self._last(n, seed)
                done, updates = done + (state in ("done", "failed", "dropped")), max(updates, update)
                told = (
                    "failed" if state == "failed" else "-" if loss is None or not math.isfinite(loss) else f"{loss:.4g}"
                )
                cells.append(f"{told}  ", STATES.get(state, ""))
            ends = f" of {variant.num_updates:,}" if variant.num_updates else ""
            table.add_row(
                Text(cut(visible(variant.name), 28)), f"{done}/{len(plan.seeds)}", f"{updates:,}{ends}", cells
            )
        left = len(plan.variants) - most
        words = f"{counted(left, 'setting more; ', 'settings more; ') if left > 0 else ''}{self._line()}"
        return Group(table, Text(cut(words, err.width - 1), "dim"))


def new_rows(path: Path, start: int) -> tuple[int, list[dict[str, Any]]]:
    """Of a file that somebody may be writing: (how far it was read, the rows from `start` on that have a validation,
    and the last one). One that has become shorter, as when a run goes on, is read anew."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = 0 if size < start else start
            file.seek(start)
            data = file.read()
    except OSError:
        return 0, []
    whole = data[: data.rfind(b"\n") + 1]
    lines, rows = whole.split(b"\n")[:-1], []
    for n, line in enumerate(lines):
        if n < len(lines) - 1 and b'"val_loss": null' in line:
            continue
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("update"), int):
                rows.append(row)
    return start + len(whole), rows
