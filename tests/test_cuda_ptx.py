"""Every launch of every CUDA kernel, compiled to PTX without a graphics card.

A process of its own, without the simulator, puts stand-ins in the place of the card's memory, of the card itself and
of the launch. Then the host functions are called with the rows of kernel_rows.py, and larger ones: each distinct pair
of a kernel and the types of its arguments is compiled for one compute capability.

    python tests/test_cuda_ptx.py 9 0       what the test starts: one JSON object per kernel

float64, in which gradients are checked, is compiled where more than one is asked for, for the newest alone.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

# An older card's compiler takes as long again, so does float64, and nearly so all sizes of the sequences of every cell;
# MICRORNN_TEST_CARDS=1 asks for these, as `make fuzz` does.
ALL = bool(os.environ.get("MICRORNN_TEST_CARDS"))
CAPABILITIES = ((8, 0), (9, 0)) if ALL else ((9, 0),)
SIZES = (33, 128, 200, 256, 512, 1024)  # of a row
SOME = {"lstm": (33, 128, 512, 1024)}  # sizes of a cell's sequences, where not all are asked for; of the others:
OF_OTHERS = (33, 128)  # one block for all units, and several that wait for each other
LANES = (1, 20, 128)  # of a sequence; which kernel it takes, and which variant, is planned by sizes and lanes
# (rows, columns, depth): few numbers, some tiles, large tiles, a long sum that is split
PRODUCTS = ((4, 8, 16), (1600, 512, 128), (6400, 2048, 512), (512, 128, 1600))
DOUBLE = {"sum_of_squares"}  # accumulates in float64 by definition
MULTIPROCESSORS = {(8, 0): 108, (9, 0): 132}


# --- in the process without the simulator ------------------------------------------------------------------------


def stand_in(capability: tuple[int, int]) -> list[tuple[Any, tuple, tuple]]:
    """Put the stand-ins in place. The list that is returned grows by (kernel, launch, arguments) with each launch."""
    from micrornn.kernels.cuda import array, driver
    from micrornn.kernels.cuda.jit import cuda

    class Library:
        """The driver: it takes what a launch is given, and has no memory."""

        unsigned, pointer = ctypes.c_uint, ctypes.c_void_p
        cuLaunchKernel = ctypes.CFUNCTYPE(ctypes.c_int, pointer, *[unsigned] * 7, *[pointer] * 3)(lambda *_: 0)
        cuLaunchCooperativeKernel = None

        def cuMemcpyDtoH_v2(self, out: int, place: int, size: int) -> int:
            ctypes.memset(out, 0, size)
            return 0

        def cuMemcpyHtoD_v2(self, *_: int) -> int:
            return 0

        cuMemFree_v2 = cuMemsetD8Async = cuMemcpyDtoDAsync_v2 = cuMemcpyHtoD_v2

    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    card = SimpleNamespace(
        compute_capability=capability, id=0, name="stand-in", MULTIPROCESSOR_COUNT=MULTIPROCESSORS[capability],
    )  # fmt: skip
    launches: list[tuple[Any, tuple, tuple]] = []

    def launch(kernel: Any, *given: Any) -> None:
        launches.append((kernel.dispatcher, given[:2], given[2:]))
        plain(kernel, *given)

    library, plain, code = (
        Library(),
        driver.Kernel.launch,
        SimpleNamespace(get_cufunc=lambda: SimpleNamespace(handle=1)),
    )
    driver.Kernel.launch, driver.library = launch, lambda: library
    dispatcher.CUDADispatcher.compile = lambda *_: SimpleNamespace(cooperative=False, _codelibrary=code)
    dispatcher.get_current_device = cuda.get_current_device = lambda: card
    cuda.current_context = lambda *_: SimpleNamespace(get_memory_info=lambda: (70 * 10**9, 80 * 10**9), device=card)
    array.allocate = lambda size, dtype: driver.Numbers(0, size, dtype)
    return launches


def host_functions() -> dict[str, Callable[..., None]]:
    """What the table of the device holds, by name."""
    from micrornn.kernels import NAMES, cuda

    return {name: getattr(cuda, name) for name in NAMES if hasattr(cuda, name)}


def calls(name: str, dtype: type) -> Iterator[list[Any]]:
    """Arguments for a host function: NumPy arrays of zeros."""
    import kernel_rows
    from kernel_rows import BASIC, ROWS, Draw

    from micrornn.cells import CELLS

    sizes = {id(CELLS[cell].program): SIZES if ALL else SOME.get(cell, OF_OTHERS) for cell in BASIC}
    kernel_rows.shapes_and_masks = lambda d: [
        (3, lanes, d.n, np.zeros((3, lanes) if masked else (0, 0), bool), masked)
        for lanes in LANES
        for masked in (True, False)
    ]

    class Zeros(Draw):
        """Nobody looks at the numbers, so none are drawn."""

        def normal(self, *shape: int, std: float = 1) -> np.ndarray:
            return np.zeros(shape, self.dtype)

        def between(self, low: float, high: float, *shape: int) -> np.ndarray:
            return np.zeros(shape, self.dtype)

    for n in SIZES:
        for arguments in ROWS[name](Zeros(dtype, n)):
            if n in sizes.get(id(arguments[0]), SIZES) or name == "cell_step":
                yield arguments
    if name == "matmul":
        for m, n, k in PRODUCTS:
            for trans_a in (False, True):
                a = np.zeros((k, m) if trans_a else (m, k), dtype)
                yield [np.zeros((m, n), dtype), a, np.zeros((n, k), dtype), trans_a, True]


def launched(launches: list[tuple[Any, tuple, tuple]], dtype: type) -> dict[tuple[Any, tuple], dict[str, Any]]:
    """{(kernel, types): {"names": host functions that launch it, "threads": most of a block}}."""
    import kernel_rows
    from numba.core.typing.typeof import typeof

    from micrornn.kernels.cuda import product
    from micrornn.kernels.cuda.array import asarray

    found: dict[tuple[Any, tuple], dict[str, Any]] = {}
    for name, function in host_functions().items():
        for precision in product.PRECISIONS:
            product.set_precision(precision)
            for arguments in calls(name, dtype):
                function(*kernel_rows.each(lambda a: asarray(a) if a.ndim else a, arguments))
        for kernel, launch, arguments in launches:
            types = tuple(typeof(a) for a in arguments)
            of = found.setdefault((kernel, types), {"names": [], "threads": 0})
            check(kernel, launch)
            of["threads"] = max(of["threads"], int(np.prod(launch[1])))
            if name not in of["names"]:
                of["names"].append(name)
        assert launches, f"{name} launches nothing"
        launches.clear()
    return found


def check(kernel: Any, launch: tuple) -> None:
    """A grid that no card takes is refused only there."""
    grid, block = np.atleast_1d(launch[0]), np.atleast_1d(launch[1])
    bounds = kernel.targetoptions.get("launch_bounds")
    most = np.atleast_1d(bounds)[0] if bounds else 1024
    assert 0 < np.prod(block) <= most, f"{kernel.__name__}: {launch[1]} threads in a block"
    assert grid.min() > 0 and (grid[1:] < 65536).all() and grid[0] < 2**31, f"{kernel.__name__}: a grid of {launch[0]}"


def ptxas() -> str | None:
    """NVIDIA's assembler: on the path, or in the wheels."""
    wheels = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    return shutil.which("ptxas") or next((str(path) for path in wheels.rglob("bin/ptxas")), None)


def assemble(command: str, ptx: str, capability: tuple[int, int], folder: Path) -> dict[str, Any]:
    """What ptxas tells of a kernel: bytes spilled, registers, shared memory, stack."""
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    whole = ["-c"] if ".extern .func" in ptx else []  # cooperative kernels call what the driver links in
    done = subprocess.run(
        [command, f"-arch=sm_{capability[0]}{capability[1]}", "-v", *whole, source, "-o", folder / "kernel.cubin"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    if done.returncode:
        return {"error": done.stderr[-2000:]}

    def number(pattern: str) -> int:
        return max((int(n) for n in re.findall(pattern, done.stderr)), default=0)

    return {
        "spilled": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        "stack": number(r"(\d+) bytes stack frame"),
        "registers": number(r"Used (\d+) registers"),
        "static": number(r"(\d+) bytes smem"),
    }


def cooperative(kernel: Any, types: tuple, capability: tuple[int, int]) -> bool:
    """Whether Numba would launch it so that all blocks are on the card at once."""
    from numba.core import types as numba_types

    compile_cuda = importlib.import_module("numba.cuda.compiler").compile_cuda
    return bool(compile_cuda(kernel.py_func, numba_types.void, types, cc=capability).library.use_cooperative)


def main(capability: tuple[int, int]) -> None:
    from micrornn.kernels.cuda.jit import SIM, cuda

    assert not SIM
    launches, seen = stand_in(capability), set()
    assembler = ptxas()
    with tempfile.TemporaryDirectory() as folder:
        work = [(np.float32, *item) for item in launched(launches, np.float32).items()]
        if len(CAPABILITIES) > 1 and capability == CAPABILITIES[-1]:
            work += [(np.float64, *item) for item in launched(launches, np.float64).items()]
        for dtype, (kernel, types), of in work:
            start = time.perf_counter()
            options = {name: kernel.targetoptions.get(name) for name in ("fastmath", "launch_bounds")}
            ptx, _ = cuda.compile_ptx(kernel.py_func, types, cc=capability, **options)
            variant = dict(zip(kernel.py_func.__code__.co_freevars, kernel.py_func.__closure__ or ()))
            row = of | {
                "kernel": f"{kernel.__module__.split('.')[-1]}.{kernel.__name__}",
                "variant": {
                    name: cell.cell_contents for name, cell in variant.items() if type(cell.cell_contents) is int
                },
                "dtype": np.dtype(dtype).name,
                "types": [str(t) for t in types],
                "f64": [line.strip() for line in ptx.splitlines() if ".f64" in line][:5],
                "seconds": time.perf_counter() - start,
            }
            several = variant["several"].cell_contents if "several" in variant else None
            whose = kernel.__module__ if ALL else "any cell"
            if several is not None and (whose, several) not in seen:
                seen.add((whose, several))
                row |= {"several": several, "cooperative": cooperative(kernel, types, capability)}
            if assembler and dtype == np.float32:
                row |= assemble(assembler, ptx, capability, Path(folder))
            print(json.dumps(row), flush=True)


# --- the test ----------------------------------------------------------------------------------------------------

Rows = list[dict[str, Any]]
Compiled = dict[tuple[int, int], Rows]  # by compute capability


def missing() -> str | None:
    """Why PTX cannot be made here. In a process of its own: this one may have the simulator."""
    code = (
        "import numba_cuda; from numba import cuda; from numba.cuda.cudadrv import nvvm\n"
        "assert nvvm.is_available(), 'libnvvm is missing'\n"
        "cuda.compile_ptx(lambda: None, (), cc=(9, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["it crashed"])[-1]
    return f"no compiler for CUDA kernels ({last}); pip install -e '.[cuda]'"


def environment() -> dict[str, str]:
    """Without the simulator, which another test may have asked for."""
    return {k: v for k, v in os.environ.items() if k not in ("NUMBA_ENABLE_CUDASIM", "NUMBA_DISABLE_JIT")}


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    """All kernels for all compute capabilities, one process for each."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    processes = {
        capability: subprocess.Popen(
            [sys.executable, __file__, *map(str, capability)],
            env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for capability in CAPABILITIES
    }  # fmt: skip
    found = {}
    for capability, process in processes.items():
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-4000:]
        found[capability] = [json.loads(line) for line in out.splitlines()]
    return found


def each(compiled: Compiled) -> Iterator[tuple[str, tuple[int, int], dict[str, Any]]]:
    """(a name for people, compute capability, row) of all that is float32."""
    for capability, rows in compiled.items():
        for row in rows:
            if row["dtype"] == "float32":
                what = f"{row['kernel']} {row['variant'] or ''} ({', '.join(row['types'])})"
                yield f"{what} for sm_{capability[0]}{capability[1]}", capability, row


def test_every_kernel_is_compiled_for_every_card(compiled: Compiled) -> None:
    from micrornn.kernels import NAMES

    seen = {}
    for (major, minor), rows in compiled.items():
        for dtype in sorted({row["dtype"] for row in rows}):
            kernels = [row for row in rows if row["dtype"] == dtype]
            print(f"sm_{major}{minor}, {dtype}: {', '.join(row['kernel'] for row in kernels)}")
            assert {name for row in kernels for name in row["names"]} == set(NAMES)
            seen[major, minor, dtype] = {(row["kernel"], *row["types"]) for row in kernels}
    assert seen[9, 0, "float32"] and (len(CAPABILITIES) == 1 or seen[9, 0, "float64"])
    assert seen.get((8, 0, "float32"), seen[9, 0, "float32"]) == seen[9, 0, "float32"]


def test_float32_kernels_do_nothing_in_float64(compiled: Compiled) -> None:
    wrong = {what: row["f64"] for what, _, row in each(compiled) if row["f64"] and not set(row["names"]) <= DOUBLE}
    assert not wrong, json.dumps(wrong, indent=2)
    assert any(row["f64"] for _, _, row in each(compiled)), "sum_of_squares has no float64: the check sees nothing"


def test_launches_are_cooperative_where_blocks_wait_for_each_other_and_only_there(compiled: Compiled) -> None:
    """One that is not would never end; one that need not be would be refused for a grid larger than the card."""
    rows = [(what, row) for what, _, row in each(compiled) if "cooperative" in row]
    assert {row["several"] for _, row in rows} == {True, False}
    assert not [what for what, row in rows if row["cooperative"] != row["several"]]


def test_nothing_is_spilled_and_all_fits(compiled: Compiled) -> None:
    """Registers that do not suffice go to memory without a word; shared memory that does not, fails at the launch."""
    if ptxas() is None:
        pytest.skip("ptxas is neither on the path nor in NVIDIA's wheels")
    wrong = {what: row for what, _, row in each(compiled) if row.get("error") or row["spilled"]}
    assert not wrong, json.dumps(wrong, indent=2)
    for what, _, row in each(compiled):
        assert row["static"] <= 48 * 1024, what
        assert row["registers"] * row["threads"] <= 65536, (what, row)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main((int(sys.argv[1]), int(sys.argv[2])))
