"""`micrornn eval`: how well a trained network does its task, on what it has not learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from micrornn.errors import ConfigError, MicrornnError, counted
from micrornn_cli import console
from micrornn_cli.arguments import PATH, TEXTS, texts
from micrornn_cli.flags import flags
from micrornn_cli.options import beam_option, best_or_last, of_files
from micrornn_cli.waiting import compiling, progress

SIZE = click.IntRange(1)
MOST_LABELS = 30  # of a confusion matrix that is shown


@click.command(name="eval", short_help="Every metric of a trained network, next to simple baselines.")
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, type=TEXTS)
@of_files
@click.option("--batch-size", type=SIZE,
              help="Of text, lanes: pieces read side by side, each from a fresh state. 1 reads it "
              "from beginning to end.  [as in training]")  # fmt: skip
@click.option("--num-steps", type=SIZE,
              help="Of text, time steps per window; the state is carried from window to window, so "
              "this changes speed and memory only.  [as in training]")  # fmt: skip
@beam_option
@click.option("--skip-bad-rows", is_flag=True,
              help="Leave out rows of FILES that cannot be used, and count them.  [as in training]")  # fmt: skip
@best_or_last
@click.option("--save", type=PATH, metavar="FILE", help="A .png or .svg: a forecast beside what came, or which class "
              "is taken for which, of what is held out.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def eval(run: str, files: tuple[str, ...], beam: int | None, skip_bad_rows: bool, which: str, save: str | None,
         as_json: bool, **options: Any) -> None:  # fmt: skip
    """Every metric of a trained network, beside what takes no network; of text the loss, in bits per character or as
    perplexity.

    RUN is a run folder, or a checkpoint file. FILES are files, folders or globs, or - for standard input; without
    any, it is what the run held out for validation.

    \b
    Examples:
      micrornn eval runs/2026-11-20-120000-lstm
      micrornn eval runs/... other-book.txt --batch-size 1
      micrornn eval runs/... --last --json
    """
    from micrornn import data
    from micrornn.report.judged import measured as judged
    from micrornn.runs import load_run, own_task, task_from
    from micrornn_cli.measuring import require_outputs, write_outputs

    require_outputs(save, None)
    if save and files:
        raise ConfigError("--save shows what the run held out; leave FILES out")
    model, _, meta = load_run(run, which, any_task=True)
    searched: dict[str, Any] = {} if beam is None else {"beam": beam}
    searched |= {"skip_bad_rows": True} if skip_bad_rows else {}
    if files:
        task = task_from(meta, **searched)
    else:
        try:
            with progress("reading the data", as_json) as tell:
                task = own_task(meta, tell, device="cpu", **searched)
        except ConfigError:  # a flag is wrong, which FILES would not mend
            raise
        except MicrornnError as error:
            raise type(error)(f"{error}.\nName FILES to evaluate on.") from None
    with compiling(as_json), progress("evaluating", as_json) as tell:
        found = task.judge(model, data.find(texts(files)) if files else (), tell, **options)
        confusion = None if files else task.confusion(model)
    if save:
        drawn = judged(task.name, confusion, task.forecast(model))
        if drawn is None:
            raise ConfigError(f"--save: the task {task.name} has no classes and no forecast to draw; leave it out")
        write_outputs([drawn], save)
    baselines = {name: value for name, (_, value) in found.baselines.items()}
    about = {"run": run, "checkpoint": meta["path"], "files": list(files), "updates": meta["updates"]}
    if as_json:
        told = about | {"task": task.name, **found.scores, **found.values, "baselines": baselines}
        loss = task.metrics[0].name
        told |= {"baseline": baselines[loss]} if loss in baselines else {}
        if confusion is not None:
            told["confusion"] = {"labels": list(confusion.labels), "counts": confusion.counts.tolist()}
        console.write_json(told)
        return
    _show(about, task, found)
    if confusion is not None:
        _confusion(confusion)


def _show(about: Mapping[str, Any], task: Any, found: Any) -> None:
    rows: dict[str, Any] = {
        "model": f"{about['checkpoint']}, after {counted(about['updates'], 'update')}",
        "task": f"{task.name}: {task.about}",
        **{name: flags(words) for name, words in found.rows.items()},
    }  # fmt: skip
    for metric in task.metrics:
        if metric.name not in found.scores:
            continue
        words = console.Text(found.words.get(metric.name) or f"{found.scores[metric.name]:.4g} {metric.unit}".rstrip())
        words.stylize("bold green", 0, len(words.plain.split()[0]))
        if metric.name in found.baselines:
            how, value = found.baselines[metric.name]
            unit = " " + metric.unit.split()[0] if metric.name in found.words and metric.unit else ""
            words.append(f" ({how}: {value:.4g}{unit})")  # what has words of its own is told in several units
        rows[metric.name] = words
    console.out.print(console.facts(rows))


def _confusion(confusion: Any) -> None:
    """The confusion matrix: a row for each true class, a column for each predicted one."""
    Text, out = console.Text, console.out
    if len(confusion.labels) > MOST_LABELS:
        out.print(f"{len(confusion.labels):,} classes: which is taken for which is in --json and --save", style="dim")
        return
    out.print("rows: what is; columns: what it is taken for", style="dim")  # no title, which wraps at the table's width
    table = console.Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("", style="bold")
    for label in confusion.labels:
        table.add_column(Text(label), justify="right")
    for n, (label, row) in enumerate(zip(confusion.labels, confusion.counts)):
        table.add_row(Text(label), *(Text(f"{count:,}", "green" if i == n else "") for i, count in enumerate(row)))
    out.print(table)
