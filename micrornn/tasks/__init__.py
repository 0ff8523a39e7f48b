"""One file per kind of job: settings, data, network, loss, metric. This register alone knows a task by name;
what each is about its own page says.

find(name)    the class of a task, or of one in a file of one's own: FILE.py:CLASS
names()       of all there are
is_name       whether something is meant as one of these
trust         that a file may be run although a checkpoint or a settings file names it
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from micrornn.errors import ConfigError, instead, quoted
from micrornn.owncode import is_own_code

if TYPE_CHECKING:
    from micrornn.tasks.task import Batches as Batches
    from micrornn.tasks.task import Metric as Metric
    from micrornn.tasks.task import Task as Task
    from micrornn.tasks.task import losses as losses

__all__ = ["NAMES", "Batches", "Metric", "Task", "find", "is_name", "losses", "names", "trust"]

# Each is a class with that `name`, in the file of that name, which is imported when it is asked for.
NAMES = ("text", "adding", "copy", "echo", "pairs", "reversal", "dates", "tags", "sentiment", "sine", "parity",
         "digits", "onetoone", "series")  # fmt: skip
DEFAULT = "text"  # what is trained where no task is named


def names() -> tuple[str, ...]:
    """Of all tasks there are."""
    return NAMES


def is_name(name: str) -> bool:
    """Whether something is meant as a task."""
    return name in NAMES or is_own_code(name)


def find(name: str = DEFAULT, where: str = "") -> type[Task]:
    """The class of a task. ConfigError where there is none of that name.

    where    what names it, if that is a file, which may be a stranger's: then code is run only if it is trusted
    """
    if is_own_code(name):
        from micrornn.tasks.custom import of_file, require_trusted

        if where:
            require_trusted(name, where)
        return of_file(name)
    if not isinstance(name, str) or name not in NAMES:
        raise ConfigError(f"there is no task {quoted(name)}{instead(name, [*NAMES, 'FILE.py:CLASS'])}")
    there = vars(importlib.import_module(f"micrornn.tasks.{name}")).values()
    found: type[Task] = next(kind for kind in there if isinstance(kind, type) and getattr(kind, "name", "") == name)
    return found


def trust(name: str) -> None:
    """Let a file be run although a checkpoint or a settings file names it: somebody has typed it."""
    from micrornn.tasks import custom

    custom.trust(name)


def __getattr__(name: str) -> Any:
    """Task, Batches, Metric and losses are offered here, too, but imported, with NumPy, only when they are asked for:
    the help of `micrornn train` lists the tasks."""
    if name in ("Task", "Batches", "Metric", "losses"):
        return getattr(importlib.import_module("micrornn.tasks.task"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
