"""The flags of `micrornn compare`: each setting may have several values, with commas between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from micrornn.config import Config
from micrornn_cli.arguments import chosen
from micrornn_cli.options import Setting, flag, settings

SETTINGS = [entry.name for entry in dataclasses.fields(Config) if entry.name != "seed"]  # compare has its own of that


class _Values(Setting):
    """One value as for `micrornn train`, checked at once; several, or a range, stay text: what is varied is read when
    it is known for which task."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        if value.strip(", ") == "":
            raise click.UsageError(
                f"{chosen(parameter, context)} is empty (an unset shell variable?); give values", context
            )
        if "," in value or ".." in value:
            return Several(self.entry.name, value)
        return super().convert(value, parameter, context)


class Several:
    """Values of a setting as they were typed; vary: as `--vary` takes them."""

    def __init__(self, name: str, text: str):
        self.vary = f"{name.replace('_', '-')}:{text}"


def _varied(entry: dataclasses.Field[Any]) -> tuple[list[str], dict[str, Any]]:
    """What Click is told of the flag of a setting: as for `micrornn train`, in a sentence."""
    names, how = flag(entry)
    how["help"] = how["help"].split("  [")[0].split(". ")[0].rstrip(".") + "."
    return names, how if isinstance(entry.default, bool) else how | {"type": _Values(entry), "metavar": "VALUE,..."}


varied_settings: Callable[..., Any] = partial(settings, without=("seed",), flag=_varied)
