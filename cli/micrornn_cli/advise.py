"""`micrornn advise`: which batch_size, num_steps and learning rate, by measurement, in one screen."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from micrornn.errors import DataError
from micrornn.folders import expand
from micrornn.printable import shell_word
from micrornn_cli import console
from micrornn_cli.arguments import PATH, TEXTS, Finite, texts, typed_by_hand
from micrornn_cli.flags import flag_of, typed, with_flags
from micrornn_cli.options import refuse_unused, resolve, settings
from micrornn_cli.taskflags import TaskCommand, named_task
from micrornn_cli.waiting import compiling, progress

# What says how long to train and how to report: no part of what is measured.
NO_MATTER = ("num_updates", "epochs", "max_minutes", "val_every", "watch_gradients", "patience", "keep_every",
             "bidirectional", "granularity", "init_from")  # fmt: skip


@click.command(cls=TaskCommand, short_help="Which batch_size, num_steps and learning rate?")
@click.argument("files", nargs=-1, type=TEXTS, metavar="[RUN|TASK] [FILES]...")
@click.option("--minutes", type=Finite(0, min_open=True), metavar="X", default=2.0, show_default=True,
              help="To measure for, at most.")  # fmt: skip
@click.option("--bias", type=Finite(0, 1, min_open=True, max_open=True), metavar="X", default=0.1,
              show_default=True, help="The largest tolerated truncation bias: it decides num_steps.")  # fmt: skip
@click.option("--last", is_flag=True, help="Of a RUN: its last checkpoint, not the best (by validation).")
@click.option("--save", type=PATH, metavar="FIG.PNG|SVG", help="Write a figure (extra: plot).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@partial(settings, without=NO_MATTER)
def advise(files: tuple[str, ...], minutes: float, bias: float, last: bool, save: str | None, as_json: bool,
           **given: Any) -> None:  # fmt: skip
    """Which batch_size, num_steps and learning rate to train with, measured on your text and this machine.

    FILES are text files, folders or globs, or - for standard input; without any, the Python standard library's own
    sources. A model with the settings below is trained briefly; early and later it is measured what truncation to
    num_steps does to the gradient, and how much of it is noise; and real updates are timed. --batch-size, --num-steps
    and --lr are where it starts from.

    With a RUN folder or checkpoint nothing is trained: its model is measured, on its own data, with its own settings.
    If its text lies elsewhere now, name its FILES behind the RUN. A TASK, or a RUN of one, will do if it cuts long
    sequences into windows; where each is read as a whole there is nothing to weigh.

    \b
    Examples:
      micrornn advise book.txt --num-layers 2 --hidden-size 128
      micrornn advise series sales.csv --target 2
      micrornn advise runs/2026-11-20-120000-lstm --minutes 1
    """

    from micrornn.advise import advise
    from micrornn.inspect.panels import Rows
    from micrornn.report.advise import panels
    from micrornn_cli.measuring import require_outputs, write_outputs
    from micrornn_cli.panels import view

    require_outputs(save, None)
    job = _of_run(expand(files[0]), files[1:], last, as_json) if _is_run(files) else _of_files(files, given, as_json)
    with compiling(as_json), _progress(as_json) as tell:
        measure = advise(job.config, job.tokens, 60 * minutes, tell, trained=job.trained, tolerance=bias, **job.about)
    measure = with_flags(measure)
    sizes = [f"{flag_of(name)} {measure.numbers[name].value:g}" for name in ("batch_size", "num_steps", "lr")]
    command = " ".join(["micrornn train", *map(shell_word, job.start), *sizes])
    drawn = panels(measure)
    write_outputs([(measure, drawn)], save)
    if as_json:
        console.write_json(measure.to_dict() | {"command": command})
    else:  # the tables alone, so that all of it fits on a screen
        view(measure, [panel for panel in drawn if isinstance(panel, Rows)], console.out)
        console.show_command("To train so", command)


@dataclasses.dataclass(frozen=True)
class _Job:
    """What to measure. start: how the command to train begins, before the sizes."""

    config: Any
    tokens: Any
    trained: Any
    start: Sequence[str]
    about: dict[str, Any]


def _is_run(files: Sequence[str]) -> bool:
    """Whether the first of them is a RUN. UsageError where another one is."""
    paths = [expand(file) if file else "" for file in files]
    runs = [bool(path) and (path.endswith(".ckpt") or Path(path, "config.toml").is_file()) for path in paths]
    if any(runs[1:]):
        raise click.UsageError("one RUN at a time, and it stands first: what is behind it are the FILES of its text")
    return any(runs)


def _of_files(files: Sequence[str], given: dict[str, Any], quiet: bool) -> _Job:
    from micrornn import data, tasks

    name = named_task(files)
    kind, files = (tasks.find(), files) if name is None else (tasks.find(name), files[1:])
    refuse_unused(kind, given)
    config = resolve(given, {}, "the settings", kind.Settings)
    told = ", ".join(map(str, files[:2])) + (f" and {len(files) - 2} more" if len(files) > 2 else "")
    start = [*([name] if name else []), *map(str, files), *_flags(config)]
    if kind is tasks.find():
        about = {"run": _model(config), "text": told or "Python's own standard library"}
        paths = data.find(texts(files)) if files else data.stdlib_sources()
        return _Job(config, _read(paths, config, quiet), None, start, about)
    paths = data.find(texts(files)) if files else []

    def made(**settings: Any) -> Any:
        return kind.prepare(dataclasses.replace(config, **settings), paths)

    _set_up(config)
    about = {"run": f"{kind.name}, {_model(config)}", "text": told or "the data it makes"}
    return _Job(config, made, None, start, about)


def _flags(config: Any) -> list[str]:
    """What to type for settings that are not as usual, but for those that are advised."""
    usual, advised = type(config)(), ("batch_size", "num_steps", "lr")
    chosen = {name: value for name, value in config.to_dict().items() if value != getattr(usual, name)}
    return typed({name: value for name, value in chosen.items() if name not in advised})


def _of_run(path: str, files: Sequence[str], last: bool, quiet: bool) -> _Job:
    """files: where the text lies now, if elsewhere than when the run began."""
    from micrornn import data
    from micrornn.advise import Point
    from micrornn.evaluate import require_finite
    from micrornn.finite import require_finite_parameters
    from micrornn.runs import load_run, own_files, own_task
    from micrornn.snapshot import task_of

    for name in typed_by_hand():
        if name not in ("files", "minutes", "bias", "last", "save", "as_json"):
            raise click.UsageError(f"a RUN has its own settings; leave {flag_of(name)} out, or give FILES")
    model, vocab, meta = load_run(path, "last" if last else "best", any_task=True)
    folder = Path(meta["path"]).parent
    about = {"run": f"{Path(path).name}, {_model(model.config)}", "updates": meta["updates"]}
    point, start = Point(meta["updates"], model), ["--config", os.path.join(folder, "config.toml")]
    if vocab is None:
        if files:
            raise click.UsageError("a RUN of this task is measured on its own data; leave FILES out")
        _set_up(model.config)
        model.train(False)
        require_finite_parameters(model)
        return _Job(model.config, partial(own_task, meta), point, start, about | {"text": "the data it learns from"})
    try:
        paths = data.find(texts(files)) if files else own_files(folder)
    except DataError as error:
        more = "" if files else f"\nIf it lies elsewhere: micrornn advise {shell_word(path)} FILES"
        raise DataError(f"{error}{more}") from None
    tokens = _read(paths, model.config, quiet)
    if task_of(meta)(model.config, tokens).fingerprint != meta.get("text"):
        which = "FILES are another text than that of this run" if files else "the text of this run has changed since"
        raise DataError(f"{path}: {which}; to measure on another, leave the RUN out")
    model.train(False)
    require_finite(model, tokens, most=2000)
    return _Job(model.config, tokens, point, [*files, *start], about | {"text": "the text it learns from"})


def _read(paths: Sequence[Path], config: Any, quiet: bool) -> Any:
    from micrornn import data

    _set_up(config)
    with progress("reading the text", quiet) as tell:
        return data.read_tokens(paths, config, tell)


def _set_up(config: Any) -> None:
    from micrornn import device, kernels

    device.require(config.device)
    kernels.set_threads(config.threads or device.default_threads())


def _model(config: Any) -> str:
    return f"{config.num_layers} x {config.hidden_size} {config.cell_title}"


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
    """Each thing that is done gets a line of progress of its own."""
    now, shown = "", contextlib.ExitStack()
    inner: Any = None

    def tell(what: str, done: int, total: int) -> None:
        nonlocal now, inner
        if what != now:
            shown.close()
            now, inner = what, shown.enter_context(progress(what, quiet))
        inner(done, total)

    with shown:
        yield tell
