"""Where the `micrornn` command begins: a Ctrl-C before or after it can be answered ends it without a word."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

AGAIN = 0.02  # seconds after which a Ctrl-C that was lost is sent once more


def start() -> Any:
    """Import the commands and run the one that was asked for. A process that ignores Ctrl-C goes on ignoring it."""
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from micrornn_cli.main import main

    try:
        if python is signal.default_int_handler:
            sys.unraisablehook = _heard
            signal.signal(signal.SIGINT, python)
        main()
    finally:
        if python is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _heard(lost: Any) -> None:
    """A Ctrl-C that came where Python can raise nothing, such as in a callback of the compiler, would be told as
    ignored, and the command would go on. It is sent again when that place has been left."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
