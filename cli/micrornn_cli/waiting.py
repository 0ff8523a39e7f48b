"""What is said on stderr while something takes its time: compiling, reading, going through windows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from micrornn.folders import cache_trouble
from micrornn.printable import cells, cut
from micrornn_cli import console

PATIENCE = 1.0  # seconds before progress is shown
PLAIN_SECONDS = 10.0  # between two lines of progress where there is no terminal


class _Line:
    """The line of a terminal that shows progress and is written over. All progress is written here, so that nothing of
    an older message is left: two writers at once gave `rnnning: 8 %`."""

    def __init__(self) -> None:
        self.width = 0
        self.elsewhere: Callable[[str], None] | None = None  # takes what is said while a live display has the terminal

    def write(self, words: str) -> None:
        """Show this in place of what the line shows."""
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
        """Empty the line and go to its beginning. Blanks are written, because not every terminal can erase."""
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
    err, said, under_way = console.err, set[str](), list[str]()  # a kernel has others compiled that it calls

    def started(function: Any) -> None:
        package, _, name = function.__module__.rpartition(".")
        name = name[: -len("_0123456789ab")] if package == "micrornn_made" else name  # without its hash
        ours, trouble = package.startswith("micrornn"), cache_trouble()
        often = "perhaps each time anew" if trouble else "once per machine"
        what = f"compiling the kernels for this processor, {often}"
        if trouble and not said:
            line.clear()
            err.print(trouble, markup=False)
        if err.is_terminal:
            under_way.append(what + (f": {name}" if ours else ""))
            line.write(under_way[-1])
        elif not said:
            err.print(f"{what}: up to half a minute")
        if not err.is_terminal and ours and name not in said:
            err.print(f"  {name}", style="dim")
        said.add(name)

    def ended() -> None:
        if under_way:
            under_way.pop()
            line.write(under_way[-1]) if under_way else line.clear()

    with heard(started, ended):
        yield


@contextmanager
def heard(started: Callable[[Any], None], ended: Callable[[], None]) -> Iterator[None]:
    """A block in which these are called when Numba begins to compile a function and when it is done with it."""
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, happening: Any) -> None:
            started(happening.data["dispatcher"].py_func)

        def on_end(self, happening: Any) -> None:
            ended()

    with event.install_listener("numba:compile", Listener()):
        yield


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that shows progress, once the work has taken a second."""
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
