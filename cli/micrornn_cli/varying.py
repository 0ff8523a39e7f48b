"""The flags of `micrornn compare`: each setting may have several values, with commas between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from micrornn.config import Config
from micrornn_cli.arguments import chosen
from micrornn_cli.flags import flag_of, flags
from micrornn_cli.options import _Setting, _Switch

SETTINGS = [entry.name for entry in dataclasses.fields(Config) if entry.name != "seed"]  # compare has its own of that


class _Values(click.ParamType):
    """One value as for `micrornn train`, checked at once; several, or a range, stay text: what is varied is read when
    it is known for which task."""

    name = "values"

    def __init__(self, entry: dataclasses.Field[Any]):
        self.entry, self.one = entry, _Setting(entry)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip(", ") == "":
            raise click.UsageError(
                f"{chosen(parameter, context)} is empty (an unset shell variable?); give values", context
            )
        if "," in value or ".." in value:
            return Several(self.entry.name, value)
        return self.one.convert(value, parameter, context)

    def shell_complete(self, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
        return self.one.shell_complete(context, parameter, incomplete)


class Several:
    """Values of a setting as they were typed; vary: as `--vary` takes them."""

    def __init__(self, name: str, text: str):
        self.vary = f"{name.replace('_', '-')}:{text}"


def varied_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a flag for each setting. One that was not given is None."""
    for entry in reversed([entry for entry in dataclasses.fields(Config) if entry.name in SETTINGS]):
        flag, variable = flag_of(entry.name), "MICRORNN_" + entry.name.upper()
        help = flags(entry.metadata["help"]).split(". ")[0].rstrip(".") + "."
        if isinstance(entry.default, bool):
            option = click.option(f"{flag}/--no-{flag[2:]}", type=_Switch(), default=None, envvar=variable, help=help)
        else:
            option = click.option(
                flag, type=_Values(entry), metavar="VALUE,...", default=None, envvar=variable, help=help
            )
        command = option(command)
    return command
