"""warmup leaves nothing to compile, and says what it did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from micrornn import warmup

ROOT = Path(__file__).parents[1]

# After warmup no kernel may be compiled for new types, whatever was in the cache before: its signatures are the same.
AFTER = """
import json, sys
sys.path.insert(0, "tests")
import numpy as np
from numba.core.dispatcher import Dispatcher
from micrornn import kernels
from micrornn.kernels.cpu import recurrent
from micrornn.warmup import USUAL, _split, _training, jobs, measure_all

table, called = kernels.for_device("cpu"), set()

def recorded(name, kernel):
    def call(*arguments, **options):
        called.add(name)
        return kernel(*arguments, **options)
    return call

for name in kernels.NAMES:
    setattr(table, name, recorded(name, getattr(table, name)))

def signatures():
    ours = "micrornn.kernels.cpu.", "micrornn_made."
    modules = [module for name, module in sys.modules.items() if name.startswith(ours)]
    kernels_there = {v for module in modules for v in vars(module).values() if isinstance(v, Dispatcher)}
    # flat kernels (elementwise.py) are behind a function
    for module in modules:
        for value in vars(module).values():
            cells = getattr(value, "__closure__", None) or ()
            kernels_there |= {c.cell_contents for c in cells if isinstance(c.cell_contents, Dispatcher)}
    # An operand of `+ - * /` and `where` that needed no broadcasting comes as a read-only view, and Numba compiles for
    # that anew: on ops/axes.py, which could hand over the operand itself. These are the only ones let through.
    return {
        (k.py_func.__module__, k.py_func.__name__, str(s).replace("'C', True", "'C', False"))
        for k in kernels_there for s in k.signatures
    }

recurrent.NEAR = 1 << 20  # so that 700 units are many enough for weights that are split

def work(dtype):
    for cell in USUAL:
        for threads, sizes in ((1, (64, 32, 20)), (2, (64, 32, 20)), (2, (700, 4, 4))):
            kernels.set_threads(threads)
            sizes = dict(zip(("hidden_size", "batch_size", "num_steps"), sizes))
            with _training(cell, dtype, **sizes) as training:
                training.update()
                training.update()
                training.validate()
                from micrornn.sampling import sample
                assert "".join(sample(training.model, training.task.vocab, length=3, prompt="to be"))

for job in jobs():
    job.run()
warm = signatures()
work("float32")
with _split(2, False), _training("gru", "float32") as training:
    measure_all(training)
new = signatures() - warm
done = {job.name for job in jobs()}
for job in jobs(everything=True):
    if job.name not in done:
        job.run()
missing = sorted(set(kernels.NAMES) - called)
warm = signatures()
with _training("lstm", "float32", dropout=0.5) as training:
    for _ in range(4):  # keys with and without the highest bit
        training.update()
import op_rows
for name in op_rows.ROWS:
    for tensors, options, _ in op_rows.calls(name):
        from micrornn.tape import OPS, Tape
        with Tape() as tape:
            y = OPS[name](*tensors, **options)
        y = y[0] if isinstance(y, tuple) else y
        if y.data.size:
            tape.backward(y, np.ones(y.shape))
new |= signatures() - warm
print(json.dumps({"new": sorted(new), "missing": missing, "known": len(warm)}))
"""


@pytest.mark.skipif(
    "MICRORNN_TEST_WARMUP" not in os.environ, reason="compiles every kernel, for minutes: set MICRORNN_TEST_WARMUP=1"
)
def test_nothing_is_left_to_compile_after_warmup() -> None:
    """`warmup`: training of every cell on one and several threads, small and wide; `warmup --all`: every row of the
    table of ops, and every kernel."""
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive"
    }  # tiny work on several threads: on a busy machine they spin
    done = subprocess.run([sys.executable, "-c", AFTER], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["known"] > 50
    assert not found["missing"], "micrornn/warmup.py calls these kernels nowhere"
    assert not found["new"], "micrornn/warmup.py does not call these kernels with these types"


def test_warmup_says_what_it_compiled_and_when_there_is_nothing(micrornn, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import njit

    def fresh(x):
        return x + 1

    fresh.__module__ = "micrornn.kernels.cpu.made_up"
    other, compiled = njit(lambda x: x), njit(fresh)
    monkeypatch.setattr(warmup, "jobs", lambda everything: [warmup.Job("one", lambda: other(compiled(1)))])
    code, out, err = micrornn("warmup")
    assert code == 0 and out.startswith("1 kernel compiled in ") and "one: 1 compiled" in err
    assert re.search(r"\ncache: .+, [\d,.]+ MB\n", out)
    again = njit(fresh)
    monkeypatch.setattr(warmup, "jobs", lambda everything: [warmup.Job("one", lambda: again(1.0))])
    assert json.loads(micrornn("warmup", "--json")[1])["compiled"] == ["made_up.fresh"]
    assert "nothing left to compile" in micrornn("warmup")[1]
    code, out, err = micrornn("warmup", "--json")
    found = json.loads(out)
    assert (code, err, found["compiled"]) == (0, "", [])
    assert found["seconds"] > 0 and Path(found["cache"]).name


def test_split_puts_everything_back() -> None:
    from micrornn.kernels.cpu import recurrent, threads

    before = threads.WORTH_A_THREAD, recurrent.NEAR, threads._threads
    with pytest.raises(ZeroDivisionError), warmup._split(2, wide=True):
        assert (threads.WORTH_A_THREAD, recurrent.NEAR, threads._threads) == (1, 0, 2)
        raise ZeroDivisionError
    assert (threads.WORTH_A_THREAD, recurrent.NEAR, threads._threads) == before
