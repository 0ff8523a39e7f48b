"""What `micrornn compare` shows of a comparison, and of ways over a loss surface: tables, curves, verdicts, files.

show              a comparison as far as it has come, and the command that trains the best setting
show_trajectory   one example, a mini-batch, all examples at a time
"""

from __future__ import annotations

from typing import Any

from micrornn.printable import shell_word
from micrornn_cli.console import typed_command
from micrornn_cli.exits import Exit
from micrornn_cli.flags import typed, with_flags


def show(comparison: Any, asked: Any) -> int:
    """What has come of it by now."""
    from micrornn.compare.measure import measured
    from micrornn.report.compare import panels
    from micrornn_cli.console import out, show_command, write_json

    summary, measure = measured(comparison, asked.target)
    measure = with_flags(measure)
    drawn, command, plan = panels(measure), _command(comparison, summary.best), comparison.plan
    if asked.as_json:
        write_json(measure.to_dict() | {
            "folder": str(comparison.path), "varied": list(plan.varied), "command": command,
            "settings": {variant.name: variant.settings for variant in plan.variants},
            "runs": {comparison.run(*run): vars(comparison.outcome(*run)) for run in comparison.runs()},
        })  # fmt: skip
    else:
        from rich.text import Text

        from micrornn_cli.panels import view

        view(measure, drawn, out)
        if command:
            show_command("To train the best", command)
        out.print(Text(f"\nThe runs lie in {comparison.path}", "dim"), soft_wrap=True)
    _write(measure, drawn, comparison.path.name, asked)
    return _code(comparison)


def _code(comparison: Any) -> int:
    """0; or that of what failed, if nothing else came of it."""
    states = [comparison.outcome(*run).state for run in comparison.runs()]
    return Exit.FAILED if "failed" in states and "done" not in states else Exit.OK


def _command(comparison: Any, best: Any) -> str:
    """What to type for the best setting alone."""
    if best is None:
        return ""
    plan = comparison.plan
    usual, config = plan.kind().Settings(), plan.config(plan.variants[best.number], plan.seeds[0])
    from micrornn import tasks

    left = {"num_updates", "val_every", "threads", "epochs", "seed"}
    values = {name: value for name, value in config.to_dict().items() if name not in left}
    words = [*([plan.task] if plan.task != tasks.DEFAULT else []), *plan.files]
    words += typed({name: value for name, value in values.items() if value != getattr(usual, name)})
    return " ".join(["micrornn train", *map(shell_word, words)])


def _write(measure: Any, drawn: Any, name: str, asked: Any) -> None:
    """The figure and the page."""
    from micrornn.report.run import Run
    from micrornn_cli.measuring import write_outputs

    run = Run(name, command=typed_command(), tool="compare")
    write_outputs([(measure, drawn)], asked.save, asked.html, lambda: run)


def show_trajectory(asked: Any) -> int:
    """One example, a mini-batch, all examples at a time."""
    from micrornn.compare.trajectory import trajectory
    from micrornn.report.trajectory import panels
    from micrornn_cli.console import out, write_json
    from micrornn_cli.panels import view

    measure = trajectory(asked.seed)
    drawn = panels(measure)
    if asked.as_json:
        write_json(measure.to_dict())
    else:
        view(measure, drawn, out)
    _write(measure, drawn, "trajectory", asked)
    return Exit.OK
