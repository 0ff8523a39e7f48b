"""One file per kind of job: settings, data, network, loss, metric. This register alone knows a task by name.

text    a language model over characters, words or bytes

find(name)    the class of a task
names()       of all there are
"""

from __future__ import annotations

import importlib

from micrornn.errors import ConfigError, quoted
from micrornn.tasks.task import Batches as Batches  # offered here too
from micrornn.tasks.task import Task
from micrornn.tasks.task import losses as losses

REGISTER = {"text": "micrornn.tasks.text:Text"}  # name -> module:class, imported when it is asked for
DEFAULT = "text"  # what is trained where no task is named


def names() -> tuple[str, ...]:
    """Of all tasks there are."""
    return tuple(REGISTER)


def find(name: str = DEFAULT) -> type[Task]:
    """The class of a task. ConfigError where there is none of that name."""
    if name not in REGISTER:
        raise ConfigError(f"there is no task {quoted(name)}; choose one of {', '.join(REGISTER)}")
    module, _, kind = REGISTER[name].partition(":")
    found: type[Task] = getattr(importlib.import_module(module), kind)
    return found
