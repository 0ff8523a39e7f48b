"""What was measured as one SVG: ratios to the best peer, shares of the limit, tokens per second, growth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.runner import precision

COLOURS = {"micrornn": "#0072b2", "torch": "#d55e00", "jax": "#009e73", "micrornn tf32": "#56b4e9",
           "torch tf32": "#e69f00"}  # fmt: skip
CELLS = {"rnn": "#56b4e9", "gru": "#e69f00", "lstm": "#0072b2"}

Row = dict[str, Any]


def draw(parts: dict[str, list[Row]], peers: Sequence[str], path: Path) -> None:
    """One panel for each thing that was measured. ImportError without matplotlib (`pip install .[bench]`)."""
    from matplotlib.figure import Figure

    panels: list[tuple[float, Callable[[Any], None]]] = []  # (height in inches, how to draw it)
    for threads in dict.fromkeys(row["threads"] for row in parts.get("layers", [])):
        rows = [row for row in parts["layers"] if row["threads"] == threads]
        panels.append((1 + len({_shape(row) for row in rows}) / 4, lambda axes, rows=rows: _layers(axes, rows)))
    for name, unit in (("models", "tokens_per_second"), ("sampling", "characters_per_second")):
        if rows := parts.get(name, []):
            height = 1 + len(rows) * len(peers) / 5
            panels.append((height, lambda axes, rows=rows, unit=unit: _rates(axes, rows, unit, peers)))
    for along in dict.fromkeys(row["along"] for row in parts.get("growth", [])):
        rows = [row for row in parts["growth"] if row["along"] == along]
        panels.append((3, lambda axes, rows=rows: _growth(axes, rows, peers)))
    if not panels:
        return
    heights = [height for height, _ in panels]
    figure = Figure(figsize=(8, sum(heights) + 0.5), layout="constrained")
    for axes, (_, paint) in zip(figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0], panels):
        paint(axes)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _shape(row: Row) -> str:
    return str(row["case"].split(" ", 1)[1])


def _layers(axes: Any, rows: Sequence[Row]) -> None:
    """A dot for each layer: how many times faster than the best peer, or without peers the share of the limit. Where
    there are two precisions, tf32 is a ring."""
    compared = any(row["faster"] for row in rows)
    shapes = list(dict.fromkeys(map(_shape, rows)))
    for cell, colour in CELLS.items():
        mine = [row for row in rows if row["cell"] == cell]
        for kind, face in (("float32", colour), ("tf32", "none")):
            found = [(_ratio(row, kind) if compared else 100 * row["share"], shapes.index(_shape(row))) for row in mine]
            found = [(x, y) for x, y in found if x is not None and (compared or kind == "float32")]
            if found:
                name = cell if kind == "float32" else f"{cell}, {kind}"
                axes.plot(*zip(*found), "o", color=colour, label=name, markerfacecolor=face)
    axes.set_yticks(range(len(shapes)), shapes)
    axes.set_ylim(len(shapes) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    if compared:
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xscale("log", base=2)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, 0.45), max(high, 2.2))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("times faster than the faster of the peers")
    else:
        axes.set_xlabel("% of the FMA limit")
    axes.set_title(f"layers (batch, time steps, input, hidden), {_threads(rows[0])}", loc="left")
    axes.legend(loc="best")


def _ratio(row: Row, kind: str) -> float | None:
    """To the best peer in a precision, if there is one."""
    return min((ratio for peer, ratio in row["faster"].items() if precision(peer) == kind), default=None)


def _rates(axes: Any, rows: Sequence[Row], unit: str, peers: Sequence[str]) -> None:
    """A dot for each model and framework, on a logarithmic axis: the models are too unlike for bars."""
    height = 0.6 / len(peers)
    for n, peer in enumerate(peers):
        places = [
            (row[unit][peer], at + (n - (len(peers) - 1) / 2) * height)
            for at, row in enumerate(rows)
            if peer in row[unit]
        ]
        axes.plot(*zip(*places), "o", color=COLOURS.get(peer), label=peer)
        for rate, at in places:
            axes.annotate(f"{rate:,.0f}", (rate, at), (7, 0), textcoords="offset points", va="center", fontsize="small")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_yticks(range(len(rows)), [f"{row['case']}\n{_threads(row)}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.15)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(unit.replace("_", " "), loc="left")
    axes.legend(loc="best")


def _growth(axes: Any, rows: Sequence[Row], peers: Sequence[str]) -> None:
    """Milliseconds of an update against size, and the straight line through them."""
    sizes = [row["size"] for row in rows]
    for peer in peers:
        line, colour = rows[0]["line"][peer], COLOURS.get(peer)
        axes.plot(sizes, [1000 * row["least"][peer] for row in rows], "o", color=colour)
        straight = [1000 * (line["fixed"] + line["each"] * size) for size in sizes]
        axes.plot(sizes, straight, color=colour, label=f"{peer}: straight within {100 * line['off']:.0f} %")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(rows[0]["along"])
    axes.set_ylabel("ms per update, least")
    axes.grid(alpha=0.3)
    axes.set_title(f"an update against {rows[0]['along']}, {_threads(rows[0])}", loc="left")
    axes.legend(loc="best")


def _threads(row: Row) -> str:
    return f"{row['threads']} thread{'s' * (row['threads'] > 1)}" if row["threads"] else "graphics card"
