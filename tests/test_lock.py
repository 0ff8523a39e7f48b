"""One process trains in a run folder at a time; a lock that nobody holds is none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest

from micrornn.checkpoint import Lock, RunFolder, lock
from micrornn.errors import CheckpointError

HOLDER = """
import sys
from pathlib import Path
from micrornn.checkpoint import Lock
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that has the lock of tmp_path."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_who_has_it(tmp_path, holder):
    with pytest.raises(CheckpointError, match=f"this run is being trained by process {holder.pid}\\."):
        Lock(tmp_path)
    holder.communicate("")
    assert not list(tmp_path.iterdir())  # who gives it back leaves nothing
    Lock(tmp_path)


def test_it_dies_with_the_process(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    (left,) = tmp_path.iterdir()  # a file alone is no lock
    first = Lock(tmp_path)
    with pytest.raises(CheckpointError, match=f"process {os.getpid()}\\."):
        Lock(tmp_path)
    first.release()
    assert not left.exists()


def test_a_forked_child_does_not_give_it_back(tmp_path):
    held = Lock(tmp_path)
    child = os.fork()
    if child == 0:
        held.release()
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(CheckpointError, match="being trained"):
        Lock(tmp_path)


@pytest.mark.parametrize("missing", ["fcntl", "flock", "permission"])
def test_where_there_are_no_locks_it_goes_on_without(tmp_path, missing):
    without = {
        "fcntl": mock.patch.object(lock, "fcntl", None),
        "flock": mock.patch("fcntl.flock", side_effect=OSError(37, "No locks available")),
        "permission": mock.patch("os.open", side_effect=PermissionError(13, "Permission denied")),
    }
    with without[missing]:
        Lock(tmp_path)
        Lock(tmp_path).release()


def test_a_folder_that_is_somebody_elses_is_not_touched(tmp_path):
    (tmp_path / lock.NAME).write_text("not a run's")
    (tmp_path / "mine").write_text("")
    with pytest.raises(CheckpointError, match="not empty"):
        RunFolder.create(tmp_path, {})
    assert (tmp_path / lock.NAME).read_text() == "not a run's"


def test_two_resumes_at_once_one_trains_and_one_says_who(tmp_path):
    (tmp_path / "text.txt").write_text("six sleek swans swam swiftly southwards. " * 60)
    train = [sys.executable, "-m", "micrornn_cli", "train"]
    sizes = ["--hidden-size=8", "--embedding-size=4", "--batch-size=2", "--num-steps=8", "--threads=1"]
    start = [*train, "text.txt", *sizes, "--num-updates=3", "--out=run"]
    assert subprocess.run(start, cwd=tmp_path, capture_output=True).returncode == 0
    resume = [*train, "--resume", "run", "--num-updates", "1000000"]
    first = subprocess.Popen(resume, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 60
    while metrics.read_bytes().count(b"\n") < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    second = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert second.returncode == 4 and f"being trained by process {first.pid}." in second.stderr, second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    rows = [row["update"] for row in RunFolder.open(tmp_path / "run").metrics()]
    assert rows == list(range(1, len(rows) + 1)) and len(rows) >= 20
