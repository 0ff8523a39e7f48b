"""`micrornn compare`: several settings side by side, on the same data and seeds, and what can be told of them."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any

import click

from micrornn.config import Config
from micrornn.errors import MicrornnError, counted
from micrornn.printable import printable, shell_word
from micrornn_cli.arguments import PATH, TEXTS, Finite, texts
from micrornn_cli.exits import Exit
from micrornn_cli.flags import flag_of, flags
from micrornn_cli.options import own_settings, refuse_unused, resolve
from micrornn_cli.varying import SETTINGS, Several, varied_settings


@click.command(short_help="Train several settings side by side; which can be told apart?")
@click.argument("files", nargs=-1, type=TEXTS, metavar="[show FOLDER] | [TASK] [FILES]...")
@click.option("--vary", multiple=True, metavar="NAME:VALUE,...",
              help="A setting, and the values that it is to have; may be repeated: all combinations are compared. A "
              "flag with commas does the same.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 1000), metavar="N",
              help="Train each setting with N seeds.  [3; of a search 1]")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63 - 2000), default=0, metavar="N", show_default=True,
              help="The first of the seeds.")  # fmt: skip
@click.option("--tokens", type=click.IntRange(0), default=0, metavar="N",
              help="Each run reads N tokens (time steps).  [as --num-updates and so on say; without any, 1,000 "
              "updates of the first setting's size]")  # fmt: skip
@click.option("--target", type=Finite(hint="Here it is a loss; that of the task is --set target=..."), metavar="LOSS",
              help="Tell when each reaches this loss.  [the highest mean loss of a setting that has learned "
              "something]")  # fmt: skip
@click.option("--search", type=click.IntRange(2, 1000), metavar="N",
              help="Draw N settings at random from what is varied (--vary lr:1e-4..1e-1:log), and drop the worse "
              "half at each rung.")  # fmt: skip
@click.option("--first-rung", type=Finite(0, 1), metavar="X",
              help="Of a search: drop nobody before this share of the training.  [by the number of "
              "settings]")  # fmt: skip
@click.option("--brackets", type=click.IntRange(1, 16), metavar="N",
              help="Of a search: N of them side by side, each with fewer settings than the one before, and dropping "
              "nobody before its next rung (Hyperband).  [1]")  # fmt: skip
@click.option("--trajectory", is_flag=True,
              help="Draw the way of one example, a mini-batch, all examples at a time over a loss surface "
              "instead.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(1, 10_000), metavar="N",
              help="Train N at once, each in a process.  [as many as there are cores for]")  # fmt: skip
@click.option("--backend", default="loky", metavar="NAME[:ADDRESS]", show_default=True,
              help="Where: loky (processes here), dask or ray (here, or a cluster: dask:tcp://HOST:8786).")  # fmt: skip
@click.option("--out", type=PATH, metavar="FOLDER", envvar="MICRORNN_OUT", help="Where it goes.  [runs/TIME-compare]")
@click.option("--resume", type=PATH, metavar="FOLDER", help="Go on with this comparison where it stopped.")
@click.option("--config", "config_file", type=PATH, metavar="FILE", help="Settings that all share, from a TOML file.")
@click.option("--set", "own", multiple=True, metavar="NAME=VALUE", help="A setting of the task's own.")
@click.option("--save", type=PATH, metavar="FIG.PNG|SVG", help="Write a figure (extra: plot).")
@click.option("--html", type=PATH, metavar="FILE", help="Write one page that needs nothing else (extra: report).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables and pictures.")
@varied_settings
def compare(**given: Any) -> int:
    """Train several settings side by side, on the same data and with the same seeds, and say what can be told of them.

    A setting with commas is varied: --cell rnn,lstm, --batch-size 1,4,32, or --vary hidden-size:64,128; of several, all
    combinations are compared. Everything else is as for `micrornn train`. Each run is a run folder of its own inside of
    the comparison's, to be resumed, inspected and sampled from. Ctrl-C stops after the updates at hand; --resume goes
    on. A feed-forward net over the last 2 inputs is --cell window2.

    \b
    Examples:
      micrornn compare book.txt --cell rnn,gru,lstm --seeds 5
      micrornn compare book.txt --batch-size 1,4,32 --tokens 200000
      micrornn compare echo --set echo=10 --cell rnn,window2
      micrornn compare book.txt --search 40 --vary lr:1e-4..1e-1:log
      micrornn compare show runs/2026-11-27-101500-compare --html page.html
      micrornn compare --trajectory --save descent.png
    """
    from micrornn_cli.compared import show, show_trajectory
    from micrornn_cli.measuring import require_outputs

    asked = SimpleNamespace(**{name: given.pop(name) for name in list(given) if name not in SETTINGS})
    require_outputs(asked.save, asked.html)
    if asked.trajectory:
        _only(("trajectory", "save", "html", "as_json", "seed"))
        return show_trajectory(asked)
    if asked.files[:1] == ("show",) and (len(asked.files) < 3 or not os.path.exists("show")):
        if len(asked.files) != 2:
            raise click.UsageError("compare show FOLDER: name the folder of one comparison")
        _only(("files", "target", "save", "html", "as_json"))
        from micrornn.compare.folder import Comparison

        return show(Comparison.open(PATH.convert(asked.files[1], None, None)), asked)
    comparison, workers = _prepared(asked, given)
    stopped = _trained(comparison, asked.backend, workers, asked.as_json)
    return _stopped(comparison) if stopped else show(comparison, asked)


def _only(may: tuple[str, ...]) -> None:
    """UsageError for a flag on the command line that means nothing here."""
    context = click.get_current_context()
    for name in context.params:
        if name not in may and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = "FILES" if name == "files" else flag_of(name)
            raise click.UsageError(f"{flag} means nothing here; leave it out")


def _prepared(asked: Any, given: dict[str, Any]) -> tuple[Any, int]:
    """The comparison, all of it checked, and how many processes are to train it."""
    from micrornn import device
    from micrornn.compare import pool
    from micrornn.compare.folder import Comparison

    if asked.backend != "loky" or (asked.jobs or 1) > 1:
        pool.require(asked.backend)
    if asked.resume is not None:
        _only(("resume", "jobs", "backend", "target", "save", "html", "as_json"))
        comparison = Comparison.open(asked.resume)
    else:
        comparison = _new(asked, given)
    plan = comparison.plan
    common = plan.config(plan.variants[0], plan.seeds[0])
    device.require(common.device)
    if not pool.has_joblib() and not asked.as_json:
        click.echo("one run after the other; for several at once: pip install 'micrornn[compare]'", err=True)
    return comparison, asked.jobs or pool.usual_jobs(common.threads, common.device)


def _new(asked: Any, given: dict[str, Any]) -> Any:
    """A new comparison, or the one that lies in --out if it is the same."""
    from micrornn import data
    from micrornn.checkpoint import default_run_path
    from micrornn.compare.folder import Comparison
    from micrornn.compare.plan import plan
    from micrornn.compare.vary import axes
    from micrornn.data.stream import is_stream
    from micrornn_cli.taskflags import read_asked
    from micrornn_cli.waiting import progress

    kind, files, out, from_file = read_asked(asked.files, asked.config_file, asked.out)
    own = own_settings(asked.own, kind)
    vary = (*asked.vary, *(value.vary for value in given.values() if isinstance(value, Several)))
    given = {name: value for name, value in given.items() if value is not None and not isinstance(value, Several)}
    found = axes(vary, kind.Settings, asked.search is not None)
    for axis in found:
        if axis.name in given or axis.name in own:
            raise click.UsageError(f"{flag_of(axis.name)} is varied, and given a value as well; do one of them")
    _trust(given, found)
    first = {axis.name: axis.values[0] for axis in found if isinstance(axis.values, tuple)}
    refuse_unused(kind, from_file | own | given | first)
    common = resolve(given | {"seed": asked.seed}, from_file | own, "the settings", kind.Settings)
    if any(is_stream(file) for file in files):
        raise click.UsageError("a comparison reads its text more than once; write standard input to a file first")
    chosen, own = from_file | given, kind.Settings.__dataclass_fields__.keys() - Config.__dataclass_fields__
    with progress("reading the text", asked.as_json), _own_by_set(own):
        made = plan(
            kind, common, found, files=tuple(data.located(file) for file in texts(files)),
            seeds=asked.seeds or (1 if asked.search else 3), tokens=asked.tokens, scheduled="schedule" in chosen,
            own_validations="val_every" in chosen, **_drawn(asked, found),
        )  # fmt: skip
    return Comparison.create(out or default_run_path("search" if asked.search else "compare"), made)


def _drawn(asked: Any, found: Any) -> dict[str, Any]:
    """What a search adds to a plan: its settings, drawn at random, its rungs and its brackets."""
    from micrornn.compare.search import brackets, draws, rungs

    first, number = asked.first_rung or 0.0, asked.brackets or 1
    if not asked.search:
        if asked.first_rung is not None or asked.brackets is not None:
            flag = "--first-rung" if asked.first_rung is not None else "--brackets"
            raise click.UsageError(f"{flag} is for a search; give --search N, or leave it out")
        return {}
    sizes = brackets(asked.search, number, first)
    drawn = draws(found, sum(sizes), asked.seed)
    if number == 1:
        return {"draws": drawn, "rungs": rungs(len(drawn), first)}
    if len(drawn) < sum(sizes):
        raise click.UsageError(
            f"--brackets {number} draws {counted(sum(sizes), 'setting')}, and there are {len(drawn):,}; name ranges, "
            "more values"
        )
    return {"draws": drawn, "rungs": rungs(sizes[0], first), "brackets": sizes}


@contextmanager
def _own_by_set(own: Container[str]) -> Iterator[None]:
    """Settings of the task's own are named in errors as they are typed: with --set, for here they are no flags."""
    try:
        yield
    except MicrornnError as error:
        raise type(error)(flags(str(error), own)) from None


def _trust(given: dict[str, Any], found: Any) -> None:
    """Code of one's own that was typed may be run, here and by the processes that train."""
    from micrornn.cells import trust

    cells = [given.get("cell"), *(value for axis in found if axis.name == "cell" for value in axis.values)]
    for cell in filter(None, cells):
        trust(cell)


def _trained(comparison: Any, backend: str, workers: int, quiet: bool) -> bool:
    """Train what is left; True if it was stopped."""
    from micrornn.compare.run import go
    from micrornn_cli.comparing import Watching
    from micrornn_cli.console import err
    from micrornn_cli.signals import graceful

    plan = comparison.plan
    left = [run for run in comparison.runs() if comparison.outcome(*run).state not in ("done", "dropped")]
    if not quiet and left:
        how = f"{min(workers, len(left))} at a time" if workers > 1 else "one after the other"
        runs = f"{counted(len(plan.variants), 'setting')}, {counted(len(plan.seeds), 'seed')}"
        err.print(
            f"{runs}: {counted(len(left), 'run')} to train, {how}, into {comparison.path}", markup=False, soft_wrap=True
        )
    with (
        graceful() as stop,
        Watching(comparison, quiet) as watching,
        closing(go(comparison, backend, workers, stop)) as training,
    ):
        for ended in training:
            if ended is not None:
                watching.ended(*ended)
            watching.tick()
        return stop()


def _stopped(comparison: Any) -> int:
    from micrornn_cli.console import program

    again = f"{program()} compare --resume {shell_word(str(comparison.path))}"
    click.echo(printable(f"stopped; all runs have written their checkpoints. To go on:\n  {again}"), err=True)
    return Exit.INTERRUPTED
