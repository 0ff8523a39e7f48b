"""What ends a command from outside: Ctrl-C, a termination signal, a terminal that was closed.

guarded()     a block that SIGTERM and SIGHUP leave as an exception does, so that it cleans up
graceful()    a block that is only asked to stop, so that what it works on is whole

A signal that whoever started the command wants to be ignored (nohup, a job in the background) stays ignored.
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
    """Called: whether the work shall end. `ask` asks it to."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """End when what is under way is done."""
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
