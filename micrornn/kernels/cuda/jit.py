"""How every CUDA kernel is compiled and launched, in one place. The only file that imports Numba's `cuda`.

kernel      compile a function that is launched over a grid of threads
device      compile a function that kernels call
intrinsic   a function whose instructions are written by hand, with `ir` (llvmlite's) and `types` (Numba's)
over(n)     the grid for a loop over n numbers: how many blocks, of how many threads
allocate    memory on the card for so many numbers of a type; free(numbers) gives it back, clear(numbers) makes them 0
SIM         whether Numba's simulator runs the kernels, thread by thread, in Python (NUMBA_ENABLE_CUDASIM=1)

A kernel over n numbers strides through them (`for i in range(cuda.grid(1), n, cuda.gridsize(1))`): so it is right
for any number of blocks.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir as ir  # offered to those who write an intrinsic
from numba import types as types

from micrornn import folders
from micrornn.kernels import maths
from micrornn.kernels.cuda import driver
from micrornn.kernels.kept import keep

_all: Any = numba.config
intrinsic: Any = None  # not in the simulator
with warnings.catch_warnings():  # without numba-cuda, Numba's own copy says that it is about to leave
    warnings.simplefilter("ignore")
    from numba import cuda as _cuda

    if not _all.ENABLE_CUDASIM:
        from numba.cuda.extending import intrinsic as intrinsic
    try:
        _config: Any = importlib.import_module("numba.cuda.core.config")  # numba-cuda has settings of its own
    except ImportError:
        if not _all.ENABLE_CUDASIM:  # Numba's own copy is good enough for the simulator, but is no longer mended
            raise ImportError("numba-cuda is not installed") from None
        _config = _all

_config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small network has small grids, and its user cannot mend that
SIM = bool(_all.ENABLE_CUDASIM)
_simulator: Any = importlib.import_module("micrornn.kernels.cuda.simulator") if SIM else None
cuda: Any = _simulator.cuda if SIM else _cuda
allocate: Any = cuda.device_array if SIM else driver.allocate
free: Any = (lambda numbers: None) if SIM else driver.free
clear: Any = (lambda numbers: numbers.__setitem__(slice(None), 0)) if SIM else driver.clear

THREADS = 4 if SIM else 256  # of a block of a kernel in which each thread works for itself; the simulator starts each
MOST_BLOCKS = 2 if SIM else 2048  # a grid that covers the largest card several times


@cache
def cache_dir() -> Path:
    """Where compiled kernels are kept, as for the processor (kernels/cpu/jit.py): named by the hash of the sources."""
    state = hashlib.sha256(f"{numba.__version__} {getattr(cuda, '__version__', '')}".encode())
    for source in sorted([*Path(__file__).parent.glob("*.py"), Path(maths.__file__)]):
        state.update(source.read_bytes())
    return folders.cache_home("kernels", f"cuda-{state.hexdigest()[:16]}")


def kernel(function: Callable[..., None] | None = None, **options: Any) -> Any:
    """`cuda.jit`, kept on disk. Numba looks up where, when it meets a kernel; NUMBA_CACHE_DIR, when set, is the user's
    choice."""
    if function is None:
        return partial(kernel, **options)
    if SIM:
        return cuda.jit(device=options.get("device", False))(_simulator.quiet(function))
    before, chosen = _config.CACHE_DIR, os.environ.get("NUMBA_CACHE_DIR")
    try:
        if not chosen or folders.unusable(Path(chosen)):
            _config.CACHE_DIR = str(cache_dir())
        compiled = cuda.jit(**options)(function)
        keep(compiled, _config.CACHE_DIR)  # compile once per machine, not once per process
    finally:
        _config.CACHE_DIR = before
    return compiled if options.get("device") else driver.Kernel(compiled)


device = partial(kernel, device=True)


def over(n: int) -> tuple[int, int]:
    """(blocks, THREADS) for a loop over n numbers; never no block, for a grid cannot be empty."""
    return max(1, min(MOST_BLOCKS, (n + THREADS - 1) // THREADS)), THREADS
