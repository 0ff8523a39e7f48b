"""`micrornn warmup`: compile the kernels now, so that nobody waits for it later."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from micrornn.errors import counted
from micrornn_cli import console
from micrornn_cli.waiting import heard


@click.command(short_help="Compile the kernels now, once for this machine.")
@click.option("--all", "everything", is_flag=True,
              help="Also all other cells, float64, every op, optimizer and granularity: minutes.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and no progress.")
def warmup(everything: bool, as_json: bool) -> None:
    """Compile all kernels that training, sampling, evaluating and inspecting need, for this processor: of the
    cells lstm, gru and rnn, with --all of every cell.

    Once for each version of micrornn; what is compiled stays on disk. Without this, each is compiled when it
    is first needed.

    \b
    Examples:
      micrornn warmup
      micrornn warmup --all
    """

    from micrornn import kernels

    start = time.perf_counter()
    kernels.for_device("cpu")
    compiled = _work(everything, quiet=as_json)
    found = _facts(compiled, time.perf_counter() - start)
    if as_json:
        console.write_json(found)
        return
    took = console.duration(found["seconds"])
    done = f"{counted(len(compiled), 'kernel')} compiled in {took}" if compiled else f"nothing left to compile ({took})"
    console.out.print(f"[bold green]{done}[/]\ncache: {found['cache']}, {found['bytes'] / 1e6:,.1f} MB", soft_wrap=True)


def _work(everything: bool, quiet: bool) -> list[str]:
    """Do all jobs; the names of what was compiled, as module.kernel, in that order."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from micrornn.warmup import jobs

    err = console.err
    todo, compiled = jobs(everything), list[str]()
    bar = Progress(
        BarColumn(bar_width=20), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
        TextColumn("{task.description}"), console=err, transient=True, disable=quiet or not err.is_terminal,
    )  # fmt: skip
    with bar, _listed(compiled, bar):
        task = bar.add_task("", total=len(todo))
        for job in todo:
            before = len(compiled)
            bar.update(task, description=job.name)
            job.run()
            bar.advance(task)
            if len(compiled) > before and not quiet:
                bar.console.print(f"{job.name}: {len(compiled) - before} compiled", style="dim")
    return compiled


def _listed(compiled: list[str], bar: Any) -> Any:
    """A block in which the names of kernels are listed and shown as they are compiled."""
    under_way = list[str]()  # a kernel, the helper that it calls, the helper's helper

    def show() -> None:
        for task in bar.task_ids:
            bar.update(task, description=f"compiling {under_way[-1]}")

    def started(function: Any) -> None:
        package, _, module = function.__module__.rpartition(".")
        if package == "micrornn.kernels.cpu" and function.__name__.isidentifier():
            under_way.append(f"{module}.{function.__name__}")
            compiled.append(under_way[-1])
        else:  # for a function of Numba's own, or one without a name, the kernel that needs it is shown
            under_way.append(under_way[-1] if under_way else function.__name__)
        show()

    def ended() -> None:
        under_way.pop()
        if under_way:
            show()

    return heard(started, ended)


def _facts(compiled: list[str], seconds: float) -> dict[str, Any]:
    """What is told at the end, fit for JSON."""
    from micrornn.kernels.about import about

    cache = Path(about()["cache"])
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    return {"compiled": compiled, "seconds": seconds, "cache": str(cache), "bytes": size}
