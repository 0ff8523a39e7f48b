"""The walk of docs/faster.md: the plain telling and every step give the numbers of the reference, and the page's code
is the sources' code."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click import ClickException
from kernel_rows import SIZES, TOLERANCE, Draw, cell_backward, cell_forward, compare

from micrornn.cells import CELLS
from micrornn.kernels.cpu.write import source

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed
plain = importlib.import_module("benchmarks.plain")
PAGE = (ROOT / "docs" / "faster.md").read_text("utf-8")


@pytest.mark.parametrize("back", [False, True], ids=["forward", "backward"])
def test_plain_telling_is_the_reference(back: bool) -> None:
    """Compiled for float64, as the page does; in float32 it is one of the steps below."""

    def forward(name, arguments):
        _, states, gates, _, x, weights, _, *rest = arguments
        plain.lstm_sequence(*states, gates, x, *weights, *rest)

    def backward(name, arguments):
        _, dgates, _, dstates, _, states, gates, _, weight_hh, _, *rest = arguments
        plain.lstm_sequence_vjp(dgates, *dstates, gates, states[1], weight_hh, *rest)

    row, name = (cell_backward, "cell_sequence_vjp") if back else (cell_forward, "cell_sequence")
    for n in SIZES:
        for arguments in row("lstm")(Draw(np.float64, n)):
            compare(name, arguments, TOLERANCE[np.float64], backward if back else forward)


def test_every_step_is_the_reference() -> None:
    """Without the compiler, for it would take half a minute; `python -m benchmarks.steps` checks the compiled ones."""
    command = [sys.executable, "-m", "benchmarks.steps", "--check"]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "all well\n", done.stderr[-2000:]


def test_a_wrong_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.steps import Layer, Telling, check

    def wrong(dgates: np.ndarray, *rest: object) -> None:
        Telling("").backward(dgates, *rest)
        dgates[0, 0, 0] += 1

    layer = Layer(3, 2, 4, 5)
    check(layer, {"right": Telling("")})
    with pytest.raises(ClickException, match=r"lost \(\) is \S+ away from the reference"):
        check(layer, {"lost": Telling("", backward=wrong)})
    with pytest.raises(ClickException, match=r"unwritten \(\) is nan away"):
        check(layer, {"unwritten": Telling("", matmul=lambda *_: None)})


def test_code_of_the_page_is_the_code_of_the_sources() -> None:
    blocks = re.findall(r"^```python\n# (\S+\.py)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for file, code in blocks:
        assert code in (ROOT / file).read_text("utf-8"), f"docs/faster.md shows of {file} what is not there:\n{code}"
    made = re.findall(r"^```python\n# written for the cell (\w+)\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(made) == 3
    for cell, code in made:
        assert code in source(CELLS[cell].program), f"docs/faster.md shows of {cell} what is not written:\n{code}"


def test_the_page_has_room_for_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import steps

    keys = [*steps.walk(), *steps.without(), *steps.tried(), "meet", *steps.LARGEST]
    made_up = {"limit": 100.0, "times": {key: [[4e-3, 2e-3, 1e-3]] for key in keys}}
    said = steps.pages(made_up, made_up, made_up)
    page = tmp_path / "faster.md"
    page.write_text(PAGE, "utf-8")
    steps.put(page, said)
    marks = re.findall(r"<!-- measured: (\w+) -->\n(.*?)\n<!-- /measured -->", page.read_text("utf-8"), re.DOTALL)
    assert marks == [(name, said[name]) for name, _ in marks]
    assert set(said) - {name for name, _ in marks} <= {"dots", "kernel"}  # these two stand in the table only
    assert "7.00 (7.00)" in said["walk"] and "| +0 % |" in said["without"]
