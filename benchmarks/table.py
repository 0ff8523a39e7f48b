"""Rows as Markdown tables, line by line."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

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


def head(part: str, peers: Sequence[str]) -> str:
    """The first two lines of a part's table."""
    others = peers[1:]
    names = {
        "layers": ["case", *peers, "faster than the best peer by", "share of the limit"],
        "models": ["model", *(f"{p}, tokens/s" for p in peers), *(f"faster than {p} by" for p in others),
                   "share of the limit", *(f"{p}, peak MB (of it imports)" for p in peers),
                   *(f"losses apart from {p}" for p in others)],
        "sampling": ["model", *(f"{p}, characters/s" for p in peers), *(f"faster than {p} by" for p in others)],
        "start": ["", "imported after s", "first update after s"],
        "growth": ["", *peers],
    }[part]  # fmt: skip
    return "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"


def line(part: str, row: Row, peers: Sequence[str]) -> str:
    """One row."""
    ratios = [f"{row['faster'][peer]:.2f}" if peer in row.get("faster", {}) else "-" for peer in peers[1:]]
    if part == "layers":
        cells = [row["case"], *_ms(row, peers), _faster(row), f"{100 * row['share']:.0f} %"]
    elif part == "models":
        memory = [f"{row['peak'][p] / 1e6:.0f} ({row['imported'][p] / 1e6:.0f})" for p in peers]
        cells = [
            row["case"], *_each(row, "tokens_per_second", peers, "{:,.0f}".format), *ratios,
            f"{100 * row['share']:.0f} %", *memory, *_each(row, "apart", peers[1:], "{:.1e}".format),
        ]  # fmt: skip
    elif part == "sampling":
        cells = [row["case"], *_each(row, "characters_per_second", peers, "{:,.0f}".format), *ratios]
    elif part == "start":
        cache = ", nothing compiled before" if row["cold"] else ""
        cells = [row["peer"] + cache, f"{row['imported']:.2f}", f"{row['first_update']:.2f}"]
    else:
        cells = [f"{row['size']} {row['along']}", *_ms(row, peers)]
    return "| " + " | ".join(cells) + " |"


def conclusion(part: str, rows: Sequence[Row], peers: Sequence[str]) -> list[str]:
    """What a part comes to, in sentences."""
    if part == "layers":
        return _means(rows)
    if part == "models":
        return [_losses(rows, peer) for peer in peers[1:]]
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
    worst = max(row["apart"].get(peer, 0.0) for row in rows)
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
