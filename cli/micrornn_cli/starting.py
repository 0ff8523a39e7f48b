"""What a run starts from: the weights of another (`--init-from`)."""

from __future__ import annotations

import os
from typing import Any

import click


def with_shape(kind: Any, given: dict[str, Any],
               from_file: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """(settings that were given, settings from a file) for a run that starts from the weights of another. Cell and
    sizes are those of the other run. ConfigError if one was given that does not fit.

    The path is made absolute: a run must be resumable from any folder.
    """
    if given.get("init_from") == "":
        raise click.UsageError("--init-from is empty; give a run or a checkpoint, or leave it out")
    path = given.get("init_from") or from_file.get("init_from")
    if not path:
        return given, from_file
    from micrornn.folders import expand
    from micrornn.startfrom import require_shape, shape_of

    path = os.path.join(os.getcwd(), expand(path))
    shape = shape_of(path, kind)
    chosen = from_file | {name: value for name, value in given.items() if value is not None}
    require_shape(path, shape, kind.Settings.from_dict(shape | chosen))
    return given | {"init_from": path}, shape | from_file
