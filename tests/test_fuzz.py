"""A small share of `make fuzz`: inputs that nobody meant, and ends that nobody chose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# How many; `make fuzz` has 10,000 and 1,000.
SHARES = {"inputs": ("fuzz", "200", "1"), "kills": ("fuzz.kills", "5")}


@pytest.mark.parametrize("share", SHARES)
def test_a_share(share):
    command = [sys.executable, "-m", *SHARES[share]]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
