"""`micrornn bench`: how fast micrornn is on this machine, beside what the machine could do at most."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from micrornn_cli import console
from micrornn_cli.arguments import Finite
from micrornn_cli.cellname import CellName
from micrornn_cli.waiting import compiling, progress

CHARACTERS = 100  # size of the vocabulary of the model that is trained; Python's sources have about as many
BUSY = 0.5  # with a higher load average of the last minute, the machine is busy


@click.command(short_help="How fast is this machine with it?")
@click.option("--threads", "cores", type=click.IntRange(1), multiple=True, metavar="N",
              help="Processor cores; may be given several times.  [1 and all]")  # fmt: skip
@click.option("--cell", "cells", type=CellName(), multiple=True,
              help="Only layers of this cell, one of `micrornn cell list`; may be given several times.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="All shapes of the benchmarks, and the start with an empty cache: some minutes.")  # fmt: skip
@click.option("--seconds", type=Finite(0.001, 60), default=0.2, show_default=True,
              help="How long each layer is timed; models five times as long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
def bench(cores: tuple[int, ...], cells: tuple[str, ...], everything: bool, seconds: float,
          as_json: bool) -> None:  # fmt: skip
    """How fast micrornn is on this machine.

    Layers forward and backward, whole updates of the default model, sampling, and start-up; medians, and the
    shortest time seen. "of limit" compares the floating-point operations of the matrix products with what these
    cores do in fused multiply-adds that touch no memory: 100 % cannot be reached. On a machine with other work
    to do, all figures are lower.

    \b
    Examples:
      micrornn bench
      micrornn bench --threads 1 --cell lstm
      micrornn bench --all --json > bench.json
    """
    from micrornn import __version__, device
    from micrornn.kernels.about import about

    kernels = about()
    chosen = cores or tuple(dict.fromkeys((1, kernels["threads"])))
    if max(chosen) > device.default_threads():
        raise click.UsageError(
            f"--threads is {max(chosen)}, but this process may use {device.default_threads()} processor cores"
        )
    names = ("processor", "vector_bytes", "tile", "threading_layer")
    found: dict[str, Any] = {"version": __version__, **{name: kernels[name] for name in names}}
    found["load"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if (found["load"] or 0) > BUSY:
        console.err.print(
            f"other work is going on (load {found['load']:.1f}): all figures will be too low", style="yellow"
        )
    parts = _parts(chosen, cells, everything, seconds, as_json)
    for name, rows in parts:
        found.setdefault(name, []).extend(rows)
        if not as_json:
            _show(name, rows)
    if as_json:
        console.write_json(found)


def _parts(cores: tuple[int, ...], cells: tuple[str, ...], everything: bool, seconds: float,
           quiet: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:  # fmt: skip
    """(part, its rows), one after the other, as they are measured."""
    from micrornn.bench import measure
    from micrornn.bench.cases import AGAINST, GRID, USUAL, Layer, Model
    from micrornn.config import TIMED_CELLS, Config

    usual = Config()
    model = Model(
        f"{usual.cell} {usual.num_layers} x {usual.hidden_size}", "char", CHARACTERS, usual.embedding_size,
        usual.num_layers, usual.hidden_size, usual.batch_size, usual.num_steps,
    )  # fmt: skip
    shapes = GRID + AGAINST if everything else USUAL
    cases = [Layer(cell, *shape) for shape in shapes for cell in cells or TIMED_CELLS]
    trained, drawn = [], []
    with compiling(quiet):
        for threads in cores:
            most = measure.limit(threads)
            rows = []
            with progress(f"layers on {threads} of the cores", quiet) as tell:
                for row in measure.layers(cases, threads, most, seconds):
                    rows.append(row | {"limit": most})
                    tell(len(rows), len(cases))
            yield "layers", rows
            trained.append(measure.updates(model, threads, most, 5 * seconds) | {"limit": most})
            drawn.append(measure.characters(model, threads, 5 * seconds))
    yield "training", trained
    yield "sampling", drawn
    yield "start", [_start(cold) for cold in ((False, True) if everything else (False,))]


def _start(cold: bool) -> dict[str, Any]:
    """Seconds from the start of `micrornn train` on a small text to its first update. With `cold`, the cache is empty;
    without, the command is run twice, so that the second run finds everything compiled."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "text.txt").write_text("to be, or not to be: that is the question.\n" * 1000)
        environment = dict(os.environ)
        if cold:
            environment.pop("NUMBA_CACHE_DIR", None)
            environment["MICRORNN_CACHE"] = folder
        took = 0.0
        for run in range(1 if cold else 2):
            command = [sys.executable, "-m", "micrornn_cli", "train", "text.txt", "--num-updates", "1", "--json"]
            start = time.perf_counter()
            with subprocess.Popen(
                [*command, "--out", str(run)], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            ) as process:  # fmt: skip
                assert process.stdout is not None
                process.stdout.readline()  # the report of the first update
                took = time.perf_counter() - start
                _, said = process.communicate()
            if process.returncode:
                raise click.ClickException(f"`micrornn train` failed: {said.strip()[-200:]}")
    return {"cold": cold, "seconds": took}


def _show(part: str, rows: list[dict[str, Any]]) -> None:
    out = console.out
    if part == "start":
        for row in rows:
            cache = "with an empty cache" if row["cold"] else "with compiled kernels in the cache"
            out.print(f"start to first update, {cache}: [bold]{console.duration(row['seconds'])}[/]")
        return
    title = {
        "layers": f"layers, forward and backward, {_cores(rows[0]['threads'])}",
        "training": "training, the default model, whole updates",
        "sampling": "sampling from the default model, 100 characters one by one",
    }[part]
    out.print(title, style="bold")  # not the table's own, which would be folded to its width
    table = console.Table(box=None, pad_edge=False)
    first = {"layers": ["cell", "batch", "steps", "input", "hidden"]}.get(part, ["model", "threads"])
    for n, name in enumerate(first):
        table.add_column(name, justify="right" if n else "left")
    for name in ("ms", "least", *(() if part == "sampling" else ("GFLOP/s", "of limit"))):
        table.add_column(name, justify="right")
    if part != "layers":
        table.add_column("characters/s", justify="right", style="bold green")
    for row in rows:
        cells = row["case"].replace(",", " ").split() if part == "layers" else [row["case"], str(row["threads"])]
        cells += [f"{1000 * row[name]:.3g}" for name in ("median", "least")]
        if "gflops" in row:
            cells += [f"{row['gflops']:.0f}", f"{100 * row['share']:.0f} %"]
        if part != "layers":
            cells.append(console.count(row["tokens_per_second" if part == "training" else "characters_per_second"]))
        table.add_row(*cells)
    out.print(table)
    if part == "layers":
        out.print(f"limit of {_cores(rows[0]['threads'])}: {rows[0]['limit']:.0f} GFLOP/s", style="dim")
    out.print()


def _cores(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"
