"""What is said on stderr while something takes its time: compiling, reading, going through windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.0  # seconds that need no explanation
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal to write over the last one


@contextmanager
def compiling(quiet: bool = False) -> Iterator[None]:
    """Say what Numba compiles while it does: the first run on a machine waits for it."""
    if quiet:
        yield
        return
    from micrornn import kernels

    kernels.require_numba()
    from numba.core import event

    from micrornn.folders import cache_trouble
    from micrornn_cli.console import err

    class Listener(event.Listener):
        def __init__(self) -> None:
            self.said: set[str] = set()

        def on_start(self, happening: Any) -> None:
            package, _, name = happening.data["dispatcher"].py_func.__module__.rpartition(".")
            if not self.said:
                trouble = cache_trouble()
                often = "once per machine" if trouble is None else "perhaps each time anew"
                err.print(f"compiling the kernels for this processor, {often}: up to half a minute")
                if trouble:
                    err.print(trouble, markup=False)
            if name not in self.said and package.startswith("micrornn"):
                err.print(f"  {name}", style="dim")
            self.said.add(name)

        def on_end(self, happening: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows how far it is, once that takes longer than a moment."""
    from micrornn_cli.console import err

    shown, width = time.monotonic(), 0
    pause = PATIENCE if err.is_terminal else PLAIN_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal shown, width, pause
        now = time.monotonic()
        if quiet or now - shown < pause:
            return
        pause = 0.2 if err.is_terminal else PLAIN_SECONDS
        line = f"{what}: {100 * done / max(1, total):.0f} %"
        err.print(line, end="\r" if err.is_terminal else "\n")
        shown, width = now, len(line)

    try:
        yield tell
    finally:
        if width and err.is_terminal:
            err.print(" " * width, end="\r")
