"""What several test files share."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from card import has_card

# Numba fixes the most threads it will ever use at its import. A machine with one core must run the parallel
# kernels too: slowly, but it must.
os.environ.setdefault("NUMBA_NUM_THREADS", str(max(2, os.cpu_count() or 1)))


# A fault inside of micrornn, which is told in a line, shows all of itself here.
os.environ.setdefault("MICRORNN_TRACEBACK", "1")

# Where there is no card, CUDA kernels run in Numba's simulator, which must be chosen before its import.
os.environ.setdefault("NUMBA_ENABLE_CUDASIM", str(int(not has_card())))

# A console that is made while COLUMNS is set keeps that width; one that is not, looks each time.
os.environ.pop("COLUMNS", None)

import numpy as np
import pytest
from notices import without_compiling

import micrornn_cli.terminal  # noqa: F401
from micrornn import device, kernels

GOLDEN = Path(__file__).parent / "golden"
# The longest files begin first, so that two processes that share the suite end at about the same time. What compiles
# for the processor stands beside what does not, so that little is compiled twice.
LONGEST = (
    "cuda_ptx", "kernels", "recompute", "docs", "cells", "ends", "cuda_recurrent", "cuda_ops", "startup", "task_runs",
    "cuda_kernels", "compare_runs", "gradcheck", "cuda_device", "cuda_product", "train", "commands", "backprop",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """The arrays of a golden file by name."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def set_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for work of any size: at test sizes none would be worth a thread."""
    kernels.for_device("cpu")
    from micrornn.kernels.cpu import set_threads, threads

    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    yield set_threads
    set_threads(device.default_threads())


@pytest.fixture(params=["cpu", "reference"])
def table(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on each table of kernels."""
    with kernels.use(request.param):
        yield request.param


Micrornn = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers without a seed start as in a program of their own, whichever tests came before."""
    monkeypatch.setattr("micrornn.initializers.unseeded", itertools.count())


@pytest.fixture
def micrornn(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Micrornn:
    """Runs a command in an empty folder -> (exit code, stdout, stderr without the names of compiled kernels)."""
    from micrornn_cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("micrornn.owncode.cache_home", lambda *_: tmp_path)  # nothing is trusted from before

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, without_compiling(err)

    return call
