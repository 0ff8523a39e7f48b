"""`micrornn recipe`: well-known trainings with all their constants, and the result to expect."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from micrornn.config import Config
from micrornn.printable import shell_word
from micrornn_cli import console
from micrornn_cli.arguments import PATH, PREFIX, Group, texts
from micrornn_cli.exits import Exit
from micrornn_cli.flags import typed
from micrornn_cli.options import AS_JSON
from micrornn_cli.signals import graceful
from micrornn_cli.waiting import compiling, progress

if TYPE_CHECKING:
    from micrornn.recipes import Job, Recipe
    from micrornn.recipes.expected import Row


def _names() -> list[str]:
    from micrornn.recipes import names

    return names()


@click.group(cls=Group, shows=_names, short_help="Well-known trainings, and the result to expect.")
def recipe() -> None:
    """Well-known trainings: a task with every constant, its source, and the result to expect.

    A recipe is a TOML file. NAME is one of `micrornn recipe list`, or the path of a file of your own.

    \b
    Examples:
      micrornn recipe list
      micrornn recipe show echo
      micrornn recipe run adding-100 --variant gru
      micrornn recipe check echo
      micrornn recipe check min-char-rnn shakespeare.txt
      micrornn recipe check ./my_recipe.toml
    """


def _of_runs(command: Callable[..., Any]) -> Callable[..., Any]:
    """What `run` and `check` are told."""
    for option in (
        AS_JSON,
        click.option("--device", type=click.Choice(("cpu", "cuda")), help="Where to compute.  [cpu]"),
        click.option("--out", type=PATH, metavar="FOLDER", help="Where the runs go.  [runs/recipes/NAME]"),
        click.option("--seed", "seeds", type=click.IntRange(0), multiple=True, metavar="N",
                     help="Another random seed than the recipe's; may be repeated."),
        click.option("--variant", "variants", multiple=True, metavar="NAME",
                     help="Only this variant; may be repeated."),
        click.argument("data", nargs=-1, type=PATH, metavar="[DATA]..."),
        click.argument("name"),
    ):  # fmt: skip
        command = option(command)
    return command


@recipe.command(name="list", short_help="All recipes: what they learn, how long it takes.")
@AS_JSON
def list_(as_json: bool) -> None:
    """All recipes of this package, with about how long all their runs take on two cores."""
    from micrornn import recipes

    found = [recipes.find(name) for name in recipes.names()]
    if as_json:
        console.write_json({"recipes": [_about(one) for one in found]})
        return
    table = console.columns("recipe", "takes", "data", "learns", right=("takes",), wrap=("data", "learns"))
    for one in found:
        data = console.Text(", ".join(one.data) or "made up")
        table.add_row(one.name, console.duration(60 * one.minutes), data, console.Text(one.about))
    console.out.print(table)


@recipe.command(short_help="Its constants, its source, and the commands that do the same.")
@click.argument("name")
@click.argument("data", nargs=-1, type=PATH, metavar="[DATA]...")
@AS_JSON
def show(name: str, data: tuple[str, ...], as_json: bool) -> None:
    """All that a recipe says: its constants, where they come from, what to expect, and the plain `micrornn train`
    commands that do the same."""
    from micrornn import recipes

    found = recipes.find(name)
    paths = list(data) or [role.upper() for role in found.data]
    commands = [_typed(job, paths, _folder(found, None) / job.name) for job in found.jobs()]
    if as_json:
        console.write_json(_about(found) | {"commands": commands})
        return
    folder = f"; or a folder with {', '.join(found.files)}" if found.files else ""
    table = console.facts({
        "recipe": f"{found.name}: {found.about}", "source": found.source, "task": found.task,
        "data": (", ".join(found.data) or "made on the fly") + folder,
        "takes": f"about {console.duration(60 * found.minutes)}",
    })  # fmt: skip
    Text = console.Text
    for label, values in {"": found.settings, **{k: v for k, v in found.variants.items() if k}}.items():
        told = ", ".join(f"{k} = {str(v).lower() if isinstance(v, bool) else v}" for k, v in values.items())
        table.add_row(label or "settings", Text(told))
    for e in found.expect:
        of = f" ({', '.join(e.variants)})" if any(e.variants) and len(e.variants) < len(found.variants) else ""
        table.add_row("expect", Text(f"{e.title}{of}: {e.band}; {e.origin}: {e.why}"))
    if found.notes:
        table.add_row("notes", Text(" ".join(found.notes.split())))
    console.out.print(table)
    for command in commands:
        console.out.print()
        console.out.print(Text(command), soft_wrap=True)


@recipe.command(short_help="Train it.")
@_of_runs
def run(name: str, data: tuple[str, ...], variants: tuple[str, ...], seeds: tuple[int, ...], out: str | None,
        device: str | None, as_json: bool) -> None:  # fmt: skip
    """Train each variant of a recipe, after its plain `micrornn train` command is shown, which does the same.

    DATA are the files that the recipe asks for. A run that was begun is resumed.
    """
    from micrornn.checkpoint import RunFolder
    from micrornn.recipes.playing import require_same
    from micrornn_cli.train import train

    found, jobs, paths, more = _begin(name, data, variants, seeds, device)
    for job in jobs:
        folder = _folder(found, out) / job.name
        arguments = _arguments(job, paths, folder, **more)
        if not as_json:
            console.err.print(_typed(job, paths, folder, **more), soft_wrap=True, markup=False, style="bold")
        if os.path.lexists(folder / "config.toml"):
            require_same(RunFolder.open(folder), job, paths)
            arguments = ["--resume", str(folder)]
        train.main([*arguments, *(["--json"] if as_json else [])], standalone_mode=False)


@recipe.command(short_help="Train it, and compare the result with what is expected.")
@_of_runs
def check(name: str, data: tuple[str, ...], variants: tuple[str, ...], seeds: tuple[int, ...], out: str | None,
          device: str | None, as_json: bool) -> None:  # fmt: skip
    """Train each variant of a recipe and compare its results with what is expected. Exit code 1 if one number lies
    outside of its band.

    DATA are the files that the recipe asks for. A run that is there is not trained again; one that was begun is
    resumed.
    """
    from micrornn.recipes.expected import look

    found, jobs, paths, more = _begin(name, data, variants, seeds, device)
    rows = []
    for job in jobs:
        folder = _folder(found, out) / job.name
        if not _train(job, paths, folder, more, as_json):
            click.echo(f"stopped in {job.name}; the same command goes on from there", err=True)
            raise SystemExit(int(Exit.INTERRUPTED))
        rows += look(job, folder, paths)
    passed = all(row.holds for row in rows)
    if as_json:
        console.write_json({"recipe": found.name, "passed": passed, "rows": [row.to_dict() for row in rows]})
    else:
        _table(found, rows)
    if not passed:
        raise SystemExit(int(Exit.FAILED))


def _train(job: Job, paths: Sequence[str], folder: Path, more: dict[str, Any], quiet: bool) -> bool:
    """Train a run to its end, with a line that says how far it is; False if it was stopped."""
    from micrornn.recipes.playing import play

    with graceful() as stop, compiling(quiet), progress(f"{job.recipe.name} {job.name}", quiet) as tell:
        for done, total in play(job, paths, folder, stop, tell, **more):
            tell(done, total)
        return not stop()


def _table(found: Recipe, rows: list[Row]) -> None:
    Text, out, titles = console.Text, console.out, ("run", "what", "expected", "seen", "")
    table = console.columns(*titles, right=("expected", "seen"), wrap=titles)
    for row in rows:
        seen = "nothing" if row.seen is None else f"{row.seen:.4g}"
        holds = Text("ok", "green") if row.holds else Text("no", "bold red")
        table.add_row(Text(row.job.name), Text(row.expected.title), row.expected.band, seen, holds)
    out.print(table)
    count = sum(row.holds for row in rows)
    out.print(f"{found.name}: {count} of {len(rows)} as expected", style="green" if count == len(rows) else "bold red")


def _folder(found: Recipe, out: str | None) -> Path:
    return Path(out or Path("runs", "recipes", found.name))


def _typed(job: Job, paths: Sequence[str], folder: Path, **more: Any) -> str:
    return " ".join([console.program(), "train", *map(shell_word, _arguments(job, paths, folder, **more))])


def _arguments(job: Job, paths: Sequence[str], folder: Path, **more: Any) -> list[str]:
    """What is typed after `micrornn train` to train the same."""
    settings, recipe = job.settings(job.recipe.roles(paths)), job.recipe
    return [recipe.task, *recipe.learned(paths), *typed(settings | more), "--out", str(folder)]


def _begin(name: str, data: Sequence[str], variants: Sequence[str], seeds: Sequence[int],
           device: str | None) -> tuple[Recipe, list[Job], list[str], dict[str, Any]]:  # fmt: skip
    """(the recipe, its trainings, the files, settings that differ from it). Checks that all files are there. Variables
    MICRORNN_* are ignored from now on, because a recipe gives all of its settings."""
    from micrornn import recipes

    found = recipes.find(name)
    jobs, paths = found.jobs(variants, seeds), texts(data)
    found.roles(paths)
    for entry in dataclasses.fields(Config):
        os.environ.pop(PREFIX + entry.name.upper(), None)
    return found, jobs, paths, {} if device is None else {"device": device}


def _about(found: Recipe) -> dict[str, Any]:
    return {
        "name": found.name, "about": found.about, "source": found.source, "task": found.task,
        "minutes": found.minutes, "data": list(found.data), "settings": found.settings, "variants": found.variants,
        "seeds": list(found.seeds), "notes": found.notes, "expect": [dataclasses.asdict(e) for e in found.expect],
    }  # fmt: skip
