"""How soon things are there, and how little memory a large text takes. Bounds are wide: these are promises of
kind (numba is not imported; memory does not grow with the text), not measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from made_up_runs import made_up

PYTHON = [sys.executable, "-X", "importtime", "-m", "micrornn_cli"]


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["inspect", "credit", "--help"], ["--version"]])
def test_help_imports_neither_numba_nor_numpy(command):
    done = subprocess.run([*PYTHON, *command], capture_output=True, text=True)
    assert done.returncode == 0
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"numba", "numpy", "rich"}


def test_help_is_quick():
    """0.2 s is the promise. Seconds of the processor: those of the clock tell what else a busy machine does."""
    spent = []
    for _ in range(4):
        subprocess.run([sys.executable, "-m", "micrornn_cli", "--help"], capture_output=True, check=True)
        spent.append(os.times().children_user + os.times().children_system)
    assert min(b - a for a, b in pairwise(spent)) < 0.2


def test_a_cold_start_says_what_it_compiles(tmp_path):
    """With an empty cache the kernels are compiled and named; with a full one nothing is said."""
    run = made_up("vanishing", tmp_path, hidden_size=8)
    environment = os.environ | {"MICRORNN_CACHE": str(tmp_path / "cache"), "MICRORNN_THREADS": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    command, outputs = [sys.executable, "-m", "micrornn_cli", "sample", str(run.path), "--length", "3"], []
    for _ in ("cold", "warm"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stderr)
    assert "compiling the kernels" in outputs[0] and "rnn" in outputs[0]
    assert "compiling" not in outputs[1]


MEMORY = """
import json, resource, sys
from pathlib import Path
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.train import Training
small = Config(hidden_size=8, embedding_size=8, batch_size=1000, num_steps=100, val_fraction=0.001)
tokens = tokenize([Path(sys.argv[1])], "char", Path(sys.argv[1]).parent)
training = Training(small, tokens)
for _ in range(3):
    training.update()
while training.batches.window < training.task.lanes.num_windows:  # every page of the text is touched
    training.batches.next()
training.batches.state = None
training.update()
status = Path("/proc/self/status")
if status.exists():  # ru_maxrss would count what pytest held when it forked
    peak = 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"peak": peak, "tokens": len(tokens), "windows": training.task.lanes.num_windows}))
"""


def test_a_large_text_trains_in_constant_memory(tmp_path: Path):
    """MICRORNN_TEST_MEGABYTES=1000 is the promise itself (700 MB, some minutes); by default a text of 200 MB,
    read to its end, must stay below 400 MB, which it could not if its pages stayed."""
    megabytes = int(os.environ.get("MICRORNN_TEST_MEGABYTES", "200"))
    line = b"".join(b"%d bottles of beer on the wall, " % n for n in range(30_000))
    with open(tmp_path / "large.txt", "wb") as file:
        for _ in range(megabytes):
            file.write(line[:1_000_000])
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "large.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tokens"] == megabytes * 1_000_000
    assert found["windows"] * 100_000 > 0.99 * found["tokens"]
    assert found["peak"] < (700 if megabytes >= 1000 else 400) * 1e6, found
