"""`micrornn gradcheck`: are the gradients right? Analytic against numeric."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from micrornn.config import CELL_NAMES
from micrornn_cli import console
from micrornn_cli.arguments import PATH
from micrornn_cli.cellname import CellName
from micrornn_cli.exits import Exit
from micrornn_cli.flags import flag_of, flags
from micrornn_cli.waiting import compiling, progress

if TYPE_CHECKING:
    from micrornn.checks import NetworkCheck

GRANULARITIES = ("primitive", "cell", "sequence")
# What a trained model has fixed already.
FRESH_ONLY = ("cell", "num_layers", "hidden_size", "input_size", "bidirectional", "project")
SIZE = click.IntRange(1, 10_000)


@click.command(short_help="Are the gradients right?")
@click.argument("run", required=False, type=PATH)
@click.option("--task", metavar="TASK",
              help="The fresh network of a task, on one of its own batches: adding, copy, echo or "
              "FILE.py:CLASS.")  # fmt: skip
@click.option("--cell", type=CellName("all"), default="all", show_default=True,
              help="Which cell: one of `micrornn cell list`, or all.")  # fmt: skip
@click.option("--granularity", type=click.Choice(["all", *GRANULARITIES]), default="all", show_default=True,
              help="A record for every op, for every time step, or for the whole sequence.")  # fmt: skip
@click.option("--num-layers", type=SIZE, default=2, show_default=True, help="Layers, one above the other.")
@click.option("--hidden-size", type=SIZE, default=4, show_default=True, help="Units in each layer.")
@click.option("--input-size", type=SIZE, default=3, show_default=True, help="Numbers in each x_t.")
@click.option("--batch-size", type=SIZE, default=2, show_default=True, help="Sequences side by side.")
@click.option("--seq-len", type=SIZE, default=5, show_default=True, help="Time steps.")
@click.option("--bidirectional", is_flag=True, help="A second set of weights reads from the last step to the first.")
@click.option("--samples", type=SIZE, help="Compare only N numbers of each tensor.  [all; of a RUN or a task: 8]")
@click.option("--projected", "project", is_flag=True,
              help="All tensors at once along one random direction: quick at any size.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, inputs and samples.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object with every number compared.")
@click.pass_context
def gradcheck(context: click.Context, run: str | None, task: str | None, cell: str, granularity: str, as_json: bool,
              **sizes: Any) -> None:  # fmt: skip
    """Are the gradients right? Analytic against numeric, number by number, in float64.

    Without RUN: fresh networks of every cell, recorded in every granularity; with --task, that of a task. With
    RUN, a run folder or a checkpoint file: that trained model, on a window of its own text or a batch of its
    task, along one random direction and then a few numbers of each parameter. Ten decimals must be equal
    everywhere, or the exit code is 1.

    \b
    Examples:
      micrornn gradcheck
      micrornn gradcheck --cell lstm --granularity sequence --seq-len 20
      micrornn gradcheck --hidden-size 256 --projected
      micrornn gradcheck --task adding --cell gru
      micrornn gradcheck runs/2026-11-20-120000-lstm
    """
    from micrornn_cli import gradtable

    granularities = GRANULARITIES if granularity == "all" else (granularity,)
    cells: tuple[str, ...]
    if task is not None:
        if run is not None:
            raise click.UsageError("--task is for a fresh network, RUN is a trained one")
        _refuse(context, ("input_size", "bidirectional", "project", "seq_len"), "is for networks without a task")
        cells = ("lstm" if cell == "all" else cell,)
        run, networks = f"the task {task}", _of_task(task, cells[0], granularities, sizes)
    elif run is None:
        cells = CELL_NAMES if cell == "all" else (cell,)
        networks = _fresh(cells, granularities, sizes)
    else:
        _refuse(context, FRESH_ONLY, f"is for a fresh network, {run} is a trained one")
        _require_there(run)
        cells, networks = (run,), _trained(run, granularities, sizes)
    found: list[NetworkCheck] = []
    with compiling(as_json), progress("checking", as_json) as tell:
        for network in networks:
            found.append(network)
            tell(len(found), len(cells) * len(granularities))
    if as_json:
        gradtable.print_json(found)
    else:
        gradtable.show(found, run, sizes)
    if not all(network.passed for network in found):
        context.exit(int(Exit.FAILED))


def _refuse(context: click.Context, names: tuple[str, ...], why: str) -> None:
    """UsageError where one of these was given."""
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{'--projected' if name == 'project' else flag_of(name)} {why}")


def _require_there(run: str) -> None:
    """UsageError where there is no such run, and a task or a cell of about that name is."""
    from micrornn import tasks

    flags = dict.fromkeys(CELL_NAMES, "--cell") | dict.fromkeys(tasks.names(), "--task")
    near = difflib.get_close_matches(run, flags, 1, 0.7)
    if near and not os.path.lexists(run):
        raise click.UsageError(f"there is no run {run}; did you mean {flags[near[0]]} {near[0]}?")


def _possible(cell: str, granularities: tuple[str, ...]) -> list[str]:
    """Those that the cell can be computed in. One that was asked for alone stays, and says why it cannot be."""
    from micrornn.cells import find_cell

    alone = len(granularities) == 1
    return [one for one in granularities if alone or one != "sequence" or find_cell(cell).derivable]


def _fresh(cells: tuple[str, ...], granularities: tuple[str, ...],
           sizes: dict[str, Any]) -> Iterator[NetworkCheck]:  # fmt: skip
    from micrornn.checks import check_cell

    for cell in cells:
        for granularity in _possible(cell, granularities):
            yield check_cell(cell, granularity, **sizes)


def _trained(run: str, granularities: tuple[str, ...], sizes: dict[str, Any]) -> Iterator[NetworkCheck]:
    from micrornn.checks import check_model, window
    from micrornn.runs import load_run, own_task

    model, vocab, meta = load_run(run, any_task=True)
    seed, samples = sizes["seed"], sizes["samples"] or 8
    if vocab is None:
        yield from _on_a_batch(own_task(meta, batch_size=sizes["batch_size"]), model, granularities, sizes)
        return
    inputs, targets, reason = window(meta, vocab.size, sizes["seq_len"], sizes["batch_size"], seed)
    if reason:
        console.err.print(f"checking on random tokens: {flags(reason)}", style="dim", soft_wrap=True, markup=False)
    for granularity in _possible(model.config.cell, granularities):
        yield check_model(model, granularity, inputs, targets, samples=samples, seed=seed)


def _of_task(name: str, cell: str, granularities: tuple[str, ...], sizes: dict[str, Any]) -> Iterator[NetworkCheck]:
    from micrornn import tasks

    tasks.trust(name)
    kind = tasks.find(name)
    names = ("num_layers", "hidden_size", "batch_size", "seed")
    task = kind.example(kind.Settings(cell=cell, **{name: sizes[name] for name in names}))
    yield from _on_a_batch(task, task.network(), granularities, sizes)


def _on_a_batch(task: Any, model: Any, granularities: tuple[str, ...], sizes: dict[str, Any]) -> Iterator[NetworkCheck]:
    """Check the network of a task on its first batch. The task chooses how long that is."""
    from micrornn.checks import check_model

    inputs, targets, _ = task.batches.next()
    rows = getattr(inputs, "values", inputs)  # of what is padded
    sizes["seq_len"] = len(rows[0]) if isinstance(rows, tuple) else len(rows)
    for granularity in _possible(model.config.cell, granularities):
        yield check_model(model, granularity, inputs, targets, samples=sizes["samples"] or 8, seed=sizes["seed"])
