"""`micrornn eval`: how well a trained model predicts a text."""

from __future__ import annotations

from typing import Any

import click

from micrornn_cli.arguments import PATH, TEXTS, texts
from micrornn_cli.options import of_files

SIZE = click.IntRange(1)


@click.command(name="eval", short_help="Loss of a trained model on a text.")
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, type=TEXTS)
@of_files
@click.option("--batch-size", type=SIZE,
              help="Lanes: pieces of the text read side by side, each from a fresh state. 1 reads it "
              "from beginning to end.  [as in training]")  # fmt: skip
@click.option("--num-steps", type=SIZE,
              help="Time steps per window; the state is carried from window to window, so "
              "this changes speed and memory only.  [as in training]")  # fmt: skip
@click.option("--best/--last", default=True, show_default=True,
              help="Of a run folder: its best checkpoint (by validation), or its last.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def eval(run: str, files: tuple[str, ...], unseen: str | None, encoding: str | None, batch_size: int | None,
         num_steps: int | None, best: bool, as_json: bool) -> None:  # fmt: skip
    """Loss, bits per character or perplexity of a trained model on a text.

    RUN is a run folder, or a checkpoint file. FILES are text files, folders or globs, or - for standard
    input; without any, it is the part of its own text that the run held out for validation.

    \b
    Examples:
      micrornn eval runs/2026-11-20-120000-lstm
      micrornn eval runs/... other-book.txt --batch-size 1
      micrornn eval runs/... --last --json
    """

    from micrornn import data
    from micrornn.errors import ConfigError, MicrornnError
    from micrornn.evaluate import encode_files, evaluate
    from micrornn.runs import load_run, own_validation
    from micrornn_cli.console import write_json
    from micrornn_cli.waiting import compiling, progress

    model, vocab, meta = load_run(run, "best" if best else "last", any_task=True)
    if vocab is None:
        if files or unseen or encoding or batch_size or num_steps:
            raise ConfigError(
                f"RUN is of the task {meta['task']}, which is judged by what it holds out: name RUN alone"
            )
        _judge(run, model, meta, as_json)
        return
    batch_size, num_steps = batch_size or model.config.batch_size, num_steps or model.config.num_steps
    if files:
        encoded = encode_files(data.find(texts(files)), vocab, unseen or "", encoding or "", model.config.encoding)
        ids: data.text.Ids = encoded.ids
    else:
        try:
            with progress("reading the text", as_json) as tell:
                ids = own_validation(meta, tell)
        except MicrornnError as error:
            raise type(error)(f"{error}.\nName FILES to evaluate on.") from None
    lines = model.config.lines
    with compiling(as_json), progress("evaluating", as_json) as tell:
        score = evaluate(model, ids, batch_size, num_steps, tell, vocab.newline if lines else None)
    found: dict[str, Any] = {
        "run": run, "checkpoint": meta["path"], "files": list(files), "updates": meta["updates"],
        "level": vocab.kind, "loss": score.loss,
    }  # fmt: skip
    if vocab.kind == "word":
        found["perplexity"] = score.perplexity
    else:
        found[f"bits_per_{data.UNITS[vocab.kind][0]}"] = score.bits
    found |= {"tokens": score.tokens, "predicted": score.predicted}
    if files:
        found |= {"unseen": encoded.unseen, "of": encoded.total, "skipped": encoded.skipped}
    if vocab.unknown is not None:
        found["unknown"] = int((ids[0 : len(ids)] == vocab.unknown).sum())
    found |= {"batch_size": score.batch_size, "num_steps": score.num_steps}
    if as_json:
        write_json(found)
    else:
        _show(found, encoded.words() if files else "", "each line from zeros" if lines else "state carried over")


def _judge(run: str, model: Any, meta: dict[str, Any], as_json: bool) -> None:
    """The metrics of a model of another task than text, beside what takes no network."""
    from rich.table import Table
    from rich.text import Text

    from micrornn.runs import own_task
    from micrornn_cli.console import out, write_json
    from micrornn_cli.waiting import compiling

    task = own_task(meta)
    with compiling(as_json):
        scores = task.evaluate(model)
    if as_json:
        about = {"run": run, "checkpoint": meta["path"], "updates": meta["updates"], "task": task.name}
        write_json(about | scores | ({} if task.baseline is None else {"baseline": task.baseline[1]}))
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("model", Text(f"{meta['path']}, after {meta['updates']:,} updates"))
    table.add_row("task", Text(f"{task.name}: {task.about}"))
    for n, metric in enumerate(task.metrics):
        beside = f" ({task.baseline[0]}: {task.baseline[1]:.4g})" if task.baseline and not n else ""
        table.add_row(metric.name, f"[bold green]{scores[metric.name]:.4g}[/] {metric.unit}{beside}")
    out.print(table)


def _show(found: dict[str, Any], unseen: str, state: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from micrornn.data import UNITS
    from micrornn_cli.console import out

    one, many = UNITS[found["level"]]
    files, unknown = found["files"], found.get("unknown")
    named = ", ".join(files[:3]) + (f" and {len(files) - 3:,} more" if len(files) > 3 else "")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("model", Text(f"{found['checkpoint']}, after {found['updates']:,} updates"))
    table.add_row("text", Text((named or "what the run held out") + f": {found['tokens']:,} {many}"))
    if unseen:
        table.add_row("", f"{unseen} (--unseen)")
    elif unknown:
        share = 100 * unknown / found["tokens"]
        table.add_row("", f"{unknown:,} of them ({share:.2g} %) are not in its vocabulary, and count as one {one}")
    measure = (
        f"perplexity [bold green]{found['perplexity']:.2f}[/]"
        if one == "word"
        else f"[bold green]{found[f'bits_per_{one}']:.4f}[/] bits per {one}"
    )
    table.add_row("loss", f"{found['loss']:.4f} nats per {one} = {measure}")
    table.add_row(
        "read in",
        f"{found['batch_size']:,} lanes, windows of {found['num_steps']:,} time steps, {state}; "
        f"{found['predicted']:,} {many} predicted",
    )
    out.print(table)
