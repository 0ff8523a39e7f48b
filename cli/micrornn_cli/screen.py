"""What `micrornn train` prints before it starts (text, model, drawing)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from micrornn.backprop import WAYS
from micrornn.config import learning
from micrornn.data import UNITS
from micrornn.errors import counted
from micrornn.printable import visible
from micrornn.startfrom import Started
from micrornn.train import Training
from micrornn_cli.console import duration, err, facts
from micrornn_cli.drawing import draw, laid_out
from micrornn_cli.progress import measure


def announce(training: Training, num_files: int, own_files: bool, resumed: str | None,
             started: Started | None = None, changed: Sequence[str] = ()) -> None:  # fmt: skip
    """Print what is about to be done, with its numbers."""
    task, config, text = training.task, training.config, training.task.vocab is not None
    rows = _text(training, num_files, own_files) if text else dict(task.told(training.model))
    rows |= {
        "learning": learning(config),
        "backprop": "" if config.backprop == "window" else f"{config.backprop}: {WAYS[config.way.name].about}",
        "held out": _held_out(training),
        "baseline": "" if text or task.baseline is None else
        f"{task.baseline[0]}: {measure('', task.baseline[1])} {task.metrics[0].unit}".rstrip(),
        "ends": _end(training),
        "memory": "" if training.segment_steps >= config.num_steps else
        f"windows in segments of {counted(training.segment_steps, 'time step')}, each computed twice, so that an "
        f"update takes at most {config.memory_budget / 1e6:,.0f} MB",
        "starts from": "" if started is None else _started(started),
        "resumed": "" if not resumed else f"{resumed} at update {training.updates:,}",
    }  # fmt: skip
    if changed:
        rows["resumed"] += f"; it diverged, and goes on as another run: it had {', '.join(changed)}"
    table = facts({name: words for name, words in rows.items() if words})
    for note in task.tokens.notes if text else ():
        table.add_row("", Text(note, "yellow"))
    err.print(table)
    err.print()
    if text:
        err.print(draw(task.lanes, task.vocab, err.width), soft_wrap=True)
        err.print(laid_out(task.lanes, task.vocab, config.state == "carried"))
        err.print()
    elif picture := task.drawing():
        err.print(Text(picture), soft_wrap=True)
        err.print()


def _text(training: Training, num_files: int, own_files: bool) -> dict[str, str]:
    """What is read, and by which model."""
    config, vocab, tokens = training.config, training.task.vocab, training.task.tokens
    unit, files = UNITS[vocab.kind], counted(num_files, "file")
    source = files if own_files else f"Python's own standard library, {files}"
    layers = f"{config.num_layers} x {config.hidden_size} {config.cell_title}"
    embedding = f"embedding {config.embedding_size}" if config.embedding_size else f"one of {vocab.size}"
    guess = measure(vocab.kind, tokens.entropy)
    return {
        "text": f"{source}: {counted(len(tokens), *unit)}",
        "vocabulary": f"{vocab.size:,} different {unit[1]}; guessing by their frequency alone: {guess}",
        "model": f"{embedding} → {layers} → {counted(vocab.size, *unit)}; "
        f"{counted(len(training.model.flat), 'parameter')}",
    }


def _held_out(training: Training) -> str:
    """What is held out; of a task without text, nothing is said where nothing is."""
    task = training.task
    if task.vocab is not None:
        if task.val_lanes is None:
            return "nothing"
        part = f"{task.held_from}: {counted(task.val_lanes.num_tokens, *UNITS[task.vocab.kind])}"
    elif (batches := task.validation()) is not None:
        part = counted(batches.num_windows, "batch", "batches")
    else:
        return ""
    return f"{part}, for validation every {counted(training.config.val_every, 'update')}"


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
        epochs = f" ({counted(float(f'{training.num_updates / per_epoch:.2g}'), 'epoch')})" if per_epoch else ""
        parts.append(f"after {counted(training.num_updates, 'update')}{epochs}")
    if training.config.epochs and training.way.per_epoch is None:
        parts.append(f"after {counted(training.config.epochs, 'epoch')}")
    if training.config.max_minutes:
        parts.append(f"after {duration(60 * training.config.max_minutes)}")
    if training.config.patience:
        parts.append(
            f"after {counted(training.config.patience, 'validation')} in a row without a new best (--patience)"
        )
    return " or ".join(parts) + " (--max-minutes, --epochs, --num-updates)" * (not training.config.patience)
