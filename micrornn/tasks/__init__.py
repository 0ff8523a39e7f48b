"""One file per kind of job: settings, data, network, loss, metric. This register alone knows a task by name.

text      a language model over characters, words or bytes
adding    the sum of two marked numbers among random ones: many to one
copy      some symbols again after a wait: in step
echo      the bit that came some time steps before: in step
pairs     a target for each source, from a file of both: encoder and decoder
reversal  a number read backward: encoder and decoder
dates     a date in any form to year-month-day: encoder and decoder
tags      a tag for each word of a sentence: in step
sentiment   the class of a text: many to one
sine      a wave from its frequency: one to many
parity    whether the number of ones so far is odd: in step, or many to one
digits    which digit a small picture shows: many to one
onetoone  which of two classes a point belongs to: one to one, without time
series    what the columns of a table will be: in step

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

__all__ = ["REGISTER", "Batches", "Metric", "Task", "find", "is_name", "losses", "names", "trust"]

REGISTER = {  # name -> module:class, imported when it is asked for
    "text": "micrornn.tasks.text:Text",
    "adding": "micrornn.tasks.adding:Adding",
    "copy": "micrornn.tasks.copy:Copy",
    "echo": "micrornn.tasks.echo:Echo",
    "pairs": "micrornn.tasks.pairs:Pairs",
    "reversal": "micrornn.tasks.reversal:Reversal",
    "dates": "micrornn.tasks.dates:Dates",
    "tags": "micrornn.tasks.tags:Tags",
    "sentiment": "micrornn.tasks.sentiment:Sentiment",
    "sine": "micrornn.tasks.sine:Sine",
    "parity": "micrornn.tasks.parity:Parity",
    "digits": "micrornn.tasks.digits:Digits",
    "onetoone": "micrornn.tasks.onetoone:OneToOne",
    "series": "micrornn.tasks.series:Series",
}
DEFAULT = "text"  # what is trained where no task is named


def names() -> tuple[str, ...]:
    """Of all tasks there are."""
    return tuple(REGISTER)


def is_name(name: str) -> bool:
    """Whether something is meant as a task."""
    return name in REGISTER or is_own_code(name)


def find(name: str = DEFAULT, where: str = "") -> type[Task]:
    """The class of a task. ConfigError where there is none of that name.

    where    what names it, if that is a file, which may be a stranger's: then code is run only if it is trusted
    """
    if is_own_code(name):
        from micrornn.tasks.custom import of_file, require_trusted

        if where:
            require_trusted(name, where)
        return of_file(name)
    if not isinstance(name, str) or name not in REGISTER:
        raise ConfigError(f"there is no task {quoted(name)}{instead(name, [*REGISTER, 'FILE.py:CLASS'])}")
    module, _, kind = REGISTER[name].partition(":")
    found: type[Task] = getattr(importlib.import_module(module), kind)
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
