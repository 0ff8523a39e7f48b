"""Where the `micrornn` command begins. A Ctrl-C while Python starts or ends stops it without a message."""

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
    except KeyboardInterrupt:  # the command was at its end
        sys.exit(128 + signal.SIGINT)
    finally:
        if python is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _heard(lost: Any) -> None:
    """A Ctrl-C may come where Python cannot raise it, such as in a callback of the compiler. Python would report it as
    ignored, and the command would go on. So it is sent again a little later."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
