"""Where things are printed: results on stdout, progress on stderr; JSON; and how numbers are written for people."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from typing import Any

import click
from rich.console import Console

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)


def write_json(value: Any) -> None:
    """One line of JSON on stdout. JSON knows no NaN and no infinity: they become null."""
    click.echo(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def program() -> str:
    """What to type to run this command again: `make train` leaves it in .venv/bin, which is on nobody's PATH."""
    here = sys.argv[0]
    if os.path.basename(here) != "micrornn" or shutil.which("micrornn"):
        return "micrornn"
    return shlex.quote(os.path.relpath(here))


def count(n: float) -> str:
    """12,345 up to a hundred thousand, then 1.2 M, 3.4 G."""
    for size, unit in ((1e9, " G"), (1e6, " M")):
        if n >= size:
            return f"{n / size:.{1 if n < 100 * size else 0}f}{unit}"
    return f"{n:,.0f}"


def duration(seconds: float) -> str:
    """4.2 s, 1:05 min, 2:03 h."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60) if seconds >= 3600 else int(seconds // 60)
    if seconds >= 3600:
        return f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{minutes}:{int(seconds % 60):02d} min"
