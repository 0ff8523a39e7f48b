"""`python -m benchmarks`: micrornn against its peers, in turn, medians. How to read it: README.md beside this."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks import card, card_kernels, chart, material, parts, table
from benchmarks.runner import ON_CARD, PEERS, GaveUp, How, Worker, framework
from micrornn import device as devices
from micrornn.bench.cases import GROWTH, LAYERS, MODELS, Layer
from micrornn.bench.measure import limit
from micrornn.config import TIMED_CELLS as CELLS
from micrornn.errors import DeviceError
from micrornn.kernels.about import about

TITLES = {
    "agree": "The same training on the processor and on the card",
    "layers": "Layers, forward and backward; milliseconds, median (least)",
    "models": "Training, whole updates",
    "kernels": "Kernels one by one, and the larger of their shares of what the card can do",
    "sampling": "Sampling, one character after the other",
    "start": "Start-up",
    "growth": "An update against its size; milliseconds, median (least)",
}
PARTS = {
    "cpu": ("layers", "models", "sampling", "start", "growth"),
    "cuda": ("agree", "layers", "models", "kernels", "start", "growth"),
}
NO_PEERS = "none"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--layers", is_flag=True, help="Single layers, forward and backward.")
@click.option("--models", is_flag=True, help="Whole training of language models: speed, losses, memory.")
@click.option("--sampling", is_flag=True, help="Characters per second at batch 1.")
@click.option("--start", is_flag=True, help="Time to the first update.")
@click.option("--growth", is_flag=True, help="Time of an update against time steps, and against lanes.")
@click.option("--kernels", is_flag=True, help="Each kernel by itself, with its share of what the card can do (cuda).")
@click.option("--agree", is_flag=True, help="Whether the card trains as the processor does, and twice alike (cuda).")
@click.option("--device", type=click.Choice(devices.DEVICES), default="cpu", help="Where to compute.")
@click.option("--threads", multiple=True, type=click.IntRange(1), default=(1, 2), help="Cores; may be given several "
              "times. Start-up and growth take the last. Not for a graphics card.")  # fmt: skip
@click.option("--cell", "cells", multiple=True, type=click.Choice(CELLS), help="Only layers of these cells.")
@click.option("--case", "wanted", multiple=True, help="Only cases with this in their name; or one "
              "layer of this batch, time steps, input, hidden.")  # fmt: skip
@click.option("--peer", multiple=True, help="Whom to compare with; 'none' for nobody.  [default: "
              "all that there are for the device]")  # fmt: skip
@click.option("--python", default=sys.executable, help="The Python that has the peers installed.")
@click.option("--rounds", type=click.IntRange(1), default=5, help="How often each has its turn.")
@click.option("--seconds", default=0.2, help="How long a turn takes.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Write everything as JSON; a chart goes beside it, as .svg.")  # fmt: skip
def main(device: str, threads: tuple[int, ...], cells: tuple[str, ...], wanted: tuple[str, ...], peer: tuple[str, ...],
         python: str, rounds: int, seconds: float, out: Path | None, **chosen: bool) -> None:  # fmt: skip
    """micrornn against PyTorch and JAX. Without a part's name, all parts: half an hour. On a graphics card against
    PyTorch with cuDNN, in float32 and in tf32.

    \b
    Examples:
      python -m benchmarks --layers --cell lstm --threads 1
      python -m benchmarks --models --sampling --python other/bin/python --out all.json
      python -m benchmarks --device cuda --out card.json
    """
    names, how = _parts(device, chosen), How(_peers(device, peer), python, rounds, seconds, device)
    try:
        devices.require(device)
        _run(how, threads, cells, wanted, names, out)
    except GaveUp as error:
        raise click.ClickException(str(error)) from None
    except DeviceError as error:
        from micrornn_cli.exits import code_of

        click.echo(f"Error: {error}", err=True)
        raise SystemExit(int(code_of(error))) from None


def _peers(device: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    """micrornn first; on a card each in two precisions."""
    known = PEERS if device == "cpu" else ON_CARD
    for name in asked:
        if name != NO_PEERS and name not in known[1:]:
            raise click.UsageError(f"--peer {name}: for --device {device} there are {', '.join(known[1:])} and none")
    peers = (known[0], *(name for name in asked or known[1:] if name != NO_PEERS))
    return peers if device == "cpu" else card.precisions(peers)


def _parts(device: str, chosen: dict[str, bool]) -> list[str]:
    """Those that were asked for, or all."""
    parts = [name for name in TITLES if chosen[name]] or list(PARTS[device])
    for name in parts:
        if name not in PARTS[device]:
            where = "on the processor" if device == "cuda" else "on a graphics card, --device cuda"
            click.echo(f"--{name} is left out: it is measured {where}", err=True)
    return [name for name in parts if name in PARTS[device]]


def _run(how: How, threads: tuple[int, ...], cells: tuple[str, ...], wanted: tuple[str, ...], names: list[str],
         out: Path | None) -> None:  # fmt: skip
    """Measure part after part, and tell of each."""
    peers, device = how.peers, how.device
    found: dict[str, Any] = {"machine": _machine(), "versions": _versions(how), "rounds": how.rounds,
                             "seconds": how.seconds}  # fmt: skip
    if device == "cuda":
        found["card"] = parts.limits(how)
        found["machine"] = {"card": _card(found["card"])} | found["machine"]
    for name, value in found["machine"].items():
        click.echo(f"{name}: {value}")
    click.echo("versions: " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    limits: dict[int, float] = {}
    for part in names:
        rows: list[dict[str, Any]] = []
        for n in [0] if device == "cuda" else threads[-1:] if part in ("start", "growth") else threads:
            if device == "cuda":
                most, title = found["card"]["gflops"], f"{TITLES[part]}; {found['card']['name']}"
                if part == "layers":
                    title += "; between two device events, and behind the semicolon what the caller waits"
                if found["card"]["simulator"]:
                    title += " (the simulator: its times mean nothing)"
            else:
                limits[n] = most = max(limit(n), limits.get(n, 0.0))  # at best: other work may have been going on
                title = f"{TITLES[part]}; {n} thread{'s' * (n > 1)}; FMA limit {most:.0f} GFLOP/s"
            click.echo(f"\n{title}\n\n{table.head(part, peers, device)}")
            here = []
            for row in _rows(part, n, most, how, cells, wanted, found.get("card", {})):
                here.append(row | {"limit": most})
                click.echo(table.line(part, row, peers, device))
            for sentence in table.conclusion(part, here, peers, device):
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


def _rows(part: str, threads: int, most: float, how: How, cells: tuple[str, ...], wanted: tuple[str, ...],
          on_card: dict[str, Any]) -> Iterator[dict[str, Any]]:  # fmt: skip
    """The rows of one part."""
    models = [case for case in MODELS if _named(case.name, wanted)]
    if part == "layers":
        return parts.layers(_layers(how.device, cells, wanted), threads, most, how)
    if part == "models":
        return parts.models(models, threads, most, how)
    if part == "sampling":
        return parts.sampling([case for case in models if case.level == "char"], threads, how)
    if part == "kernels":
        calls = card_kernels.calls(on_card["simulator"])
        return parts.kernels([call for call in calls if _named(call.name, wanted)], on_card, how)
    if part == "agree":
        return parts.agree(card.AGREE, how)
    return parts.start(threads, how) if part == "start" else parts.growth(GROWTH, threads, how)


def _layers(device: str, cells: tuple[str, ...], wanted: tuple[str, ...]) -> list[Layer]:
    """Those of the device's table that fit; four numbers that are not there are a shape of their own."""
    cases = LAYERS if device == "cpu" else card.LAYERS
    own_shapes = [tuple(map(int, name.split(","))) for name in wanted if re.fullmatch(r"\d+,\d+,\d+,\d+", name)]
    cases = [*cases, *(Layer(cell, *shape) for shape in own_shapes for cell in CELLS)]
    fit = (case for case in cases if (not cells or case.cell in cells) and _named(case.name, wanted))
    return list(dict.fromkeys(fit))


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


def _card(found: dict[str, Any]) -> str:
    """Its name, and what it can do at most, in words."""
    return (
        f"{found['name']}, compute capability {found['compute_capability']}, {found['multiprocessors']} "
        f"multiprocessors, {found['memory_bytes'] / 1e9:.0f} GB, driver for CUDA {found['driver']}; copies "
        f"{found['bytes_per_second'] / 1e9:,.0f} GB/s (read and written), FMA limit {found['gflops']:,.0f} GFLOP/s"
    )


def _versions(how: How) -> dict[str, str]:
    """Of each framework; whoever is not there is told of at once."""
    found = {"python": platform.python_version()}
    for peer in dict.fromkeys(map(framework, how.peers)):
        try:
            worker = Worker(peer, 1 if how.device == "cpu" else 0, how.python, device=how.device)
        except GaveUp as error:
            said = str(error).splitlines()[-1]
            install = "`pip install .[bench]` installs the peers; or --peer none"
            raise click.ClickException(f"{peer}: {said}\n{install}") from None
        found[peer] = worker.version
        worker.close()
    return found


if __name__ == "__main__":
    main()
