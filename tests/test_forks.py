"""A process that was forked after kernels ran computes what its parent does. In processes of their own: pytest has
threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

PROGRAM = """
import multiprocessing, os, sys
import numpy as np
from micrornn import kernels
from micrornn.kernels.cpu import threads
from micrornn.parameters import Flat
from micrornn.recurrent import Recurrent
from micrornn.ops import mean
from micrornn.tape import Tape, Tensor

threads.WORTH_A_THREAD = 1
def gradient(seed):
    x = Tensor(np.random.default_rng(seed).normal(size=(6, 8, 5)), dtype=np.float32)
    net = Recurrent("gru", 5, 8, seed=seed)
    flat = Flat(net.parameters())
    with Tape() as tape:
        y, _ = net(x)
        loss = mean(y * y)
    tape.backward(loss)
    return flat.grad.tobytes()

kernels.set_threads(2)
if sys.argv[1] == "before":  # nothing ran yet
    wanted = None
else:
    wanted = [gradient(seed) for seed in range(3)]  # and then in a child of a child
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(gradient, range(3)).get(100)
assert found == (wanted or [gradient(seed) for seed in range(3)])
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_a_forked_process_computes(when: str, layer: str) -> None:
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "variable, value, words",
    [
        ("NUMBA_NUM_THREADS", "-1", "Number of threads specified must be > 0"),
        ("NUMBA_THREADING_LAYER", "none of them", "'none of them' is unknown to Numba"),
    ],
)
def test_numba_that_does_not_start_is_a_line(variable: str, value: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "micrornn_cli", "gradcheck", "--cell", "rnn", "--granularity", "sequence"],
        env=os.environ | {variable: value}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and words in done.stderr
    assert done.stderr.startswith("Error: Numba") and done.stderr.count("\n") == 1
