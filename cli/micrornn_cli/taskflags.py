"""`micrornn train` and `advise` have the flags of the task that is named: its own settings, and its defaults.

TaskCommand      a command with an argument FILES, the first of which may name a task; or --config does
named_task       the task that the first of FILES names
read_asked       the task, files and settings of a new run or comparison, from the command line and --config
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
from collections.abc import Sequence
from typing import Any

import click

from micrornn.config import Config
from micrornn.errors import CheckpointError, ConfigError, named, quoted, told_at
from micrornn.folders import expand
from micrornn_cli.flags import flag_of
from micrornn_cli.options import flag, require_trusted_cell

TASK, FLAGS = "micrornn.task", "micrornn.flags"  # in the context: the class of the task, its flags
MORE = "\n\nTasks: {}, or FILE.py:CLASS. `micrornn {} TASK --help` shows the settings and the defaults of one."


class TaskCommand(click.Command):
    """Finds out which task is meant before the arguments are parsed, because its flags depend on it."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        parser = self.make_parser(context)
        parser.ignore_unknown_options = True
        try:
            found = parser.parse_args(list(args))[0]
        except click.UsageError:  # the parsing proper says so
            found = {}
        kind = _named(found.get("files")) or _in_file(found.get("config_file"))
        if kind is not None:
            own = [_of_task(param, kind) for param in super().get_params(context)]
            shared = {entry.name for entry in dataclasses.fields(Config)}
            rows = [entry for entry in dataclasses.fields(kind.Settings) if entry.name not in shared]
            options = [(flag(entry), entry.name) for entry in rows]
            context.meta[TASK] = kind, [name for _, name in options]
            context.meta[FLAGS] = [*(click.Option([name, *names], **how) for (names, how), name in options), *own]
        return super().parse_args(context, args)

    def get_params(self, context: click.Context) -> list[click.Parameter]:
        flags: list[click.Parameter] | None = context.meta.get(FLAGS)
        return flags or super().get_params(context)

    def format_help_text(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from micrornn import tasks

        if TASK in context.meta:
            kind, own = context.meta[TASK]
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"The task {kind.name}: {kind.about}.")
                names = ", ".join(map(flag_of, own))
                formatter.write_paragraph()
                formatter.write_text(
                    f"Its own settings: {names or 'none'}. `micrornn {context.info_name} --help` says the rest."
                )
            return
        super().format_help_text(context, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(MORE.format(", ".join(tasks.names()), context.info_name).strip())


def named_task(files: Sequence[str]) -> str | None:
    """The task that is named where the first file may be; None if it is a file. ConfigError if it is neither, but near
    the name of a task."""
    if not files or os.path.lexists(files[0]):
        return None
    from micrornn import tasks

    if tasks.is_name(files[0]):
        tasks.trust(files[0])
        return files[0]
    close = difflib.get_close_matches(files[0], tasks.names(), 1) if files[0].isidentifier() else []
    if close:
        raise ConfigError(f"there is no file, folder or task {quoted(files[0])}; did you mean {close[0]}?")
    return None


def read_asked(files: tuple[str, ...], config_file: str | None,
               out: str | None) -> tuple[Any, tuple[str, ...], str | None, dict[str, Any]]:  # fmt: skip
    """(class of the task, files, folder for the results, settings of --config): what stands on the command line goes
    before what stands in the file. ConfigError where the file cannot be, or the two are not of the same task."""
    from micrornn import tasks

    first = named_task(files)
    files = files[1:] if first else files
    if config_file is None:
        return tasks.find(first or tasks.DEFAULT), files, out, {}
    where = f"--config {named(config_file)}"
    try:
        values = _read_toml(config_file)
    except CheckpointError as error:
        raise ConfigError(f"--config {error}") from None
    except ValueError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None
    try:
        beside = {name: _beside(name, values.pop(name)) for name in ("task", "files", "out") if name in values}
        kind = tasks.find(beside.get("task", first or tasks.DEFAULT), where)
    except ConfigError as error:
        raise ConfigError(told_at(where, error)) from None
    if first is not None and tasks.find(first).name != kind.name:
        raise ConfigError(f"{where} is of the task {kind.name}, and {first} is named, too; leave one of them out")
    config = kind.Settings.from_dict(values, where)  # what is wrong in it is told with the file's name
    require_trusted_cell(config.cell, where)
    return kind, files or tuple(beside.get("files", ())), out or beside.get("out"), values


def _read_toml(path: str) -> dict[str, Any]:
    from micrornn.checkpoint.files import read_file
    from micrornn.checkpoint.toml import MOST_BYTES, toml_loads

    return toml_loads(read_file(path, MOST_BYTES))


def _beside(name: str, value: Any) -> Any:
    """What may stand beside the settings in a file: the task, files, the folder of the run."""
    texts, kind = (value, "a list of texts") if name == "files" else ([value], "a text")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{name} must be {kind}, not {quoted(value)}")
    if value == "":
        raise ConfigError(f"{name} is empty; leave it out")
    try:
        return expand(value) if name == "out" else value
    except ConfigError as error:
        raise ConfigError(f"out: {error}") from None


def _named(files: Any) -> Any:
    """The class of the task that one of the arguments names. All are tried: before the task is known, the value of one
    of its flags looks like a file, too."""
    if not isinstance(files, tuple | list) or not files:  # Click has a value of its own for none
        return None
    from micrornn import tasks

    name = next((name for name in files if tasks.is_name(name) and not os.path.lexists(name)), None)
    if name is None:
        return None
    tasks.trust(name)
    return tasks.find(name)


def _in_file(path: Any) -> Any:
    """The class of the task that a file of settings names. None where it names none, or cannot be read: whoever reads
    it says why."""
    if not isinstance(path, str) or not path:
        return None
    from micrornn import tasks

    try:
        name = _read_toml(path).get("task")
        return tasks.find(name, f"--config {path}") if isinstance(name, str) else None
    except (CheckpointError, ConfigError, ValueError):
        return None


def _of_task(param: click.Parameter, kind: Any) -> click.Parameter:
    """A flag of a setting that all tasks share, with the default of this task; hidden if the task does not use it."""
    entry = next((entry for entry in dataclasses.fields(kind.Settings) if entry.name == param.name), None)
    if entry is None or entry.name not in Config.__dataclass_fields__ or not isinstance(param, click.Option):
        return param
    if entry.name in kind.unused:
        hidden = copy.copy(param)
        hidden.hidden = True
        return hidden
    usual = Config.__dataclass_fields__[entry.name]
    if entry.default == usual.default:
        return param
    names, how = flag(entry)
    return click.Option([entry.name, *names], **how)
