"""Recurrent cells, one file each: what a time step computes and what it declares. Nothing else knows a cell by name.

Cell            what a cell is (cell.py)
derive          its kernels, out of its step (derive.py)
CELLS           those of this package: a file of the cell's name, and a row in config.CELL_NAMES
find_cell       by name, or by a file and a class in it (custom.py); window2 and its like are made when asked for
"""

from __future__ import annotations

from importlib import import_module

import numpy as np

from micrornn.cells.cell import BOTH_SIDES, Cell, State, Weights, take_step
from micrornn.cells.custom import declared, fingerprint, of_file, require_trusted, trust
from micrornn.cells.window import of_size
from micrornn.config import CELL_NAMES, WINDOW
from micrornn.errors import ConfigError, instead, quoted
from micrornn.owncode import is_own_code

__all__ = ["CELLS", "Cell", "State", "Weights", "find_cell"]


def _of_module(name: str) -> Cell:
    module = import_module(f"micrornn.cells.{name}")
    return next(
        value() for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Cell) and value.name == name
    )  # fmt: skip


CELLS = {name: _of_module(name) for name in CELL_NAMES}


def find_cell(name: str) -> Cell:
    """The cell of this name, or of FILE.py:CLASS; ConfigError with the names there are."""
    if is_own_code(name):
        return of_file(name)
    if found := WINDOW.fullmatch(name):
        return of_size(int(found[1]))
    if name not in CELLS:
        there = [*CELLS, "windowK for a K of 1 to 99", "FILE.py:CLASS"]
        raise ConfigError(f"there is no cell {quoted(name)}{instead(name, there)}")
    return CELLS[name]


def bias_with_forget(bias: np.ndarray, cell: Cell, forget_bias: float) -> np.ndarray:
    """Start the forget gate open by this much (Jozefowicz, Zaremba, Sutskever 2015)."""
    if "f" in cell.gates:
        size, at = len(bias) // len(cell.gates), cell.gates.index("f")
        bias[at * size : (at + 1) * size] = forget_bias
    return bias


def __dir__() -> list[str]:
    return __all__
