"""Which tape records, and with which time step.

active      the tapes whose `with` blocks this thread is in; the innermost one records
stamp       a block whose records carry a time step and a scope
no_tape     a block in which nothing is recorded
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _Active(threading.local):
    """The tapes whose `with` blocks this thread is in; the innermost one records."""

    def __init__(self) -> None:
        self.tapes: list[Any] = []


active = _Active()


class stamp:
    """Records made in this block carry the time step t and the scope. One that is not given stays as it was.

    >>> from micrornn.tape import Tape, Tensor
    >>> with Tape() as tape, stamp(t=2, scope="mine"):
    ...     y = Tensor(3.0, requires_grad=True) * 2
    >>> tape.records[0]
    <mine t=2: mul(scalar, scalar)>
    """

    __slots__ = ("before", "scope", "t", "tape")

    def __init__(self, t: int | None = None, scope: str | None = None):
        self.t, self.scope = t, scope

    def __enter__(self) -> None:
        tapes = active.tapes
        self.tape = tape = tapes[-1] if tapes else None
        if tape is not None:
            self.before = tape.t, tape.scope
            if self.t is not None:
                tape.t = self.t
            if self.scope is not None:
                tape.scope = self.scope

    def __exit__(self, *_: Any) -> None:
        if self.tape is not None:
            self.tape.t, self.tape.scope = self.before


@contextmanager
def no_tape() -> Iterator[None]:
    """Nothing in this block is recorded.

    >>> from micrornn.tape import Tape, Tensor
    >>> with Tape() as tape, no_tape():
    ...     y = Tensor(3.0, requires_grad=True) * 2
    >>> len(tape)
    0
    """
    hidden = active.tapes[:]
    active.tapes.clear()
    try:
        yield
    finally:
        active.tapes[:] = hidden
