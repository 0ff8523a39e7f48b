"""What is known of the graphics card, and whether kernels can run on it.

why_not()               None if they can, else one line: what is missing and what to do
name()                  as its maker calls it
compute_capability()    (major, minor): which instructions it knows
multiprocessors()       how many there are
memory()                (free, all) bytes
driver()                the newest CUDA version that the driver knows, (major, minor)
about()                 all of it, for `micrornn info`

In the simulator there is one card, with one multiprocessor and the machine's memory.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from micrornn import device, kernels
from micrornn.kernels.cuda.jit import SIM, cuda

OLDEST = (7, 0)  # the first with the loads that acquire, by which blocks wait for one another (recurrent.py)
_forked = False  # since this module was imported
INSTALL = "pip install 'micrornn[cuda]'"


def why_not() -> str | None:
    """None if kernels can be compiled and run here, else one line: what is missing and what to do."""
    if SIM:
        return None
    if _forked:
        return (
            "a process that was forked cannot use the card of the one it comes from; start processes by "
            'multiprocessing.get_context("spawn"), or use `device=cpu`'
        )
    reason = _no_driver() or _no_compiler() or _no_match()
    if reason:
        return reason
    major, minor = importlib.import_module(
        "numba.cuda.cudadrv.nvrtc"
    ).get_lowest_supported_cc()  # each CUDA forgets some
    card, oldest = cuda.gpus[0], max(OLDEST, (int(major), int(minor)))
    if card.compute_capability < oldest:
        return (
            f"{_text(card.name)} has compute capability {_version(card.compute_capability)}, and the kernels and their "
            f"compiler need {_version(oldest)} or newer; use `device=cpu`"
        )
    return _old_driver()


def _in_child() -> None:
    global _forked
    _forked = True
    kernels.for_device.cache_clear()  # whoever asks for the card's kernels again is told


if hasattr(os, "register_at_fork") and not SIM:
    os.register_at_fork(after_in_child=_in_child)


def _no_driver() -> str | None:
    found: Any = importlib.import_module("numba.cuda.cudadrv.driver").driver
    try:
        if found.is_available:
            return None
        why = str(found.initialization_error)
    except Exception as error:  # what Numba raises while it wakes the driver differs from version to version
        why = str(error)
    if "cannot be found" in why:
        return f"no NVIDIA driver was found; install it and `{INSTALL}`, or use `device=cpu`"
    if "NO_DEVICE" in why:
        return "there is a driver, but it sees no card (CUDA_VISIBLE_DEVICES hides some); use `device=cpu`"
    return f"the NVIDIA driver does not work: {' '.join(why.split())}; use `device=cpu`"


def _no_compiler() -> str | None:
    if importlib.import_module("numba.cuda.cudadrv.nvvm").is_available():
        return None
    return f"there is no compiler for kernels (libnvvm); `{INSTALL}`, or use `device=cpu`"


def _no_match() -> str | None:
    """numba-cuda does not say which NumPy it needs: with one that is too new, its first kernel ends in an error."""
    try:
        importlib.import_module("numba.cuda.np.arrayobj")
    except AttributeError as error:
        return f"numba-cuda does not work with this NumPy ({error}); `{INSTALL}`, or use `device=cpu`"
    except ImportError:  # another version, which has it elsewhere
        pass
    return None


def _old_driver() -> str | None:
    """Kernels come from a compiler of one CUDA version; a driver of an older one does not take them."""
    compiler = importlib.import_module("numba.cuda.cudadrv.runtime").runtime.get_version()
    if driver()[0] >= compiler[0]:
        return None
    return (
        f"the driver knows CUDA {_version(driver())}, the compiler for kernels is of CUDA {_version(compiler)}; "
        f"update the driver, or `pip install 'numba-cuda[cu{driver()[0]}]'`, or use `device=cpu`"
    )


def _version(pair: tuple[int, int]) -> str:
    return ".".join(map(str, pair))


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)  # bytes in Numba's own numba.cuda


def name() -> str:
    """As its maker calls it."""
    return "simulator" if SIM else _text(cuda.get_current_device().name)


def compute_capability() -> tuple[int, int]:
    """Which instructions it knows."""
    major, minor = (0, 0) if SIM else cuda.get_current_device().compute_capability
    return int(major), int(minor)


def multiprocessors() -> int:
    """How many blocks can work at once, at least."""
    return 1 if SIM else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def memory() -> tuple[int, int]:
    """(free, all) bytes of the card."""
    if SIM:
        return device.memory(), device.memory()
    free, total = cuda.current_context().get_memory_info()
    return int(free), int(total)


def driver() -> tuple[int, int]:
    """The newest CUDA version that the driver knows."""
    if SIM:
        return 0, 0
    major, minor = importlib.import_module("numba.cuda.cudadrv.driver").driver.get_version()
    return int(major), int(minor)


def about() -> dict[str, Any]:
    """All of it, fit for JSON."""
    free, total = memory()
    return {
        "name": name(),
        "simulator": SIM,
        "compute_capability": _version(compute_capability()),
        "multiprocessors": multiprocessors(),
        "memory_bytes": total,
        "free_bytes": free,
        "driver": _version(driver()),
    }
