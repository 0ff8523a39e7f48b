"""How long a call takes. All that tells devices apart when they are timed; a peer hands out the one that fits.

    Clock           on the processor, a call is over when it returns
    Events(...)     on a graphics card, where a call only queues what is to be done

A clock is called with a function: it gives what the function gives, and seconds, one of each of its `kinds`. Standard
library only: this runs where another framework is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Clock:
    """Seconds from the call to its return."""

    kinds: tuple[str, ...] = ("times",)
    warm = 0.0  # seconds of work that do not count, at the begin of a turn

    def __call__(self, run: Callable[[], Any]) -> tuple[Any, tuple[float, ...]]:
        start = time.perf_counter()
        value = run()
        return value, (time.perf_counter() - start,)


class Events(Clock):
    """Two marks in the queue of the card, one before and one after what the call has queued: `times` lies between them.
    That holds the gaps in which the card waited for the next launch. `wall` is the same call as its caller sees it,
    until all is done. The queue is empty when a call begins, as it is when a loss is looked at after each update.

    make()    an event of the framework: with record(stream), synchronize(), and elapsed_time(later) in milliseconds
    stream    on which the framework queues
    """

    kinds = ("times", "wall")
    warm = 0.1  # an idle card has slowed its clocks down

    def __init__(self, make: Callable[[], Any], stream: Any):
        self.first, self.last, self.stream = make(), make(), stream

    def __call__(self, run: Callable[[], Any]) -> tuple[Any, tuple[float, ...]]:
        self.first.record(self.stream)
        self.first.synchronize()  # the queue is empty now
        start = time.perf_counter()
        self.first.record(self.stream)
        value = run()
        self.last.record(self.stream)
        self.last.synchronize()
        wall = time.perf_counter() - start
        return value, (self.first.elapsed_time(self.last) / 1000, wall)
