"""How a command is ended from outside: by Ctrl-C, a termination signal, or a terminal that is closed.

guarded()     a block in which SIGTERM and SIGHUP raise an exception, so that it cleans up
graceful()    a block that is asked to stop, so that it can finish what it is doing

A signal that was ignored when the command was started (by nohup, or for a job in the background) stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from micrornn_cli.streams import silence_unread

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ended(BaseException):
    """A signal asked the command to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Stop:
    """Calling it tells whether the work is to end; `ask` asks for that."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """Ask the work to end after its current step."""
        self.asked = True


@contextmanager
def guarded() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Ended inside."""

    def end(number: int, frame: Any) -> None:
        silence_unread()
        raise Ended(number)

    with _handled(ENDING, end):
        yield


@contextmanager
def graceful() -> Iterator[Stop]:
    """Ctrl-C, SIGTERM and SIGHUP ask the block to stop; a second one leaves it at once."""
    stop = Stop()

    def ask(number: int, frame: Any) -> None:
        silence_unread()
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()

    with _handled([signal.SIGINT, *ENDING], ask):
        yield stop


@contextmanager
def _handled(numbers: list[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    with ExitStack() as after:
        for number in numbers:
            before = signal.getsignal(number)
            if before is None or before == signal.SIG_IGN:
                continue
            try:
                signal.signal(number, handler)
            except ValueError:  # not the main thread: somebody else's program, and its signals
                continue
            after.callback(signal.signal, number, before)
        yield
