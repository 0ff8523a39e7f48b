"""`micrornn cell`: a recurrent cell from its step to its derivative, and the list of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from micrornn.errors import counted
from micrornn_cli import console

if TYPE_CHECKING:
    from micrornn.cells.explain import Explanation


@click.command(short_help="A cell from its equation to its derivative.")
@click.argument("name", metavar="NAME|list")
@click.option("--source", is_flag=True, help="Print the kernels that are written for the processor instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def cell(name: str, source: bool, as_json: bool) -> None:
    """How a recurrent cell becomes code: its step, and the kernels that the tape derives from it.

    NAME is a cell of `micrornn cell list`, or FILE.py:CLASS for one of your own. Such a file is code that is run; from
    then on checkpoints may name it, too.

    \b
    Examples:
      micrornn cell list
      micrornn cell lstm
      micrornn cell gru --source
      micrornn cell ./my_cell.py:MyCell
    """
    from dataclasses import asdict

    from micrornn.cells import find_cell, trust
    from micrornn.cells.explain import explain

    if name == "list":
        _list(as_json)
        return
    found = find_cell(name)
    trust(name)
    if source:
        from micrornn.kernels.cpu.write import source as written

        click.echo(written(found.program), nl=False)
        return
    told = explain(found)
    if as_json:
        console.write_json({"name": found.name, **asdict(told)})
    else:
        _show(found.name, told)


def _list(as_json: bool) -> None:
    """Every cell with its equation's first line, and whether it has kernels of its own."""
    from micrornn.cells import CELLS

    rows: list[dict[str, Any]] = [
        {
            "name": name, "gates": list(one.gates), "states": list(one.states), "parameters": list(one.parameters),
            "derived": one.derivable, "about": (one.__doc__ or "").strip(),
        }
        for name, one in CELLS.items()
    ]  # fmt: skip
    if as_json:
        console.write_json({"cells": rows})
        return
    table = console.columns("cell", "gates", "states", "equation", wrap=("equation",))
    for row in rows:
        equation = row["about"].split("\n\n")[0]
        table.add_row(row["name"], " ".join(row["gates"]), " ".join(row["states"]), " ".join(equation.split()))
    console.out.print(table)
    plain = [row["name"] for row in rows if not row["derived"]]
    if plain:
        console.out.print(
            f"\nNo kernels can be derived for {', '.join(plain)}: for --granularity primitive or cell only."
        )


def _show(name: str, told: Explanation) -> None:
    """For people: from the equation to the derivative, top to bottom."""
    Text, out = console.Text, console.out

    def head(title: str, note: str = "") -> None:
        out.print()
        out.print(Text(title, "bold"), Text(note, "dim"))

    def formulas(rows: tuple[tuple[str, str], ...]) -> None:
        wide = max((len(left) for left, _ in rows), default=0)
        for left, right in rows:
            out.print(Text(f"  {left:<{wide}} = {right}"))

    out.print(Text(name, "bold"))
    out.print(Text(told.about))
    head("Declared")
    wide = max(map(len, told.declared))
    for what, value in told.declared.items():
        out.print(Text(f"  {what:<{wide}}  {value}"))
    head("The step", told.where)
    out.print(Text("\n".join("  " + line for line in told.step.splitlines())))
    rows = "" if " " not in told.declared["gates"] else ", H rows of W and b for each gate in turn"
    head("Products", f"for all units at once{rows}")
    for line in told.pre:
        out.print(Text(f"  {line}"))
    head("Forward", "one unit, one time step")
    formulas(told.forward)
    head("The way back, op by op", "from the last op to the first; d.. is a cotangent")
    wide = max((len(left) for left, _ in told.rules), default=0)
    for left, right in told.rules:
        out.print(Text(f"  {left:<{wide}}   {right}"))
    head("Backward", "the same put together, as the kernel computes it")
    formulas(told.backward)
    head("On from there", "for all units at once; sums over time steps and lanes")
    for line in told.onward:
        out.print(Text(f"  {line}"))
    head("Kept", "from the way forward for the way back")
    for what, why in told.kept.items():
        out.print(Text(f"  {what}  {why}"))
    if told.again:
        out.print(Text(f"  Computed again: {', '.join(told.again)}."))
    head("Cost", "of a unit in a time step, beside the products; bytes of float32")
    counts = told.counts
    for way in ("forward", "backward"):
        operations = counted(counts[f"arithmetic {way}"], "operation")
        functions = counted(counts[f"functions {way}"], "function")
        moved = f"{counts[f'bytes {way}']} bytes read and written"
        out.print(Text(f"  {way:<9} {operations:>14}, {functions}, {moved}"))
    out.print(Text(f"  kept      {counts['bytes kept']:>3} bytes"))
