"""Where the `micrornn` command begins: a Ctrl-C before or after it can be answered ends it without a word."""

from __future__ import annotations

import signal
from typing import Any


def start() -> Any:
    """Import the commands and run the one that was asked for. A process that ignores Ctrl-C goes on ignoring it."""
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from micrornn_cli.main import main

    try:
        if python is signal.default_int_handler:
            signal.signal(signal.SIGINT, python)
        main()
    finally:
        if python is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
