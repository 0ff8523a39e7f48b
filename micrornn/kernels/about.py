"""What the CPU kernels run on, for people: `about()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba

from micrornn import device
from micrornn.kernels.cpu import jit

_config: Any = numba.config


def about() -> dict[str, Any]:
    """The processor as LLVM knows it, vector and tile sizes, threads and the folder of compiled kernels.

    tile    the part of a matrix product that is kept in registers: rows, and columns for each precision
    """
    return {
        "processor": llvm.get_host_cpu_name(),
        "vector_bytes": jit.VECTOR,
        "tile": {"rows": jit.TILE_ROWS, "float32": jit.TILE_BYTES // 4, "float64": jit.TILE_BYTES // 8},
        "threads": min(device.default_threads(), _config.NUMBA_NUM_THREADS),
        "threading_layer": numba.threading_layer(),
        "cache": str(Path(_config.CACHE_DIR)),
    }
