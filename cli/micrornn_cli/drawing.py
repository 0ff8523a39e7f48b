"""The drawing everybody asks for: how batch_size and num_steps lay a text into lanes and windows."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from micrornn.data import UNITS, Lanes, LineLanes, Vocab
from micrornn.errors import counted
from micrornn.printable import cells, pad
from micrornn.report.lanes import few, piece

TINTS = ("cyan", "green", "magenta")


def draw(lanes: Lanes | LineLanes, vocab: Vocab, width: int) -> Text:
    """Lanes as rows and windows as columns, with the real text in them."""
    label = len(f"lane {lanes.batch_size:,}") + 2
    windows = few(lanes.num_windows)
    gaps = 1 if windows[-1] > len(windows) - 1 else 0
    shown, cell = few(lanes.batch_size), max(14, (min(width, 200) - label - 1 - 4 * gaps) // len(windows) - 1)
    pieces = {b: [piece(lanes, vocab, b, w, cell) for w in windows] for b in shown}
    cell = max(14, *(cells(text) for line in pieces.values() for text in line))

    def row(left: str, ends: str, texts: list[str], middle: str, styles: bool = False) -> Text:
        line = Text(f"{left:<{label}}")
        for n, text in enumerate(texts):
            if gaps and n == len(windows) - 1:
                line.append(ends[1] + middle)
            line.append(ends[0] if n == 0 else ends[1])
            line.append(pad(text, cell), TINTS[n % 3] if styles else "")
        return line.append(ends[2] + "\n")

    out = Text()
    names = [f"window {w + 1:,}" for w in windows]
    out.append(row("", "   ", names, "   "))
    out.append(row("", "┌┬┐", ["─" * cell] * len(windows), "───"))
    for n, b in enumerate(shown):
        if n and b > shown[n - 1] + 1:
            out.append(row("    ⋮", "│││", ["⋮".center(cell)] * len(windows), " ⋮ "))
        out.append(row(f"lane {b + 1:,}", "│││", pieces[b], " … ", styles=True))
    out.append(row("", "└┴┘", ["─" * cell] * len(windows), "───"))
    updates = [f"↑ update {w + 1:,}" for w in windows]
    out.append(row("", "   ", updates, "   "))
    return out


def laid_out(lanes: Lanes | LineLanes, vocab: Vocab, carried: bool = True) -> Table:
    """The same in words: what batch_size and num_steps did to this text."""
    unit = UNITS[vocab.kind]
    b, t = lanes.batch_size, lanes.num_steps
    if isinstance(lanes, LineLanes):
        padding = f"{100 * (1 - lanes.num_tokens / (lanes.num_windows * b * t)):.0f} % of all places are padding (░)"
        rows = [
            ("batch_size", b, f"lanes: pieces of the text, {lanes.num_lines:,} lines in all, read side by side"),
            ("num_steps", t, f"time steps: a line begins at the left edge of a window, from zeros; {padding}"),
            ("one epoch", lanes.num_windows, "updates: every line once"),
        ]
    else:
        start = "the state (h, c) that its lane ended the window before with" if carried else "zeros"
        pieces, length, wide = counted(b, "piece"), counted(lanes.lane_len, *unit), counted(t, *unit)
        rest = counted(
            lanes.left_over, f"{unit[0]} at the ends of the lanes is", f"{unit[1]} at the ends of the lanes are"
        )
        rows = [
            ("batch_size", b,
             f"lanes: the text is cut into {pieces} of {length}, read side by side"),
            ("num_steps", t,
             f"time steps: a window is {wide} wide, and the gradient goes back to its left edge, no further"),
            ("one update", lanes.tokens_per_update,
             f"{unit[b * t != 1]} = {counted(b, 'lane')} x {counted(t, 'time step')}: one column of the drawing; "
             f"each window starts from {start}"),
            ("one epoch", lanes.num_windows,
             f"updates: every window once ({rest} left over)"),
        ]  # fmt: skip
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(style="bold yellow", no_wrap=True, justify="right")
    table.add_column()
    for name, number, words in rows:
        table.add_row(name, f"{number:,}", words)
    return table
