"""How every CPU kernel is compiled, in one place, each option with its reason.

kernel     compile a function with Numba; used for kernels and for their helpers alike
parallel   the same, with `prange` split over threads; for functions that are called from Python
callback   compile a function for one signature, to be called through its address
VECTOR     bytes in the machine's vector register, TILE_ROWS what the product kernel fits into registers
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import config
from numba.core import sigutils
from numba.core.ccallback import CFunc

from micrornn import folders
from micrornn.kernels import maths
from micrornn.kernels.kept import keep


@cache  # whatever happens to the environment, what lies in one folder stays together
def cache_dir() -> Path:
    """Where compiled kernels are kept: one folder per state of the sources, of Numba and of the processor.

    Numba's own cache does not notice an edit in a helper of another file (numba#1833), and it has nowhere to
    write when the package is installed read-only. A folder named by the hash of all kernel sources mends both.
    """
    state = hashlib.sha256(f"{numba.__version__} {llvm.get_host_cpu_name()}".encode())
    for source in sorted([*Path(__file__).parent.glob("*.py"), Path(maths.__file__)]):
        state.update(source.read_bytes())
    return folders.cache_home("kernels", state.hexdigest()[:16])


# Threads that wait for work in a loop eat the time that the last busy one needs when the machine has other work:
# a parallel kernel became ten times slower on two cores of which one was taken. After some microseconds, sleep.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# NUMBA_CACHE_DIR, when set, is the user's choice, unless others may have written what lies there: it is executed.
if not config.CACHE_DIR or folders.unusable(Path(config.CACHE_DIR)):
    config.CACHE_DIR = str(cache_dir())

# For processors with AVX-512, LLVM writes vectors of half that width unless told not to: on some, wide vectors used to
# slow the clock. The products need the wide ones anyway, so the loops around them may as well use them.
if not config.CPU_FEATURES and not config.CPU_NAME and llvm.get_host_cpu_features().get("avx512f"):
    config.CPU_NAME = llvm.get_host_cpu_name()
    config.CPU_FEATURES = llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit"

# A loop over many arrays is vector code only where LLVM may look first whether any two of them overlap. It gives up at
# 128 such looks, which a cell of four states exceeds: its way back took three times as long.
llvm.set_option("", "--vectorize-memory-check-threshold=512")

_options: dict[str, Any] = {
    "nogil": True,  # a kernel touches no Python object; Ctrl-C and progress threads stay alive
    "error_model": "numpy",  # x / 0 is inf, not an exception; without it no division is vectorised
    "fastmath": {"contract", "nsz", "arcp"},  # a*b+c may fuse; no reordering of sums, NaN and inf kept
}


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`numba.njit` with the options above."""
    if function is None:
        return partial(kernel, **options)
    if config.DISABLE_JIT:  # compiled code wraps around and divides by zero in silence; so must the plain one
        return np.errstate(all="ignore")(function)
    compiled = numba.njit(**(_options | options))(function)
    keep(compiled, config.CACHE_DIR)  # compile once per machine, not once per process
    return compiled


def parallel(function: Callable[..., None]) -> Callable[..., None]:
    """The same, with `prange` split over threads.

    Threads do not survive a fork, and GNU OpenMP, which Numba starts them with on Linux, ends a forked process that
    asks for them: a pool of processes then waits for ever. So there the loop over parts is Python's: the same numbers.
    """
    compiled = kernel(function, parallel=True)

    @wraps(function)
    def call(*arguments: Any) -> None:
        (function if _forked else compiled)(*arguments)

    return call


def _alone() -> None:
    global _forked
    _forked = True


_forked = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


def callback(signature: Any, function: Callable[..., Any]) -> Any:
    """The function compiled at once, with an `address` that C or a table can call."""
    compiled = CFunc(function, sigutils.normalize_signature(signature), {}, {"error_model": "numpy"})
    keep(compiled, config.CACHE_DIR)
    compiled.compile()
    return compiled


# Sums may be reordered only where this is asked for, so that they become vector sums.
REORDER = {"contract", "nsz", "arcp", "reassoc"}


def _vector_bytes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16  # 16: NEON, SSE2


VECTOR = _vector_bytes()
# Accumulators are rows x vectors: 12 x 2 of AVX-512's 32 registers, 6 x 2 of AVX2's 16, 6 x 4 of NEON's 32.
TILE_ROWS = 12 if VECTOR == 64 else 6
TILE_BYTES = 2 * VECTOR if VECTOR > 16 else 4 * VECTOR
