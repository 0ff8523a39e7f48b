"""What `micrornn train` prints before it starts (text, model, drawing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from micrornn.backprop import WAYS
from micrornn.config import learning
from micrornn.data import UNITS
from micrornn.printable import visible
from micrornn.startfrom import Started
from micrornn.train import Training
from micrornn_cli.console import duration, err
from micrornn_cli.drawing import draw, facts
from micrornn_cli.progress import measure


def announce(training: Training, num_files: int, own_files: bool, resumed: str | None,
             started: Started | None = None, changed: Sequence[str] = ()) -> None:  # fmt: skip
    """What is about to be done, with the true numbers."""
    if training.task.vocab is None:
        _announce_task(training, resumed, started, changed)
        return
    config, vocab, tokens, model = training.config, training.task.vocab, training.task.tokens, training.model
    unit = UNITS[vocab.kind][1]
    files = f"{num_files:,} file" + ("s" if num_files != 1 else "")
    source = files if own_files else f"Python's own standard library, {files}"
    entropy = measure(vocab.kind, tokens.entropy)
    layers = f"{config.num_layers} x {config.hidden_size} {config.cell_title}"
    embedding = f"embedding {config.embedding_size}" if config.embedding_size else f"one of {vocab.size}"
    rows = {
        "text": f"{source}: {len(tokens):,} {unit}",
        "vocabulary": f"{vocab.size:,} different {unit}; guessing by their frequency alone: {entropy}",
        "model": f"{embedding} → {layers} → {vocab.size} {unit}; {model.num_parameters:,} parameters",
        "learning": learning(config),
        **_way(config),
        "held out": "nothing"
        if training.task.val_lanes is None
        else f"{training.task.held_from}: "
        f"{training.task.val_lanes.num_tokens:,} {unit}, for validation every {config.val_every:,} updates",
        "ends": _end(training),
    }
    if training.segment_steps < config.num_steps:
        rows["memory"] = (
            f"windows in segments of {training.segment_steps:,} time steps, each computed twice, so that an update "
            f"takes at most {config.memory_budget / 1e6:,.0f} MB"
        )
    if started is not None:
        rows["starts from"] = _started(started)
    if resumed:
        rows["resumed"] = _resumed(training, resumed, changed)
    _table(rows, {"text": tokens.notes})
    err.print(draw(training.task.lanes, vocab, err.width), soft_wrap=True)
    err.print(facts(training.task.lanes, vocab, config.state == "carried"))
    err.print()


def _announce_task(training: Training, resumed: str | None, started: Started | None, changed: Sequence[str]) -> None:
    """The same of a task that is not about text."""
    task, config = training.task, training.config
    rows = task.told(training.model) | {"learning": learning(config)} | _way(config)
    held_out = task.validation()
    if held_out is not None:
        batches = "1 batch" if held_out.num_windows == 1 else f"{held_out.num_windows:,} batches"
        rows["held out"] = f"{batches}, for validation every {config.val_every:,} updates"
    if task.baseline is not None:
        words, loss = task.baseline
        rows["baseline"] = f"{words}: {measure('', loss)} {task.metrics[0].unit}"
    rows["ends"] = _end(training)
    if started is not None:
        rows["starts from"] = _started(started)
    if resumed:
        rows["resumed"] = _resumed(training, resumed, changed)
    _table(rows)
    if picture := task.drawing():
        err.print(Text(picture), soft_wrap=True)
        err.print()


def _table(rows: Mapping[str, str], notes: Mapping[str, Sequence[str]] | None = None) -> None:
    """A word and what it is, line by line; `notes`: what stands below one of them."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in rows.items():
        table.add_row(name, Text(words))
        for note in (notes or {}).get(name, ()):
            table.add_row("", Text(note, "yellow"))
    err.print(table)
    err.print()


def _way(config: Any) -> dict[str, str]:
    """A row for how the gradient goes back, where that is not as usual."""
    if config.backprop == "window":
        return {}
    return {"backprop": f"{config.backprop}: {WAYS[config.way.name].about}"}


def _resumed(training: Training, run: str, changed: Sequence[str]) -> str:
    return f"{run} at update {training.updates:,}" + (
        f"; it diverged, and goes on as another run: it had {', '.join(changed)}" if changed else ""
    )


def _started(started: Started) -> str:
    told = []
    for one in started.symbols:
        new = ", ".join(visible(token) for token in one.new)
        lacking = one.size - one.matched
        more = f"; new here: {new}" + (" ..." if lacking > len(one.new) else "") if lacking else ""
        told.append(f"{one.matched:,} of {one.size:,} {one.what} have their weights from there{more}")
    return f"{started.path} at update {started.updates:,}: {'; '.join(told) or 'all weights are those'}"


def _end(training: Training) -> str:
    parts = []
    if training.num_updates:
        per_epoch = training.way.per_epoch
        epochs = f" ({training.num_updates / per_epoch:.2g} epochs)" if per_epoch else ""
        parts.append(f"after {training.num_updates:,} updates{epochs}")
    if training.config.epochs and training.way.per_epoch is None:
        parts.append(f"after {training.config.epochs:g} epochs")
    if training.config.max_minutes:
        parts.append(f"after {duration(60 * training.config.max_minutes)}")
    if training.config.patience:
        parts.append(f"after {training.config.patience:,} validations in a row without a new best (--patience)")
    return " or ".join(parts) + " (--max-minutes, --epochs, --num-updates)" * (not training.config.patience)
