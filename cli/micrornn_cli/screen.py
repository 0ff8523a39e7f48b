"""What `micrornn train` prints before it starts (text, model, drawing) and when it is done (a sample, where it is)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from micrornn.printable import printable, shell_word, visible
from micrornn.sampling import sample
from micrornn.startfrom import Started
from micrornn.train import Training
from micrornn_cli.console import duration, err, out, program
from micrornn_cli.drawing import draw, facts
from micrornn_cli.progress import measure

SAMPLE_LENGTH = 400


def announce(training: Training, num_files: int, own_files: bool, resumed: str | None,
             started: Started | None = None, changed: Sequence[str] = ()) -> None:  # fmt: skip
    """What is about to be done, with the true numbers."""
    config, vocab, tokens, model = training.config, training.vocab, training.tokens, training.model
    unit = "characters" if vocab.kind == "char" else "words"
    files = f"{num_files:,} file" + ("s" if num_files != 1 else "")
    source = files if own_files else f"Python's own standard library, {files}"
    entropy = measure(vocab.kind, tokens.entropy)
    layers = f"{config.num_layers} x {config.hidden_size} {config.cell.upper()}"
    rows = {
        "text": f"{source}: {len(tokens):,} {unit}",
        "vocabulary": f"{vocab.size:,} different {unit}; guessing by their frequency alone: {entropy}",
        "model": f"embedding {config.embedding_size} → {layers} → {vocab.size} {unit}; "
        f"{model.num_parameters:,} parameters",
        "learning": f"{config.optimizer}, learning rate {config.lr:g} ({config.schedule})" + _clips(config),
        "held out": "nothing"
        if training.val_lanes is None
        else f"{100 * config.val_fraction:g} % of the text, in pieces spread over it: "
        f"{training.val_lanes.num_tokens:,} {unit}, for validation every {config.val_every:,} updates",
        "ends": _end(training),
    }
    if training.segment_steps < config.num_steps:
        rows["memory"] = (
            f"windows in segments of {training.segment_steps:,} time steps, each computed twice, so that an update "
            f"takes at most {config.memory_budget / 1e6:,.0f} MB"
        )
    if started is not None:
        rows["starts from"] = _started(started, unit)
    if resumed:
        rows["resumed"] = f"{resumed} at update {training.updates:,}" + (
            f"; it diverged, and goes on as another run: it had {', '.join(changed)}" if changed else ""
        )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in rows.items():
        table.add_row(name, Text(words))
    err.print(table)
    err.print()
    err.print(draw(training.lanes, vocab, err.width), soft_wrap=True)
    err.print(facts(training.lanes, vocab, config.state == "carried"))
    err.print()


def _started(started: Started, unit: str) -> str:
    new = ", ".join(visible(token) for token in started.new)
    lacking = started.size - started.matched
    more = f"; new here: {new}" + (" ..." if lacking > len(started.new) else "") if lacking else ""
    return (
        f"{started.path} at update {started.updates:,}: {started.matched:,} of {started.size:,} {unit} have their "
        f"weights from there{more}"
    )


def _clips(config: Any) -> str:
    parts = [
        f"{what} {value:g}"
        for what, value in (
            ("gradient norm at most", config.clip_norm),
            ("each gradient at most", config.clip_value),
            ("each message back in time at most", config.clip_message),
        )
        if value
    ]
    return "".join(f"; {part}" for part in parts) + ("; loss summed over time" if config.loss == "sum" else "")


def _end(training: Training) -> str:
    parts = []
    if training.num_updates:
        epochs = training.num_updates / training.lanes.num_windows
        parts.append(f"after {training.num_updates:,} updates ({epochs:.2g} epochs)")
    if training.config.max_minutes:
        parts.append(f"after {duration(60 * training.config.max_minutes)}")
    if training.config.patience:
        parts.append(f"after {training.config.patience:,} validations in a row without a new best (--patience)")
    return " or ".join(parts) + " (--max-minutes, --epochs, --num-updates)" * (not training.config.patience)


def conclude(training: Training, own_files: bool, where: str, again: str, stopped: bool) -> None:
    """The end of the story: the best loss, a sample, where the run lies and what to do next."""
    kind = training.vocab.kind
    if stopped:
        err.print(
            Text(f"\nstopped after update {training.updates:,}; the checkpoint is written. To go on:\n  {again}"),
            soft_wrap=True,
        )
        return
    if training.best_val_loss is not None:
        guess, best = training.tokens.entropy, training.best_val_loss
        err.print(
            f"\n{training.updates:,} updates in {duration(training.seconds)}. Best validation loss "
            f"{best:.3f} nats = [bold green]{measure(kind, best)}[/] "
            f"(by frequency alone: {measure(kind, guess)}).",
            soft_wrap=True,
        )
    err.print("\nThe model writes:\n", style="bold")
    length = SAMPLE_LENGTH if kind == "char" else SAMPLE_LENGTH // 5
    start = "def " if not own_files and kind == "char" else ""
    text = "".join(sample(training.model, training.vocab, prompt=start, length=length, temperature=0.6))
    out.print(Text(printable(start + text)), soft_wrap=True)
    place = shell_word(where)
    commands = {
        f"{program()} sample {place}": "let it write more",
        f"{program()} eval {place}": "its loss",
        f"{again} --num-updates {2 * training.updates}": "train on, for as long again",
    }
    widest = max(map(len, commands))
    lines = [f"  {command:<{widest}}   {what}" for command, what in commands.items()]
    err.print(Text.assemble("\nThe run lies in ", (where, "bold")), soft_wrap=True)
    err.print(Text("\n".join(lines)), soft_wrap=True)
