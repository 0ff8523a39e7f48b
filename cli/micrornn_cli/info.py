"""`micrornn info`: what is here."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from micrornn.errors import counted
from micrornn_cli import console
from micrornn_cli.flags import flags

PACKAGES = ("numpy", "numba", "llvmlite", "click", "rich")
EXTRAS = ("numba-cuda", "cuda-bindings", "nvidia-nvvm")  # they compile the kernels for graphics cards


@click.command(short_help="What is here: versions, processor, devices, caches.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def info(as_json: bool) -> None:
    """What is here: versions, processor, threads, devices, caches.

    Worth adding to a bug report.

    \b
    Example:
      micrornn info
      micrornn info --json
    """

    facts = _facts()
    if as_json:
        console.write_json(facts)
    else:
        _show(facts)


def _facts() -> dict[str, Any]:
    """Everything, fit for JSON."""
    from micrornn import __version__, data, device, folders
    from micrornn.kernels.about import about

    kernels, tokens = about(), data.default_cache_dir()
    compiled = Path(kernels.pop("cache"))
    return {
        "versions": {"python": platform.python_version(), "micrornn": __version__}
        | {name: _version(name) or "unknown" for name in PACKAGES}
        | {name: version for name in EXTRAS if (version := _version(name))},
        "system": platform.platform(),
        "processor": {"name": _processor(), "cores": os.cpu_count()},
        "kernels": kernels,
        "devices": {
            name: {"available": why is None, "why_not": why}
            | ({"card": device.card()} if name == "cuda" and why is None else {})
            for name, why in ((name, device.available(name)) for name in device.DEVICES)
        },
        "cache_trouble": folders.cache_trouble(),
        "caches": {
            "kernels": {"path": str(compiled), "bytes": _size(compiled.rglob("*"))},
            # the kernels' folder lies inside, so no rglob
            "tokens": {
                "path": str(tokens),
                "bytes": _size([*tokens.glob("*.tokens"), *tokens.glob("*.json")]),
            },
        },
    }


def _version(package: str) -> str | None:
    """None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The name of the processor, as far as the system tells it."""
    try:
        if sys.platform == "darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine()


def _size(paths: Iterable[Path]) -> int:
    """The bytes of all files. A file that is deleted meanwhile is not counted."""
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _card(card: dict[str, Any] | None) -> str:
    if card is None:
        return ""
    if card["simulator"]:
        return "; Numba's simulator: kernels run in Python, thread by thread (NUMBA_ENABLE_CUDASIM)"
    return (
        f": {card['name']}, compute capability {card['compute_capability']}, "
        f"{counted(card['multiprocessors'], 'multiprocessor')}, "
        f"{card['memory_bytes'] / 1e9:,.1f} GB ({card['free_bytes'] / 1e9:,.1f} free), driver for CUDA {card['driver']}"
    )


def _show(facts: dict[str, Any]) -> None:
    Text = console.Text
    processor, kernels, tile = facts["processor"], facts["kernels"], facts["kernels"]["tile"]
    table = console.facts({
        **facts["versions"],
        "system": facts["system"],
        "processor": f"{processor['name']} ({kernels['processor']}), {counted(processor['cores'], 'core')}",
        "kernels": f"vectors of {8 * kernels['vector_bytes']} bits; matrix products in tiles of "
        f"{tile['rows']} x {tile['float32']} (float32), {tile['rows']} x {tile['float64']} (float64)",
        "threads": f"{kernels['threads']}; threading layer {kernels['threading_layer']}",
    })  # fmt: skip
    for name, found in facts["devices"].items():
        text = Text.assemble(("ready", "green")) if found["available"] else Text.assemble(("not available: ", "yellow"))
        text.append(flags(found["why_not"] or "") or _card(found.get("card")))
        table.add_row(f"device {name}", text)
    for name, cache in facts["caches"].items():
        table.add_row(f"{name} cache", Text(f"{cache['path']}, {cache['bytes'] / 1e6:,.1f} MB"))
    if facts["cache_trouble"]:
        table.add_row("", Text(facts["cache_trouble"], "yellow"))
    console.out.print(table)
