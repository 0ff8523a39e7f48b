"""Pictures of a batch and of a network in plain lines, for what a task shows before training and for its page.

padded_picture     the first sequences of a padded batch, time step by time step
boxes              boxes with an arrow between two, and the dimensions beside each arrow
network_picture    that of `Features`
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from micrornn.config import Config
from micrornn.printable import cells, pad, visible

LANES, WIDTH = 4, 78  # of a picture: sequences, columns of a narrow terminal
CELL = 14  # the widest word that is shown whole
PADDING = "░"


def padded_picture(words: np.ndarray, mask: np.ndarray, labels: np.ndarray | None = None, lane: str = "lane") -> str:
    """The first lanes of a batch, and the longest and the shortest in any case; of long ones the beginning and the end.

    words     (seq_len, batch_size), with the mask of what is no padding
    labels    (seq_len, batch_size), below each word; or (batch_size,), behind the last one
    """
    lengths = mask.sum(axis=0)
    shown = list(range(min(LANES, len(lengths))))
    for n, extreme in enumerate((int(lengths.argmin()), int(lengths.argmax()))):
        if extreme not in shown:
            shown[-1 - n] = extreme
    shown.sort()
    rows = [words] if labels is None or labels.ndim == 1 else [words, labels]
    names = [f"{lane} {b + 1:,}" if not n else "" for b in shown for n in range(len(rows))]
    ends = [f"-> {labels[b]}" for b in shown] if labels is not None and labels.ndim == 1 else [""] * len(names)

    def column(t: int) -> list[str]:
        texts = [_short(str(row[t, b])) if mask[t, b] else "" for b in shown for row in rows]
        width = max(len(f"t={t}"), *map(cells, texts))
        return [pad(text, width) for text in (f"t={t}", *(text or PADDING * width for text in texts))]

    head = max(map(len, names)) + 2
    room = WIDTH - head - max(map(cells, ends)) - len("  ...")
    columns: dict[int, list[str]] = {}
    for t in _from_both_ends(len(mask)):
        columns[t] = column(t)
        room -= cells(columns[t][0]) + 2
        if room < 0 and len(columns) > 1:
            del columns[t]
            break
    lines = []
    for n, (name, end) in enumerate(zip(["", *names], ["", *ends])):
        line = f"{name:<{head}}"
        for t in sorted(columns):
            line += columns[t][n] + ("  " if t + 1 in columns or t + 1 == len(mask) else "  ...  ")
        lines.append((line + end).rstrip())
    share = f"{100 * (1 - mask.mean()):.0f} % of this batch"
    return "\n".join(lines) + f"\n{PADDING} padding, {share}: stepped over, without any loss or gradient"


def _from_both_ends(count: int) -> Iterator[int]:
    """0 .. count - 1: two from the beginning, one from the end, and so on."""
    first, last = 0, count - 1
    while first <= last:
        yield first
        if first + 1 <= last:
            yield first + 1
        if first + 1 < last:
            yield last
        first, last = first + 2, last - 1


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= CELL else text[: CELL - 1] + "…"


def boxes(first: tuple[str, Sequence[Any]], steps: Iterable[tuple[str, str, Sequence[Any]]]) -> str:
    """What comes in with its dimensions, and for each step: what stands in its box, what comes out, its dimensions."""
    rows = list(steps)
    width = max(len(box) for box, _, _ in rows) + 2
    lines = [_arrow(*first)]
    for box, out, shape in rows:
        lines += ["┌" + "─▼" + "─" * (width - 2) + "┐", "│ " + f"{box:<{width - 2}}" + " │"]
        lines[-1] = "│ " + f"{box:<{width - 1}}" + "│"
        lines += ["└" + "─┬" + "─" * (width - 2) + "┘", _arrow(out, shape)]
    return "\n".join(lines)


def _arrow(name: str, shape: Sequence[Any]) -> str:
    return f"  │ {name} ({', '.join(map(str, shape))})"


def network_picture(config: Config, batch: tuple[int, int], vocab_size: int, output_size: int, read: str,
                    what: tuple[str, str] = ("words", "labels")) -> str:  # fmt: skip
    """Ids -> embedding -> recurrent layers -> what is read of them -> linear."""
    steps, lanes = batch
    size, ways = config.hidden_size, 2 if config.bidirectional else 1
    layers = f"{config.num_layers} x {size} {config.cell_title}" + (", forward and backward" if ways == 2 else "")
    embedding = f"one of {vocab_size:,}"
    if config.embedding_size:
        embedding = f"embedding: {vocab_size:,} x {config.embedding_size:,}"
    rows: list[tuple[str, str, tuple[int, ...]]] = [
        (embedding, "x_t", (steps, lanes, config.embedding_size or vocab_size)),
        (layers, "h_t", (steps, lanes, size * ways)),
    ]
    told = {"last": "the last valid step", "mean": "the mean over valid steps", "max": "the maximum over valid steps"}
    if read in told:
        if read == "last" and ways == 2:
            told["last"] += " of each direction"
        rows.append((f"{read}: {told[read]}", "h", (lanes, size * ways)))
    out = (steps, lanes, output_size) if read == "every" else (lanes, output_size)
    rows.append((f"linear: {output_size:,} x {size * ways:,}", f"logits of {what[1]}", out))
    return boxes((f"ids of {what[0]}: (seq_len, batch_size) =", (steps, lanes)), rows)
