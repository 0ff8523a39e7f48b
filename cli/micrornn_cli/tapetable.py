"""What `micrornn tape` prints: the records, and what each time step gave to each weight."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from micrornn.errors import counted
from micrornn.tapeview import Row, TapeView, Value
from micrornn_cli.console import out, write_json

NUMBER = 6  # characters of a number in a cell
EQUAL = 1e-9  # a larger difference is not rounding, in float64


def show(found: TapeView, settings: dict[str, Any]) -> None:
    """Print all of it, for people."""
    units = {"seq_len": "time step", "hidden_size": "unit", "batch_size": "lane"}
    sizes = ", ".join(counted(settings[name], unit) for name, unit in units.items())
    title = f"{settings['cell']}, granularity {settings['granularity']}: {sizes}; {counted(len(found.rows), 'record')}"
    out.print(Text(title, "bold"))
    out.print()
    out.print(_records(found, found.difference is not None))
    named = [output.name for row in found.rows for output in row.outputs if output.name.startswith("#")]
    if named:
        out.print()
        out.print(Text(_numbers_told(named), "dim"))
    if found.difference is not None:
        out.print()
        out.print(Text("What each time step gave to the gradient of each weight: norm, share", "bold"))
        out.print()
        out.print(_contributions(found))
        out.print()
        out.print(
            f"The contributions add up to the gradient: the largest difference is {found.difference:.1e}.",
            style="green" if found.difference < EQUAL else "bold red",
        )
        out.print(
            "A share is the norm over the sum of all norms, with a minus where it points against the gradient g.",
            style="dim",
        )


def _numbers_told(names: list[str]) -> str:
    """What #3 means, and #3.1 or #3.f where records have several outputs."""
    plain = next((name for name in names if "." not in name), "")
    parts = [name for name in names if "." in name]
    told = [f"{plain} is the output of record {plain[1:]}"] if plain else []
    for name in dict.fromkeys(parts[-1:]):
        number, _, part = name[1:].partition(".")
        which = f"output {part}, counted from 0," if part.isdigit() else f"gate {part}"
        told.append(f"{name} is {which} of record {number}")
    return "; ".join(told) + "; numbers as in the column #."


def _records(found: TapeView, backward: bool) -> Table:
    """The leaves, then the records, under headings that name the layer and the time step."""
    lines: list[tuple[Text, Text, Value | None]] = [(Text(), Text("given:", "dim"), None)]
    lines += [(Text(), Text(leaf.name, "bold"), leaf) for leaf in found.leaves]
    for (t, scope), rows in groupby(found.rows, lambda row: (row.t, row.scope)):
        time = "all time steps" if t is None else f"t = {t}"
        lines.append((Text(), Text(f"{scope}, {time}:" if scope else "outside the layer:", "dim"), None))
        for row in rows:
            lines += _lines(row)
    widest = min(max(len(text) for _, text, _ in lines), max(26, 36 * out.width // 100))
    columns = 2 if backward else 1
    left = out.width - (len(str(len(found.rows))) + 2) - (widest + 2) - 7
    fit = max(1, min(8, (left // columns - 3) // (NUMBER + 1)))
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("record", max_width=widest)
    table.add_column("shape", justify="right", no_wrap=True)
    for name in ("value", "gradient")[:columns]:
        table.add_column(Text(name.rjust(NUMBER), "dim"), no_wrap=True)
    for number, text, value in lines:
        cells: list[Text] = []
        if value is not None:
            cells = [Text("x".join(map(str, value.data.shape)) or "scalar"), _numbers(value.data, fit, "")]
            cells += [_numbers(value.gradient, fit, "magenta")] if backward else []
        table.add_row(number, text, *cells)
    return table


def _lines(row: Row) -> list[tuple[Text, Text, Value | None]]:
    """`name = op(inputs)`; if there are several outputs, each has a line of its own below."""
    text = Text()
    one = row.outputs[0] if len(row.outputs) == 1 else None
    if one is not None and not one.name.startswith("#"):
        text.append(one.name, "bold")
        text.append(" = ")
    text.append(row.op, "cyan")
    text.append(f"({', '.join(row.inputs)})")
    lines: list[tuple[Text, Text, Value | None]] = [(Text(str(row.number), "dim"), text, one)]
    if one is None:
        lines += [(Text(), Text(f"  {output.name}", "bold"), output) for output in row.outputs]
    return lines


def _numbers(array: np.ndarray | None, fit: int, style: str) -> Text:
    """The first few numbers, each in a column of its own."""
    if array is None:
        return Text("-".rjust(NUMBER), "dim")
    flat = array.reshape(-1)
    more = "" if flat.size <= fit else " .." if out.options.ascii_only else " …"
    return Text(" ".join(short(number).rjust(NUMBER) for number in flat[:fit]) + more, style)


def short(number: float) -> str:
    """A number in six characters or fewer: 0.123, -12.34, 3e-05."""
    size = abs(number)
    if size == 0:
        return "0"
    if not 0.0005 <= size < 99_999:
        return f"{number:.0e}"
    return f"{number:.{3 if size < 9.9995 else 2 if size < 99.995 else 1 if size < 999.95 else 0}f}"


def _contributions(found: TapeView) -> Table:
    """A row for each time step, a column for each weight."""
    weights = list(dict.fromkeys(part.weight for part in found.contributions))
    parts = {(part.t, part.weight): part for part in found.contributions}
    largest = {
        weight: max(abs(part.share) for part in found.contributions if part.weight == weight) for weight in weights
    }
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("t", justify="right", no_wrap=True, min_width=3)
    for weight in weights:
        table.add_column(weight, justify="right", overflow="fold")
    for t in sorted({part.t for part in found.contributions}):
        cells = []
        for weight in weights:
            part = parts[t, weight]
            style = "bold magenta" if 0 < abs(part.share) == largest[weight] else ""
            cells.append(Text(f"{short(part.norm)} {f'{100 * part.share:.0f}%':>4}", style))
        table.add_row(Text(str(t), "dim"), *cells)
    norms = {leaf.name: float(np.linalg.norm(leaf.gradient)) for leaf in found.leaves if leaf.gradient is not None}
    total = [Text(f"{short(norms[weight])}     ") for weight in weights]
    table.add_row(Text("|g|", "dim"), *total)
    return table


def print_json(found: TapeView, settings: dict[str, Any]) -> None:
    """Everything for machines."""

    def plain(value: Value) -> dict[str, Any]:
        gradient = None if value.gradient is None else value.gradient.tolist()
        return {"name": value.name, "shape": value.data.shape, "value": value.data.tolist(), "gradient": gradient}

    rows = [
        {"number": row.number, "t": row.t, "scope": row.scope, "op": row.op, "inputs": row.inputs,
         "outputs": [plain(output) for output in row.outputs]}
        for row in found.rows
    ]  # fmt: skip
    write_json(settings | {
        "leaves": [plain(leaf) for leaf in found.leaves], "records": rows,
        "contributions": [vars(part) for part in found.contributions], "difference": found.difference,
    })  # fmt: skip
