"""What a user is told where the graphics card cannot be used, is too old, or has no room left.

Each check runs in a process of its own, for the simulator is chosen before Numba is imported. The stand-ins raise what
Numba raises: there is no card here to raise it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from micrornn_cli.exits import Exit


@pytest.fixture(scope="module")
def driverless() -> None:
    """Skips where there is another reason than the missing driver, or none."""
    reason = printed("from micrornn import device\nprint(device.available('cuda'))").strip()
    if "no NVIDIA driver" not in reason:
        pytest.skip(f"not a machine that lacks nothing but the driver: {reason}")


numba_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install -e '.[cuda]'"
)


def run(*arguments: object, simulator: bool = False, **environment: str) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_ENABLE_CUDASIM", "NUMBA_DISABLE_CUDA")}
    if simulator:
        environment["NUMBA_ENABLE_CUDASIM"] = "1"
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=kept | environment, capture_output=True, text=True, timeout=60
    )


def printed(code: str, simulator: bool = False, **environment: str) -> str:
    done = run("-c", code, simulator=simulator, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


WHY = "\nfrom micrornn import device\nprint(device.available('cuda'))"
FILL = "from micrornn.kernels.cuda.array import full\nprint(full((3,), 2, 'f4'))"


@pytest.mark.usefixtures("driverless")
def test_without_a_driver_it_says_so_and_computes_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox " * 40)
    out = tmp_path / "run"
    done = run("-m", "micrornn_cli", "train", tmp_path / "text.txt", "--device", "cuda", "--out", out)
    assert done.returncode == Exit.DEVICE
    assert done.stdout == "" and not out.exists()
    message = done.stderr[done.stderr.index("Error:") :].strip()
    assert message.splitlines() == [
        "Error: device cuda: no NVIDIA driver was found; install it and `pip install 'micrornn[cuda]'`, "
        "or use --device cpu"
    ]


@pytest.mark.usefixtures("driverless")
def test_info_tells_why_not_and_how_to_install() -> None:
    cuda = json.loads(run("-m", "micrornn_cli", "info", "--json").stdout)["devices"]["cuda"]
    assert cuda.keys() == {"available", "why_not"} and not cuda["available"]
    assert "driver" in cuda["why_not"] and "pip install 'micrornn[cuda]'" in cuda["why_not"]
    assert "pip install 'micrornn[cuda]'" in " ".join(run("-m", "micrornn_cli", "info", COLUMNS="200").stdout.split())


def test_info_tells_of_the_simulator() -> None:
    cuda = json.loads(run("-m", "micrornn_cli", "info", "--json", simulator=True).stdout)["devices"]["cuda"]
    assert cuda["available"] and cuda["card"]["simulator"]
    assert "simulator" in run("-m", "micrornn_cli", "info", simulator=True).stdout


# What Numba's numba.cuda tells of a card, from the driver or the compiler.
CARD = """
import importlib
from types import SimpleNamespace
from micrornn.kernels.cuda import card
driver = SimpleNamespace(is_available=True, initialization_error=None, get_version=lambda: (13, 0))
nvvm = SimpleNamespace(is_available=lambda: True)
runtime = SimpleNamespace(runtime=SimpleNamespace(get_version=lambda: (13, 0)))
nvrtc = SimpleNamespace(get_lowest_supported_cc=lambda: (7, 5))
modules = {"driver": SimpleNamespace(driver=driver), "nvvm": nvvm, "nvrtc": nvrtc, "runtime": runtime, "arrayobj": 0}
def imported(name):
    found = modules[name.rpartition(".")[2]]
    if isinstance(found, Exception):
        raise found
    return found
card.importlib = SimpleNamespace(import_module=imported)
one = SimpleNamespace(compute_capability=(9, 0), name="NVIDIA Test", MULTIPROCESSOR_COUNT=132)
card.cuda = SimpleNamespace(
    gpus=[one], get_current_device=lambda: one,
    current_context=lambda: SimpleNamespace(get_memory_info=lambda: (60 * 10**9, 80 * 10**9)),
)
"""


WRONG = {
    "": "None",
    "one.compute_capability = (5, 2)": "NVIDIA Test has compute capability 5.2, and the kernels and their "
    "compiler need 7.5 or newer; use `device=cpu`",
    "one.compute_capability = (7, 5)": "None",
    "modules['arrayobj'] = ImportError('elsewhere')": "None",
    "modules['arrayobj'] = AttributeError('no row_stack')": "numba-cuda does not work with this NumPy (no row_stack); "
    "`pip install 'micrornn[cuda]'`, or use `device=cpu`",
    "modules['arrayobj'] = 0": "None",
    "nvvm.is_available = lambda: False": "there is no compiler for kernels (libnvvm); "
    "`pip install 'micrornn[cuda]'`, or use `device=cpu`",
    "nvvm.is_available = lambda: True; driver.get_version = lambda: (12, 4)": "the driver knows CUDA 12.4, the "
    "compiler for kernels is of CUDA 13.0; update the driver, or `pip install 'numba-cuda[cu12]'`, or use `device=cpu`",
    "driver.is_available = False; driver.initialization_error = 'CUDA_ERROR_NO_DEVICE (100)'": "there is a driver, but "
    "it sees no card (CUDA_VISIBLE_DEVICES hides some); use `device=cpu`",
    r"driver.initialization_error = 'broken\n(999)'": "the NVIDIA driver does not work: broken (999); use `device=cpu`",
}  # one change after another


@numba_cuda
def test_what_is_wrong_with_the_card_is_one_line() -> None:
    told = printed(CARD + "".join(f"\n{change}{WHY}" for change in WRONG))
    assert told.splitlines() == list(WRONG.values())


def test_numba_without_its_part_for_cards_is_told() -> None:
    told = printed("import sys; sys.modules['numba.cuda'] = None" + WHY)
    assert told.count("\n") == 1 and "pip install 'micrornn[cuda]'" in told and "`device=cpu`" in told


def test_without_numba_cuda_only_the_simulator_runs() -> None:
    """numba-cuda takes the place of Numba's own copy by a .pth file; with -S, Python reads none."""
    paths = f"import sys; sys.path[:0] = {[str(Path(__file__).parents[1]), sysconfig.get_paths()['purelib']]}\n"
    done = run("-S", "-c", paths + WHY)
    assert "numba-cuda is not installed" in done.stdout and done.stdout.count("\n") == 1, done.stderr
    done = run("-S", "-c", paths + FILL, simulator=True)
    assert "array([2., 2., 2.]" in done.stdout, done.stderr


@numba_cuda
def test_info_tells_of_the_card() -> None:
    code = CARD + "import sys\nfrom micrornn_cli.main import main\nmain(['info', *sys.argv[1:]])"
    card = json.loads(run("-c", code, "--json").stdout)["devices"]["cuda"]["card"]
    assert card == {
        "name": "NVIDIA Test", "simulator": False, "compute_capability": "9.0", "multiprocessors": 132,
        "memory_bytes": 80 * 10**9, "free_bytes": 60 * 10**9, "driver": "13.0",
    }  # fmt: skip
    told = " ".join(run("-c", code, COLUMNS="200").stdout.split())
    assert "NVIDIA Test, compute capability 9.0, 132 multiprocessors, 80.0 GB (60.0 free), driver for CUDA 13.0" in told


# A card with room for so many bytes. What is raised has the driver's code: in Numba's own numba.cuda a number, in
# numba-cuda an enum of cuda-bindings.
FULL = """
import numpy as np
from micrornn.errors import DeviceError
from micrornn.kernels.cuda import array, card
from micrornn.kernels.cuda.driver import CardError

room, code, plain, tries = 4000, {code}, array.allocate, []
def allocate(size, dtype):
    tries.append(size)
    idle = array.pool.idle.bytes
    held = sum(memory.nbytes for memory in living)
    if held + idle + size * np.dtype(dtype).itemsize > room:
        raise CardError(code, "no")
    return plain(size, dtype)
living = []
array.allocate = allocate
card.memory = lambda: (1_500_000_000, 80_000_000_000)
def make(size):
    living.append(array.empty((size,), np.float32))
"""


def test_memory_that_is_idle_is_given_back_before_it_is_told_to_be_full() -> None:
    told = printed(
        FULL.replace("{code}", "2") + "make(600)\nliving.clear()\nprint(array.pool.idle.bytes)\nmake(700)\n"
        "print(array.pool.idle.bytes, tries)\nmake(100)\n"
        "try:\n    make(500_000_000)\nexcept DeviceError as error:\n    print(error)",
        simulator=True,
    )
    assert told.splitlines() == [
        "2400", "0 [600, 700, 700]",
        "device cuda is out of memory: 2.0 GB were asked for, 1.5 GB of 80.0 GB are free",
        "lower `batch_size`, `num_steps` or `hidden_size`",
    ]  # fmt: skip


def test_another_fault_of_the_card_is_not_taken_for_a_lack_of_memory() -> None:
    code = FULL.replace("{code}", "700")  # an illegal address
    told = printed(code + "try:\n    make(5000)\nexcept CardError as error:\n    print(error.code)", simulator=True)
    assert told.strip() == "700"


def test_idle_memory_has_a_bound() -> None:
    told = printed(
        "import numpy as np\nfrom micrornn.kernels.cuda import array, card\ncard.memory = lambda: (0, 8000)\n"
        "made = [array.empty((250,), np.float32) for _ in range(6)]\nmade.clear()\nprint(array.pool.idle.bytes)",
        simulator=True,
    )
    assert told.strip() == "4000"


def test_host_and_of() -> None:
    told = printed(
        "import numpy as np\nfrom micrornn import device\nfrom micrornn.kernels.cuda.array import asarray\n"
        "x = np.arange(6, dtype=np.float32).reshape(2, 3)\nthere = asarray(x)\n"
        "print(device.of(x), device.of(there), device.host(x) is x)\n"
        "print(np.array_equal(device.host(there.transpose()), x.T))",
        simulator=True,
    )
    assert told.split() == ["cpu", "cuda", "True", "True"]
