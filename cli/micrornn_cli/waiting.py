"""What is said on stderr while something takes its time: compiling, reading, going through windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from micrornn.folders import cache_trouble
from micrornn.printable import cells, cut
from micrornn_cli import console

PATIENCE = 1.0  # seconds that need no explanation
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal to write over the last one


class _Line:
    """The one line of a terminal that progress writes over. All do so here, so that nobody's remains are left: two who
    did it by themselves once gave `rnnning: 8 %`."""

    def __init__(self) -> None:
        self.width = 0
        self.elsewhere: Callable[[str], None] | None = None  # takes what is said while a live display has the terminal

    def write(self, words: str) -> None:
        """Show this in the place of what stands there."""
        err = console.err
        if self.elsewhere is not None:
            self.elsewhere(words)
            return
        words = cut(words, max(1, err.width - 1))
        self.clear()
        err.file.write(words)
        err.file.flush()
        self.width = cells(words)

    def clear(self) -> None:
        """Leave nothing, and stand at the beginning of the line. With blanks: not every terminal knows how to erase."""
        err = console.err
        if self.elsewhere is not None:
            self.elsewhere("")
        elif self.width:
            err.file.write("\r" + " " * self.width + "\r")
            err.file.flush()
        self.width = 0


line = _Line()


@contextmanager
def compiling(quiet: bool = False) -> Iterator[None]:
    """Say what Numba compiles while it does: the first run on a machine waits for it."""
    if quiet:
        yield
        return
    from micrornn import kernels

    kernels.require_numba()
    from numba.core import event

    err = console.err

    class Listener(event.Listener):
        def __init__(self) -> None:
            self.said: set[str] = set()
            self.under_way: list[str] = []  # a kernel that is compiled has others compiled that it calls

        def on_start(self, happening: Any) -> None:
            package, _, name = happening.data["dispatcher"].py_func.__module__.rpartition(".")
            name = name[: -len("_0123456789ab")] if package == "micrornn_made" else name  # without its hash
            ours, trouble = package.startswith("micrornn"), cache_trouble()
            often = "perhaps each time anew" if trouble else "once per machine"
            what = f"compiling the kernels for this processor, {often}"
            if trouble and not self.said:
                line.clear()
                err.print(trouble, markup=False)
            if err.is_terminal:
                self.under_way.append(what + (f": {name}" if ours else ""))
                line.write(self.under_way[-1])
            elif not self.said:
                err.print(f"{what}: up to half a minute")
            if not err.is_terminal and ours and name not in self.said:
                err.print(f"  {name}", style="dim")
            self.said.add(name)

        def on_end(self, happening: Any) -> None:
            if self.under_way:
                self.under_way.pop()
                line.write(self.under_way[-1]) if self.under_way else line.clear()

    with event.install_listener("numba:compile", Listener()):
        yield


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows how far it is, once that takes longer than a moment."""
    err = console.err
    shown = time.monotonic()
    pause = PATIENCE if err.is_terminal else PLAIN_SECONDS

    def tell(done: int, total: int) -> None:
        nonlocal shown, pause
        now = time.monotonic()
        if quiet or now - shown < pause:
            return
        pause = 0.2 if err.is_terminal else PLAIN_SECONDS
        words = f"{what}: {100 * done / max(1, total):.0f} %"
        if err.is_terminal:
            line.write(words)
        else:
            err.print(words)
        shown = now

    try:
        yield tell
    finally:
        if err.is_terminal and not quiet:
            line.clear()
