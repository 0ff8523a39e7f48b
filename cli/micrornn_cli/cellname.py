"""The flag --cell: a name of the table, windowK, or FILE.py:CLASS."""

from __future__ import annotations

from typing import Any

import click

from micrornn.config import CELL_NAMES, is_window
from micrornn.errors import instead, quoted
from micrornn.owncode import is_own_code
from micrornn_cli.arguments import chosen


class CellName(click.Choice[str]):
    """A cell's name; what else is offered beside the table is given to `more`."""

    def __init__(self, *more: str):
        super().__init__([*more, *CELL_NAMES])

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME"  # all of them in a row are wider than a terminal; `micrornn cell list` has them

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if value in self.choices or is_own_code(value) or is_window(value):
            return value
        raise click.UsageError(
            f"{chosen(parameter, context)}: there is no {quoted(value)}{instead(value, self.choices)}"
        )
