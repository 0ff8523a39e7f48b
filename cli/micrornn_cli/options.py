"""The flags of a training run, made from the table in micrornn/config.py, and which value of a setting counts.

a file (--config)  <  the environment (MICRORNN_HIDDEN_SIZE=...)  <  a flag
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from micrornn.config import Config, allowed, check
from micrornn.errors import ConfigError, instead, quoted
from micrornn.owncode import is_own_code
from micrornn_cli.arguments import chosen
from micrornn_cli.flags import flag_of, flags

Flag = Callable[[dataclasses.Field[Any]], tuple[list[str], dict[str, Any]]]
WIDEST = 60  # columns for the list of choices behind a flag


class Setting(click.ParamType):
    """Converts text to the type of one setting and checks its range, with the messages of Config."""

    def __init__(self, entry: dataclasses.Field[Any]):
        self.entry = entry
        self.name = {int: "integer", float: "number", str: "text"}[type(entry.default)]

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            return _checked(self.entry, value, chosen(parameter, context))
        except ConfigError as error:
            raise click.UsageError(str(error), context) from None

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        choices = self.entry.metadata["choices"]
        return [CompletionItem(choice) for choice in choices if choice.startswith(incomplete)]


def _checked(entry: dataclasses.Field[Any], value: Any, name: str) -> Any:
    """A value or its text, in the type of the setting. ConfigError where it cannot be."""
    kind: type = type(entry.default)
    if kind is bool and isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    elif kind is not str and isinstance(value, str):
        with contextlib.suppress(ValueError):  # check() says what is wrong with it
            value = kind(value)
    return check(entry, value, name)


class _Switch(click.types.BoolParamType):
    """--flag or --no-flag; a wrong value of a variable gets the message of Config."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> bool:
        try:
            return super().convert(value, parameter, context)
        except click.BadParameter:
            name = chosen(parameter, context)
            raise click.UsageError(f"{name} must be true or false, not {quoted(value)}", context) from None


def flag(entry: dataclasses.Field[Any]) -> tuple[list[str], dict[str, Any]]:
    """What Click is told of the flag of a setting: its names, and the rest."""
    name, help = flag_of(entry.name), flags(entry.metadata["help"])
    how: dict[str, Any] = {"default": None, "envvar": "MICRORNN_" + entry.name.upper()}
    if isinstance(entry.default, bool):
        return [f"{name}/--no-{name[2:]}"], how | {"type": _Switch(), "help": help}
    choices = entry.metadata["choices"]
    shown = "|".join(choices) if choices else ("TEXT" if isinstance(entry.default, str) else "N")
    if isinstance(entry.default, float):
        shown = "X"
    if entry.metadata["size"]:
        shown = "SIZE"
    if len(shown) > WIDEST:  # Click would not break it, and the line would be wider than the screen
        shown, help = "NAME", f"{help} There are {', '.join(choices)}."
    words = allowed(entry)
    help = f"{help}  [{entry.default}{'; ' if words else ''}{words}]"
    return [name], how | {"type": Setting(entry), "metavar": shown, "help": help}


def settings(command: Callable[..., Any], without: Collection[str] = (), flag: Flag = flag) -> Callable[..., Any]:
    """Decorator: a flag for each setting, but for some. A flag that was not given is None."""
    for entry in reversed([entry for entry in dataclasses.fields(Config) if entry.name not in without]):
        names, how = flag(entry)
        command = click.option(*names, **how)(command)
    return command


def require_trusted_cell(cell: str, where: str) -> None:
    """ConfigError where a cell of one's own is named in a file and nobody has typed its name yet."""
    if is_own_code(cell):
        from micrornn.cells import require_trusted

        require_trusted(cell, where)


def resolve(given: dict[str, Any], from_file: dict[str, Any], where: str, kind: type[Config] = Config) -> Config:
    """The settings: from flags and the environment (`given`, None where absent), else from the file, else the defaults.
    ConfigError if --backprop determines a setting and another value of it was given."""
    given = {name: value for name, value in given.items() if value is not None}
    found = kind.from_dict(from_file | given, where)
    for name in ("num_steps", "state"):
        if given.get(name, now := getattr(found, name)) != now:
            raise ConfigError(
                f"--backprop {found.backprop} goes with {flag_of(name)} {now}, and it was to be {given[name]}; "
                "leave one of the two out"
            )
    return found


def own_settings(pairs: Collection[str], task: Any) -> dict[str, Any]:
    """NAME=VALUE of --set, in the types of the own settings of a class of tasks: those that `Config` lacks."""
    shared = {entry.name for entry in dataclasses.fields(Config)}
    rows = {entry.name: entry for entry in dataclasses.fields(task.Settings) if entry.name not in shared}
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set {quoted(pair)}: wanted NAME=VALUE")
        if name not in rows:
            flag = f"; it is a flag, {flag_of(name)}" if name in shared else ""
            there = flag or instead(name, rows, "it has") or "; it has none"
            raise ConfigError(f"--set {quoted(name)} is no setting of the task {task.name}'s own{there}")
        values[name] = _checked(rows[name], text, f"--set {name}")
    return values


def refuse_unused(task: Any, given: Mapping[str, Any]) -> None:
    """ConfigError if a setting was given that a task does not use, because it would have no effect."""
    usual, context = task.Settings(), click.get_current_context(silent=True)
    for name in task.unused:
        if given.get(name) is not None and given[name] != getattr(usual, name):
            flag = flag_of(name)
            if context is not None and (parameter := _parameter(context, name)) is not None:
                flag = chosen(parameter, context)  # a variable was perhaps set for other commands, and forgotten
            raise ConfigError(f"{flag} is no setting of the task {task.name}; leave it out")


def _parameter(context: click.Context, name: str) -> click.Parameter | None:
    return next((parameter for parameter in context.command.get_params(context) if parameter.name == name), None)


AS_JSON = click.option("--json", "as_json", is_flag=True, help="For machines: JSON on stdout.")
UNSEEN = click.Choice(("error", "skip", "unknown"))


def of_text(what: str) -> list[Callable[..., Any]]:
    """The flags of a command that reads a text with symbols that its model may not know. `what` names the text."""
    return [
        unseen(what),
        click.option("--encoding", metavar="NAME",
                     help=f"What {what} is written in, such as cp1252 or utf-16.  [utf-8, else as in training]"),
    ]  # fmt: skip


def unseen(what: str) -> Callable[..., Any]:
    """The flag --unseen."""
    return click.option(
        "--unseen", type=UNSEEN,
        help=f"What to do with symbols of {what} that are new to the model: refuse them, leave them out, or read them "
        "as the one that stands for all others. They are counted.  [unknown if the vocabulary has that, else error]",
    )  # fmt: skip


def of_files(command: Callable[..., Any]) -> Callable[..., Any]:
    """`of_text` of FILES."""
    for option in reversed(of_text("FILES")):
        command = option(command)
    return command


best_or_last = click.option(
    "--best/--last", "which", default=True, show_default=True,
    callback=lambda context, parameter, best: "best" if best else "last",
    help="Of a run folder: its best checkpoint (by validation), or its last.",
)  # fmt: skip
beam_option = click.option(
    "--beam", type=click.IntRange(1, 1000), metavar="N",
    help="Of a task whose answers are sequences: hypotheses that are kept while one is looked for.  [as in training]",
)  # fmt: skip
