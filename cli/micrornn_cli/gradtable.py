"""What `micrornn gradcheck` prints: a table for each cell, the time steps of dL/dx_t, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.table import Table
from rich.text import Text

from micrornn.checks import DECIMALS, NetworkCheck
from micrornn.errors import counted
from micrornn.gradcheck import Check, decimals
from micrornn_cli.console import columns, out, write_json

MOST_STEPS = 10  # columns that fit into 80; more time steps are put into groups, each shown by its worst


def show(found: Sequence[NetworkCheck], run: str | None, sizes: dict[str, Any]) -> None:
    """Print all of it, for people."""
    for cell in dict.fromkeys(network.cell for network in found):
        networks = [network for network in found if network.cell == cell]
        out.print(Text(_title(cell, run, sizes), "bold"))
        out.print(_table(networks))
        if len(networks[0].checks) > 1 and networks[0].checks[0].name == "x":
            out.print(_by_step(networks))
        if math.isfinite(networks[0].kink):
            out.print(Text(_about_kinks(networks[0].kink, run), "dim"))
        kinks = max(check.kinks for network in networks for check in network.checks)
        if kinks:
            words = counted(kinks, "number lies", "numbers lie")
            out.print(Text(f"{words} at a kink: any slope between those to the left and right is right there.", "dim"))
        out.print()
    out.print(_verdict(found))


def _title(cell: str, run: str | None, sizes: dict[str, Any]) -> str:
    steps = f"{sizes['batch_size']} x {counted(sizes['seq_len'], 'time step')}"
    if run is not None:
        return f"{cell} of {run}, {steps}"
    layers = counted(sizes["num_layers"], "layer")
    ways = ", both directions" if sizes["bidirectional"] else ""
    return f"{cell}, {layers} of {sizes['hidden_size']}{ways}, {steps}"


def _table(networks: list[NetworkCheck]) -> Table:
    """A row for each tensor, a column for each granularity, and the largest error of all granularities."""
    equal_in = [f"{network.granularity}\ndecimals" for network in networks]
    table = columns("gradient of", "numbers", *equal_in, "worst error",
                    right=("numbers", *equal_in, "worst error"), style="dim")  # fmt: skip
    table.add_column("at", overflow="fold")
    for checks in zip(*(network.checks for network in networks)):
        worst = max(checks, key=lambda check: check.error)
        name = "one random direction" if worst.name == "projection" else worst.name
        place = str(list(worst.where)) if worst.where else ""
        equal = [_decimals(check.decimals) for check in checks]
        table.add_row(name, f"{worst.count:,}", *equal, f"{worst.error:.1e}", place)
    return table


def _decimals(number: int) -> Text:
    return Text(str(number), "green" if number >= DECIMALS else "bold red")


def _by_step(networks: list[NetworkCheck]) -> Table:
    """The number of equal decimals of dL/dx_t at each time step."""
    seq_len = len(networks[0].checks[0].by_step)
    groups = [range(t, t + 1) for t in range(seq_len)]
    if seq_len > MOST_STEPS:
        cuts = [seq_len * n // 8 for n in range(9)]
        groups = [range(a, b) for a, b in pairwise(cuts)]
    steps = [f"{group[0]}" if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups]
    table = columns("decimals of dL/dx_t, t =", *steps, right=steps, wrap=steps, style="dim")
    for network in networks:
        errors = network.checks[0].by_step
        equal = [_decimals(min(decimals(errors[t]) for t in group)) for group in groups]
        table.add_row(Text(network.granularity, "dim"), *equal)
    return table


def _about_kinks(kink: float, run: str | None) -> str:
    near = f"The relu nearest to its kink is {kink:.2g} away from it"
    if run is None:
        return f"{near}, by the choice of the weights; a difference moves none by more than 0.003."
    return f"{near}; a difference that crosses a kink is wrong where the gradient is right."


def _verdict(found: Sequence[NetworkCheck]) -> Text:
    pairs = [(network, check) for network in found for check in network.checks]
    bad = [pair for pair in pairs if pair[1].decimals < DECIMALS]
    numbers = f"{sum(1 if check.name == 'projection' else check.count for _, check in pairs):,} numbers"
    if not bad:
        least = min(check.decimals for _, check in pairs)
        return Text(f"Right: all {numbers} agree to {least} decimals or more ({DECIMALS} wanted).", "bold green")
    network, worst = max(bad, key=lambda pair: pair[1].error)
    return Text(
        f"WRONG: {len(bad)} of {counted(len(pairs), 'gradient')} agree to fewer than {DECIMALS} decimals. The worst: "
        f"{network.cell}, {network.granularity}, {worst.name}{list(worst.where) or ''}: "
        f"analytic {worst.analytic:.12g}, numeric {worst.numeric:.12g}.",
        "bold red",
    )


def print_json(found: Sequence[NetworkCheck]) -> None:
    """Print all of it as JSON."""
    networks = [
        {
            "cell": network.cell, "granularity": network.granularity, "passed": network.passed,
            "nearest_kink": network.kink, "checks": [_plain(check) for check in network.checks],
        }
        for network in found
    ]  # fmt: skip
    passed = all(network.passed for network in found)
    write_json({"passed": passed, "decimals_wanted": DECIMALS, "networks": networks})


def _plain(check: Check) -> dict[str, Any]:
    return {
        "name": check.name, "numbers": check.count, "decimals": check.decimals, "error": check.error,
        "at": list(check.where), "analytic": check.analytic, "numeric": check.numeric, "kinks": check.kinks,
        "decimals_by_step": [decimals(error) for error in check.by_step] if check.name == "x" else None,
    }  # fmt: skip
