"""What the command line says of compiling, which depends on the kernels that other tests have needed before."""

from __future__ import annotations

import re


def without_compiling(err: str) -> str:
    """stderr without the lines that name what was compiled."""
    return re.sub(r"compiling the kernels[^\n]*\n(  \w+\n)*|(?m:^  [a-z_0-9]+\n)", "", err)
