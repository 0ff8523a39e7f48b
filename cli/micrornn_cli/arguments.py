"""Types of arguments, and what is common to all commands: paths, ~, - for standard input, variables.

Group            a group of commands that suggests one for an unknown name
Finite           the type of a number in a range; neither NaN nor infinite
PATH             the type of a path: not empty; ~ is a home folder
TEXTS            the type of texts: files, folders, globs or -, which micrornn.data.find checks
texts(names)     those texts, with streams copied to files
chosen(...)      the name under which a value was given: a flag or a variable
typed_by_hand()  the parameters that were given on the command line
tell_unknown()   notes about MICRORNN_* variables that nothing reads
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from micrornn.config import Config
from micrornn.errors import ConfigError, instead, quoted
from micrornn.folders import expand
from micrornn.printable import printable

PREFIX = "MICRORNN_"
OTHERS = ("CACHE", "OUT", "TRACEBACK")  # variables that are not settings
TESTS = "MICRORNN_TEST_"  # variables of micrornn's own tests


class Group(click.Group):
    """A group of commands; for one that is none it says which are near.

    shows    what its command `show` can be asked for: who leaves that word out is told
    """

    def __init__(self, *given: Any, shows: Callable[[], Iterable[str]] = tuple, **options: Any):
        super().__init__(*given, **options)
        self.shows = shows

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        if not context.resilient_parsing and self.get_command(context, args[0]) is None and args[0][:1] != "-":
            there = instead(args[0], self.list_commands(context))
            if args[0] in self.shows():
                there = f"; did you mean `{context.command_path} show {args[0]}`?"
            raise click.UsageError(f"No such command {quoted(args[0])}{there}", context)
        return super().resolve_command(context, args)


class Finite(click.FloatRange):
    """hint: a sentence that is added to the message about any other value."""

    name = "number"

    def __init__(self, *range: Any, hint: str = "", **ends: Any):
        super().__init__(*range, **ends)
        self.hint = hint

    def _describe_range(self) -> str:  # what --help shows
        return "" if self.min is self.max is None else super()._describe_range()

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        try:
            found = super().convert(value, parameter, context)
        except click.BadParameter as error:
            self.fail(f"{error.message} {self.hint}".strip(), parameter, context)
        return found if math.isfinite(found) else self.fail(f"{quoted(value)} is no finite number.", parameter, context)


class _Path(click.Path):
    """A path as it was typed. Whether it exists is checked when it is opened."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        name = chosen(parameter, context)
        if value == "":
            what = "name one" if isinstance(parameter, click.Argument) else "name one, or leave it out"
            raise click.UsageError(f"{name} is empty (an unset shell variable?); {what}", context)
        try:
            return expand(os.fspath(value))
        except ConfigError as error:
            raise click.UsageError(f"{name}: {error}", context) from None


PATH = _Path(readable=False)
TEXTS = click.Path(readable=False)


def chosen(parameter: click.Parameter | None, context: click.Context | None) -> str:
    """The name under which a parameter was given: its flag, its variable, or its name in the usage."""
    if parameter is None:
        return "a value"
    if isinstance(parameter, click.Argument):
        return parameter.make_metavar(context).strip("[]") if context else str(parameter.name).upper()
    source = context.get_parameter_source(parameter.name) if context and parameter.name else None
    variable = parameter.envvar
    if source is click.core.ParameterSource.ENVIRONMENT and isinstance(variable, str):
        return variable
    return parameter.opts[0]


def typed_by_hand() -> list[str]:
    """The names of the parameters that were given on the command line, not by a variable."""
    context, source = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    return [name for name in context.params if context.get_parameter_source(name) is source]


def texts(names: Iterable[str]) -> list[str]:
    """The names, with each stream replaced by a file that has its contents. DataError if one cannot be read."""
    from micrornn.data.stream import copied, is_stream

    return [str(copied(name)) if is_stream(name) else name for name in names]


def tell_unknown(environment: Sequence[str]) -> None:
    """A line for each MICRORNN_* variable that nothing reads, because it was surely meant to change something."""
    known = [entry.name.upper() for entry in dataclasses.fields(Config)] + list(OTHERS)
    for name in sorted(environment):
        end = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and end not in known and not name.startswith(TESTS):
            known += _of_tasks()
        if name.startswith(PREFIX) and end not in known and not name.startswith(TESTS):
            close = difflib.get_close_matches(end, known, 1)
            hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
            click.echo(printable(f"Note: {name[:80]} is no variable of micrornn{hint}"), err=True)


def _of_tasks() -> list[str]:
    """The variables of the settings that only some tasks have."""
    from micrornn import tasks

    return [entry.name.upper() for name in tasks.names() for entry in dataclasses.fields(tasks.find(name).Settings)]
