"""Rows as Markdown tables, line by line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import card
from benchmarks.runner import others, precision

Row = dict[str, Any]
SAME = 1e-3  # how far losses of the same training may be apart


def _ms(row: Row, peers: Sequence[str]) -> list[str]:
    """The median, and in brackets the least."""
    return [
        f"{1000 * row['median'][p]:.3f} ({1000 * row['least'][p]:.3f})" if p in row["median"] else "-" for p in peers
    ]


def _faster(row: Row) -> str:
    """By how much faster than the best of the others."""
    return f"{min(row['faster'].values()):.2f}" if row["faster"] else "-"


def _each(row: Row, name: str, peers: Sequence[str], form: Callable[[float], str]) -> list[str]:
    return [form(row[name][peer]) if peer in row[name] else "-" for peer in peers]


def _card_ms(row: Row, peers: Sequence[str]) -> list[str]:
    """The median and the least between two events, and behind them the median of what the caller sees."""
    wall = row.get("wall", {})
    return [cell + (f"; {1000 * wall[peer]:.3f}" if peer in wall else "") for cell, peer in zip(_ms(row, peers), peers)]


def _card_ratios(row: Row, rivals: Sequence[str]) -> list[str]:
    """How many times faster than each: between two events, and for the caller."""
    ratios = []
    for peer in rivals:
        both = [row[name][peer] for name in ("faster", "faster_wall") if peer in row.get(name, {})]
        ratios.append("; ".join(f"{ratio:.2f}" for ratio in both) or "-")
    return ratios


def head(part: str, peers: Sequence[str], device: str = "cpu") -> str:
    """The first two lines of a part's table."""
    rivals = others(peers)
    memory = [f"{p}, peak MB (of it imports)" for p in peers] if device == "cpu" else []
    faster = [f"faster than {p} by" for p in rivals]
    names = {
        "layers": ["case", *peers, *(["faster than the best peer by"] if device == "cpu" else faster),
                   "share of the limit"],
        "models": ["model", *(f"{p}, tokens/s" for p in peers), *faster, "share of the limit", *memory,
                   *(f"losses apart from {p}" for p in rivals)],
        "sampling": ["model", *(f"{p}, characters/s" for p in peers), *faster],
        "start": ["", "imported after s", "first update after s"],
        "growth": ["", *peers],
        "kernels": ["kernel", "ms, median (least)", "GB/s", "GFLOP/s", "share of the limit", "of"],
        "agree": ["model", "updates", "losses of processor and card apart", "relatively", "two runs on the card"],
    }[part]  # fmt: skip
    return "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"


def line(part: str, row: Row, peers: Sequence[str], device: str = "cpu") -> str:
    """One row."""
    rivals = others(peers)
    ratios = [f"{row['faster'][peer]:.2f}" if peer in row.get("faster", {}) else "-" for peer in rivals]
    if part == "layers" and device == "cpu":
        cells = [row["case"], *_ms(row, peers), _faster(row), f"{100 * row['share']:.0f} %"]
    elif part == "layers":
        cells = [row["case"], *_card_ms(row, peers), *_card_ratios(row, rivals), f"{100 * row['share']:.0f} %"]
    elif part == "models":
        memory = [f"{row['peak'][p] / 1e6:.0f} ({row['imported'][p] / 1e6:.0f})" for p in peers]
        cells = [
            row["case"], *_each(row, "tokens_per_second", peers, "{:,.0f}".format), *ratios,
            f"{100 * row['share']:.0f} %", *(memory if device == "cpu" else []),
            *_each(row, "apart", rivals, "{:.1e}".format),
        ]  # fmt: skip
    elif part == "sampling":
        cells = [row["case"], *_each(row, "characters_per_second", peers, "{:,.0f}".format), *ratios]
    elif part == "start":
        cache = ", nothing compiled before" if row["cold"] else ""
        cells = [row["peer"] + cache, f"{row['imported']:.2f}", f"{row['first_update']:.2f}"]
    elif part == "kernels":
        rates = [f"{row[name] / row['seconds'] / 1e9:,.0f}" for name in ("moved", "operations")]
        cells = [row["case"], f"{1000 * row['seconds']:.4f} ({1000 * row['least']:.4f})", *rates,
                 f"{100 * row['share']:.0f} %", row["bound"]]  # fmt: skip
    elif part == "agree":
        bits = "the same bits" if row["differ"] is None else f"other bits from update {row['differ']} on"
        cells = [row["case"], str(row["updates"]), f"{row['apart']:.1e}", f"{row['relative']:.1e}", bits]
    else:
        cells = [f"{row['size']} {row['along']}", *_ms(row, peers)]
    return "| " + " | ".join(cells) + " |"


def conclusion(part: str, rows: Sequence[Row], peers: Sequence[str], device: str = "cpu") -> list[str]:
    """What a part comes to, in sentences."""
    if part == "layers":
        return _means(rows) if device == "cpu" else card.layer_goals(rows)
    if part == "models":
        return [_losses(rows, peer) for peer in others(peers)] + (card.model_goals(rows) if device == "cuda" else [])
    if part == "agree":
        return [card.agreement(row) for row in rows]
    if part == "growth":
        said = []
        for along in dict.fromkeys(row["along"] for row in rows):
            lines = next(row["line"] for row in rows if row["along"] == along)
            for peer in peers:
                found = lines[peer]
                said.append(
                    f"{along}, {peer}: {1000 * found['fixed']:.2f} ms + {1e6 * found['each']:.0f} us for each, "
                    f"straight within {100 * found['off']:.0f} %"
                )
        return said
    return []


def _losses(rows: Sequence[Row], peer: str) -> str:
    worst = max((row["apart"].get(peer, 0.0) for row in rows), default=0.0)
    if precision(peer) != "float32":  # it rounds, and each in its own order
        return f"the first losses and those of {peer} are at most {worst:.1e} apart, relatively"
    words = "the same losses as" if worst <= SAME else "OTHER LOSSES than"
    return f"{words} {peer}: the first ones are at most {worst:.1e} apart, relatively"


def _means(rows: Sequence[Row]) -> list[str]:
    """Geometric means of the ratios, over all cells and for each."""
    groups = {"all": [row for row in rows if row["faster"]]}
    groups |= {cell: [row for row in groups["all"] if row["cell"] == cell] for cell in ("rnn", "gru", "lstm")}
    said = []
    for name, group in groups.items():
        ratios = [min(row["faster"].values()) for row in group]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            said.append(f"{name}: geometric mean {mean:.2f}, least {min(ratios):.2f} ({_slowest(group)})")
    return said


def _slowest(rows: Sequence[Row]) -> str:
    return str(min(rows, key=lambda row: min(row["faster"].values()))["case"])
