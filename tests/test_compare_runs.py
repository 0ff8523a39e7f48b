"""Comparisons in several processes: the same bits as in one, whatever dies, and whenever they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from micrornn import tasks
from micrornn.checkpoint import load
from micrornn.compare.folder import Comparison, Outcome
from micrornn.compare.plan import plan
from micrornn.compare.run import go
from micrornn.compare.vary import axes
from micrornn.errors import ConfigError
from micrornn_cli.exits import Exit


def comparison(folder: Path, updates: int = 40, seeds: int = 2) -> Comparison:
    kind = tasks.find("echo")
    common = kind.Settings.from_dict({"num_updates": updates, "hidden_size": 5, "length": 600, "schedule": "constant"})
    return Comparison.create(folder, plan(kind, common, axes(["lr:0.01,0.02"], kind.Settings), seeds=seeds))


def weights(folder: Path) -> dict[str, bytes]:
    """Of each run, all that its last checkpoint holds."""
    runs = {path.parent: load(path)[0] for path in sorted(folder.glob("*/seed-*/last.ckpt"))}
    return {
        str(run.relative_to(folder)): b"".join(a.tobytes() for a in arrays.values()) for run, arrays in runs.items()
    }


def trainer(run: Path) -> int | None:
    """The process that trains a run."""
    try:
        return int((run / ".training.lock").read_text().split()[0])
    except (OSError, IndexError):
        return None


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the runs hold that one worker has trained."""
    found = comparison(tmp_path_factory.mktemp("one") / "c")
    assert [ended[2].state for ended in go(found) if ended] == ["done"] * 4
    return weights(found.path)


@pytest.mark.parametrize("backend, package", [("loky", "joblib"), ("dask", "distributed")])
def test_two_workers_give_the_same_bits(backend: str, package: str, one: dict[str, bytes], tmp_path: Path) -> None:
    """In processes of this machine, and in a local cluster of dask."""
    pytest.importorskip(package)
    two = comparison(tmp_path / "two")
    assert [ended[2].state for ended in go(two, backend, 2) if ended] == ["done"] * 4
    assert len(one) == 4 and weights(two.path) == one
    assert {Outcome("done")} == set(Comparison.open(two.path).outcomes.values())


def test_a_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match=r"`backend='dask:nowhere://x'`: no cluster answers there: unknown address"):
        list(go(comparison(tmp_path / "c", seeds=1), "dask:nowhere://x", 2))


def test_a_worker_that_dies_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    """Whoever trains the second run is killed, and killed again where it is tried alone; tried later, it ends."""
    pytest.importorskip("joblib")
    found = comparison(tmp_path / "c", 2000, seeds=1)
    for _ in go(found, workers=2):
        if (process := trainer(found.folder(1, 0))) is not None:
            with suppress(ProcessLookupError):  # it leaves its lock behind
                os.kill(process, signal.SIGKILL)
    ends = found.outcome(0, 0), found.outcome(1, 0)
    assert ends[0].state == "done" and ends[1].state == "failed"
    assert ends[1].why == "the process that trained it died, twice: exit code SIGKILL(-9) (no memory left?)"
    again = Comparison.open(found.path)
    assert [ended[2].state for ended in go(again) if ended] == ["done"]


KILLS = [(signal.SIGINT, 2), (signal.SIGKILL, 2), (signal.SIGTERM, 1)]


@pytest.mark.parametrize("number, workers", KILLS if "MICRORNN_TEST_KILLS" in os.environ else KILLS[:1])
def test_stopped_at_any_moment_it_goes_on_to_the_same_bits(tmp_path: Path, number: int, workers: int) -> None:
    """A Ctrl-C reaches all processes of a terminal; after kill -9 those that are left end by themselves."""
    pytest.importorskip("joblib")
    whole, cut = comparison(tmp_path / "whole", 3000, seeds=1), comparison(tmp_path / "cut", 3000, seeds=1)
    list(go(whole))
    command = [sys.executable, "-m", "micrornn_cli", "compare", "--resume", str(cut.path), "--jobs", str(workers)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    start = time.monotonic()
    while not list(cut.path.glob("*/seed-0/metrics.jsonl")) and time.monotonic() - start < 60:
        time.sleep(0.02)
    (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
    err = process.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert process.returncode == Exit.INTERRUPTED and f"compare --resume {cut.path}" in err, err
        assert not (cut.path / ".stop").exists()
    again = Comparison.open(cut.path)
    assert [ended[2].state for ended in go(again) if ended] and set(again.outcomes.values()) == {Outcome("done")}
    assert weights(whole.path) == weights(cut.path)
