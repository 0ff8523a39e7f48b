"""`python -m benchmarks`: micrornn against its peers, in turn, medians. How to read it: README.md beside this."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks import chart, material, parts, table
from benchmarks.runner import PEERS, How, Worker
from micrornn.bench.cases import CELLS, GROWTH, LAYERS, MODELS
from micrornn.bench.measure import limit
from micrornn.kernels.about import about

TITLES = {
    "layers": "Layers, forward and backward; milliseconds, median (least)",
    "models": "Training, whole updates",
    "sampling": "Sampling, one character after the other",
    "start": "Start-up",
    "growth": "An update against its size; milliseconds, median (least)",
}
NO_PEERS = "none"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--layers", is_flag=True, help="Single layers, forward and backward.")
@click.option("--models", is_flag=True, help="Whole training of language models: speed, losses, memory.")
@click.option("--sampling", is_flag=True, help="Characters per second at batch 1.")
@click.option("--start", is_flag=True, help="Time to the first update.")
@click.option("--growth", is_flag=True, help="Time of an update against time steps, and against lanes.")
@click.option("--threads", multiple=True, type=click.IntRange(1), default=(1, 2), help="Cores; may be given several "
              "times. Start-up and growth take the last.")  # fmt: skip
@click.option("--cell", "cells", multiple=True, type=click.Choice(CELLS), help="Only layers of these cells.")
@click.option("--case", "wanted", multiple=True, help="Only cases with this in their name.")
@click.option("--peer", multiple=True, default=PEERS[1:], help="Whom to compare with; 'none' for nobody.")
@click.option("--python", default=sys.executable, help="The Python that has the peers installed.")
@click.option("--rounds", type=click.IntRange(1), default=5, help="How often each has its turn.")
@click.option("--seconds", default=0.2, help="How long a turn takes.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Write everything as JSON; a chart goes beside it, as .svg.")  # fmt: skip
def main(threads: tuple[int, ...], cells: tuple[str, ...], wanted: tuple[str, ...], peer: tuple[str, ...],
         python: str, rounds: int, seconds: float, out: Path | None, **chosen: bool) -> None:  # fmt: skip
    """micrornn against PyTorch and JAX. Without a part's name, all parts: half an hour.

    \b
    Examples:
      python -m benchmarks --layers --cell lstm --threads 1
      python -m benchmarks --models --sampling --python other/bin/python --out all.json
    """
    peers = ("micrornn", *(name for name in peer if name != NO_PEERS))
    how = How(peers, python, rounds, seconds)
    found: dict[str, Any] = {"machine": _machine(), "versions": _versions(how), "rounds": rounds, "seconds": seconds}
    for name, value in found["machine"].items():
        click.echo(f"{name}: {value}")
    click.echo("versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    limits: dict[int, float] = {}
    for part in [name for name in TITLES if chosen[name]] or list(TITLES):
        rows: list[dict[str, Any]] = []
        for n in threads[-1:] if part in ("start", "growth") else threads:
            limits[n] = most = max(limit(n), limits.get(n, 0.0))  # at best: other work may have been going on
            click.echo(f"\n{TITLES[part]}; {n} thread{'s' * (n > 1)}; FMA limit {most:.0f} GFLOP/s\n")
            click.echo(table.head(part, peers))
            here = []
            for row in _rows(part, n, most, how, cells, wanted):
                here.append(row | {"limit": most})
                click.echo(table.line(part, row, peers))
            for sentence in table.conclusion(part, here, peers):
                click.echo(f"\n{sentence}")
            rows += here
        found[part] = rows
        if out:  # after each part: whoever stops the rest keeps what there is
            out.write_text(json.dumps(found, indent=1), "utf-8")
    if out:
        try:
            chart.draw(found, peers, out.with_suffix(".svg"))
        except ImportError:
            click.echo("no chart: that needs matplotlib, `pip install .[bench]`", err=True)


def _rows(part: str, threads: int, most: float, how: How, cells: tuple[str, ...],
          wanted: tuple[str, ...]) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The rows of one part."""
    layers = [case for case in LAYERS if (not cells or case.cell in cells) and _named(case.name, wanted)]
    models = [case for case in MODELS if _named(case.name, wanted)]
    if part == "layers":
        return parts.layers(layers, threads, most, how)
    if part == "models":
        return parts.models(models, threads, most, how)
    if part == "sampling":
        return parts.sampling([case for case in models if case.level == "char"], threads, how)
    return parts.start(threads, how) if part == "start" else parts.growth(GROWTH, threads, how)


def _named(name: str, wanted: tuple[str, ...]) -> bool:
    return not wanted or any(part in name for part in wanted)


def _machine() -> dict[str, Any]:
    """What the figures depend on."""
    kernels = about()
    load = f"{os.getloadavg()[0]:.1f} when this began" if hasattr(os, "getloadavg") else "unknown"
    return {
        "processor": f"{kernels['processor']}, {os.cpu_count()} cores, vectors of {8 * kernels['vector_bytes']} bits",
        "system": platform.platform(),
        "load": load,
        "texts": ", ".join(f"of {level}s {'real' if material.real(level) else 'made up'}" for level in material.TEXTS),
    }


def _versions(how: How) -> dict[str, str]:
    """Of each framework; whoever is not there is told of at once."""
    found = {"python": platform.python_version()}
    for peer in how.peers:
        try:
            worker = Worker(peer, 1, how.python)
        except RuntimeError as error:
            said = str(error).splitlines()[-1]
            raise click.ClickException(
                f"{peer}: {said}\n`pip install .[bench]` installs the peers; or --peer none"
            ) from None
        found[peer] = worker.version
        worker.close()
    return found


if __name__ == "__main__":
    main()
