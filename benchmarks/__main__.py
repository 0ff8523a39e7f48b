"""`python -m benchmarks`: micrornn against its peers, in turn, medians. How to read it: README.md beside this."""

from __future__ import annotations

import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.cases import LAYERS, MODELS
from benchmarks.runner import PEERS, compare
from micrornn.kernels.cpu import set_threads
from micrornn.kernels.cpu.limit import fma_limit


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--threads", multiple=True, type=int, default=(1, 2), help="Cores; may be given several times.")
@click.option("--cell", multiple=True, help="Only these cells.")
@click.option("--models/--layers", default=False, help="Whole updates of a language model, or single layers.")
@click.option("--peer", multiple=True, default=PEERS[1:], help="Whom to compare with; 'none' for nobody.")
@click.option("--python", default=sys.executable, help="The Python that has the peers installed.")
@click.option("--rounds", default=5, help="How often each is timed in turn.")
@click.option("--seconds", default=0.2, help="How long at a time.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write everything as JSON.")
def main(threads: tuple[int, ...], cell: tuple[str, ...], models: bool, peer: tuple[str, ...], python: str,
         rounds: int, seconds: float, out: Path | None) -> None:  # fmt: skip
    """Forward and backward of recurrent layers (or whole updates), micrornn against PyTorch and JAX.

    \b
    Example:
      python -m benchmarks --cell lstm --threads 1
    """
    cases = MODELS if models else [case for case in LAYERS if not cell or case.cell in cell]
    peers = ["micrornn", *(name for name in peer if name != "none")]
    rows: list[dict[str, Any]] = []
    for n in threads:
        set_threads(n)
        limit = fma_limit(n)
        click.echo(f"\n{n} thread{'s' * (n > 1)}; FMA limit {limit:.0f} GFLOP/s; milliseconds, medians\n")
        click.echo("| case | " + " | ".join(peers) + " | faster than the best peer by | share of the limit |")
        click.echo("|---" * (len(peers) + 3) + "|")

        def show(row: dict[str, Any], limit: float = limit) -> None:
            times = " | ".join(f"{1000 * row[p]:.3f}" if p in row else "-" for p in peers)
            share = f"{row['tokens_per_second']:,.0f} tokens/s" if models else f"{100 * row['gflops'] / limit:.0f} %"
            click.echo(f"| {row['case']} | {times} | {row.get('ratio', math.nan):.2f} | {share} |")

        found = compare(cases, n, peers, rounds, seconds, python, show)
        rows += [row | {"limit": limit} for row in found]
        ratios = [row["ratio"] for row in found if "ratio" in row]
        if ratios:
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            click.echo(f"\ngeometric mean {mean:.2f}, least {min(ratios):.2f}")
    if out:
        out.write_text(json.dumps({"machine": platform.processor() or platform.machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
