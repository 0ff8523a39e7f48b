"""A cell from a file of one's own: trained, inspected, saved, loaded and sampled as ours are; and what is told where
the file is no good."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn
from made_up_runs import TEXT

from micrornn.cells import find_cell
from micrornn.checks import check_cell
from micrornn.errors import CellError
from micrornn.inspect.recorded import layers_on
from micrornn.inspect.spectrum import Jacobians
from micrornn.recurrent import Recurrent
from micrornn.tape import Tape, Tensor
from micrornn_cli.exits import Exit

TWO_TIMES = '''
from micrornn.cells import Cell
from micrornn.ops import linear, sigmoid, tanh


class TwoTimes(Cell):
    """s_t = s_prev + f_t (g_t - s_prev), at a speed of each unit's own;  h_t = tanh(gain s_t) + h_prev / 4."""

    name = "two_times"
    gates, states, vectors = ("f", "g"), ("h", "s"), ("gain",)

    def step(self, x, state, w):
        h_prev, s_prev = state
        f, g = self.per_gate(linear(x, w.weight_ih, w.bias_ih) + linear(h_prev, w.weight_hh, w.bias_hh))
        s = s_prev + sigmoid(f) * (tanh(g) - s_prev)
        return tanh(w.gain * s) + h_prev / 4, s
'''

DOUBLE = ("--dtype", "float64")  # in which the derivatives are checked: so it is compiled once


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("micrornn.owncode.cache_home", lambda *_: tmp_path)  # nothing is trusted from before
    Path("mine.py").write_text(TWO_TIMES)
    return "./mine.py:TwoTimes"


def test_train_inspect_save_load_sample(spec: str, micrornn: Micrornn) -> None:
    Path("text.txt").write_text(TEXT * 3)
    sizes = ("--hidden-size", 8, "--num-updates", 8, "--val-every", 4, "--batch-size", 4, "--num-steps", 8, *DOUBLE)
    code, _, err = micrornn("train", "text.txt", "--cell", spec, *sizes, "--out", "run")
    assert code == 0, err
    for measure, part in (("flow", "two_times_l0"), ("credit", "two_times_l0 s"), ("jacobian", "two_times_l0")):
        code, out, err = micrornn("inspect", measure, "run", "--json")
        assert (code, err) == (0, "") and part in out, (measure, out[-500:])
    code, first, err = micrornn("sample", "run", "--length", 20, "--seed", 1)
    assert (code, err) == (0, "")
    with open("mine.py", "a") as file:
        file.write(f"# {uuid.uuid4()}\n")  # what was once allowed on this machine stays so
    code, out, err = micrornn("sample", "run")
    assert (code, out) == (Exit.CHECKPOINT, "") and "micrornn cell ./mine.py:TwoTimes" in err
    assert micrornn("cell", spec)[0] == 0  # whoever reads the code may allow it
    code, again, err = micrornn("sample", "run", "--length", 20, "--seed", 1)
    assert code == 0 and again == first and err.startswith("Warning: mine.py has changed since run/best.ckpt was")
    code, _, err = micrornn("train", "--resume", "run", "--num-updates", 10)
    assert code == 0 and "Warning: mine.py has changed" in err
    os.rename("mine.py", "other.py")
    code, _, err = micrornn("sample", "run")
    assert code == Exit.CHECKPOINT and "'./mine.py:TwoTimes': No such file" in err and len(err.splitlines()) <= 2


def test_code_that_nobody_typed_is_not_run(spec: str, micrornn: Micrornn,
                                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Whatever names it: a checkpoint, the settings of a run, or a file of settings."""
    Path("text.txt").write_text(TEXT)
    sizes = ("--hidden-size", 8, "--num-updates", 2, "--batch-size", 4, "--num-steps", 8, *DOUBLE)
    assert micrornn("train", "text.txt", "--cell", spec, *sizes, "--out", "run")[0] == 0
    Path("mine.py").write_text(TWO_TIMES + "\nopen('was_run', 'w')\n")
    commands = (
        ("sample", "run"), ("eval", "run", "text.txt"), ("inspect", "flow", "run"), ("gradcheck", "run"),
        ("advise", "run"), ("train", "--resume", "run", "--num-updates", 4),
        ("train", "text.txt", "--init-from", "run"), ("train", "text.txt", "--config", "run/config.toml"),
    )  # fmt: skip
    for command in commands:
        code, _, err = micrornn(*command)
        message = err[err.index("Error:") :]
        assert code in (Exit.CHECKPOINT, Exit.USAGE) and "code that nobody has run" in message, (command, err)
        assert len(message.splitlines()) == 2 and not Path("was_run").exists()


def test_its_derivatives_are_the_numeric_ones(spec: str) -> None:
    for granularity in ("primitive", "cell", "sequence"):
        assert check_cell(spec, granularity, num_layers=2, hidden_size=3, seq_len=4, samples=6).passed
    rng, size = np.random.default_rng(0), 4
    net = Recurrent(spec, 2, size, dtype=np.float64)
    x, first = rng.normal(size=(5, 3, 2)), [Tensor(rng.normal(size=(1, 3, size)), True) for _ in "hs"]
    with Tape() as tape:
        net(Tensor(x), first)
    layer = layers_on(tape)[0]
    dense = Jacobians.of(layer).dense().reshape(5, 3, 2 * size, 2 * size)
    for t in range(5):
        before = np.concatenate([layer.saved[name][t] for name in layer.states], axis=1)

        def after(state: np.ndarray, t: int = t) -> np.ndarray:
            parts = [Tensor(part[None]) for part in np.split(state, 2, axis=1)]
            return np.concatenate([part.data[0] for part in net(Tensor(x[t : t + 1]), parts)[1]], axis=1)

        for j in range(2 * size):
            nudge = 1e-5 * np.eye(2 * size)[j]
            numeric = (after(before + nudge) - after(before - nudge)) / 2e-5
            np.testing.assert_allclose(dense[t, :, :, j], numeric, rtol=0, atol=1e-8)


BAD = {  # what the file holds -> what is told
    "class Other: pass": "'Mine' in it",
    "Mine = 3": "'Mine' is no subclass of Cell",
    "1 / 0": "mine.py:1: ZeroDivisionError",
    "def broken(:": "mine.py:1: SyntaxError",
    "import there_is_none": "mine.py:1: ModuleNotFoundError",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name = 'mine'": "has no step",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    step = print": "name must be a word",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, gates, step = 'm', ('a', 'a'), print": "twice: a, a",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, gates, step = 'm', 'ifgo', print": "tuple of words",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, states, step = 'm', (), print": "declares no states",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, weights, step = 'm', ('weight_hh',), print":
        "weights are weight_hh; wanted weight_ih and bias_ih",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, vectors, step = 'm', ('h_0',), print": "called h_0",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, states, step = 'm', ('y',), print": "called h, not",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, states, step = 'm', ('h', 'x'), print": "called x",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name, states, step = 'm', ('h', 'dh'), print": "called dh",
    "from micrornn.cells import Cell\nclass Mine(Cell):\n    name = 'm'\n    __init__ = lambda self, n: None":
        "Mine() fails",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_is_no_good(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(CellError) as caught:
        find_cell(f"{path}:Mine")
    assert BAD[text] in str(caught.value) and len(str(caught.value).splitlines()) <= 2, caught.value


def test_a_step_with_a_mistake_is_told_with_its_line(spec: str, micrornn: Micrornn) -> None:
    Path("text.txt").write_text(TEXT)
    Path("mine.py").write_text(TWO_TIMES.replace("w.gain * s", "w.pain * s"))
    for way in ("sequence", "primitive"):
        code, _, err = micrornn("train", "text.txt", "--cell", spec, "--granularity", way, "--out", way)
        assert code == Exit.USAGE and "mine.py:16: there is no parameter 'pain'" in err, err
