"""Seconds of a call, again and again; and the most memory that this process ever held.

Imports nothing but the standard library: it is also read where another framework is timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

LEAST = 3  # calls, however long each takes


def took(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def times(run: Callable[[], Any], seconds: float, took: Callable[[Callable[[], Any]], Any] = took) -> list[Any]:
    """Call it for so many seconds, and at least a few times: the seconds of each call, as `took` tells them. The first,
    which finds other things in the caches, is not counted."""
    run()
    found: list[Any] = []
    end = time.perf_counter() + seconds
    while len(found) < LEAST or time.perf_counter() < end:
        found.append(took(run))
    return found


def summary(found: Sequence[float]) -> dict[str, float]:
    """The median, for what is usual; the least, for what the machine can do when nothing else is going on."""
    return {"median": statistics.median(found), "least": min(found)}


def memory() -> dict[str, int]:
    """{"now", "peak"} of this process's memory in bytes; `now` is the peak where the system does not tell.

    Linux's ru_maxrss begins with what the parent held when it forked, so it is not asked there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return {name: 1024 * int(rows[key].split()[0]) for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"now": peak, "peak": peak}
