"""A cell from a file of one's own: FILE.py:CLASS (owncode.py).

of_file(spec)       the cell; CellError where the file, the class or what it declares is no good
declared(cell)      the cell, held to what a cell must declare
fingerprint(cell)   a hash of the file, which checkpoints carry; "" for a cell of ours
trust, require_trusted   that a file may be run although a checkpoint or a settings file names it
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from micrornn.cells.cell import BOTH_SIDES, Cell
from micrornn.errors import CellError, quoted
from micrornn.owncode import OwnCode

# What the op of a cell saves besides the states, by name (ops/recurrent.py).
SAVED = ("x", "weights", "vectors", "mask", "reverse", "clip", "gates", "hidden")
_CODE = OwnCode("cell", Cell, CellError, "micrornn cell")
trust, require_trusted = _CODE.trust, _CODE.require_trusted
_read: dict[tuple[Path, str, str], Cell] = {}  # by the text of the file: one that is the same is not run again


def of_file(spec: str) -> Cell:
    """The cell that FILE.py:CLASS names."""
    path, name, digest = _CODE.find(spec)
    key = path.resolve(), name, digest
    if key not in _read:
        kind = _CODE.load(spec)
        try:
            cell: Cell = kind()
        except Exception as error:
            raise CellError(f"{path}: {name}() fails: {type(error).__name__}: {error}") from None
        cell.file = str(path)
        _read[key] = declared(cell)
    return _read[key]


def declared(cell: Cell) -> Cell:
    """The cell itself, or CellError that says what it declares wrongly."""
    who = f"cell {cell.name or type(cell).__name__}"
    if not isinstance(cell.name, str) or not cell.name.isidentifier():
        raise CellError(f"{who}: name must be a word such as my_cell, not {quoted(cell.name)}")
    for what in ("gates", "states", "weights", "vectors", "positive"):
        names = getattr(cell, what)
        if not isinstance(names, tuple) or not all(isinstance(one, str) and one.isidentifier() for one in names):
            raise CellError(f"{who}: {what} must be a tuple of words, not {quoted(names)}")
        if len(set(names)) != len(names):
            raise CellError(f"{who}: {what} holds a name twice: {', '.join(names)}")
    for what in ("gates", "states"):
        if not getattr(cell, what):
            raise CellError(f"{who}: it declares no {what}")
    if cell.states[0] != "h":  # what is saved is looked at by its name
        raise CellError(f"{who}: the first of its states is its output, and is called h, not {quoted(cell.states[0])}")
    wanted = "weight_ih and bias_ih, and both of weight_hh and bias_hh or none of them"
    sides = [
        {"weight_ih", "bias_ih"} <= set(cell.weights),
        ("weight_hh" in cell.weights) == ("bias_hh" in cell.weights),
    ]
    if not all(sides) or set(cell.weights) - set(BOTH_SIDES):
        raise CellError(f"{who}: weights are {', '.join(cell.weights) or 'none'}; wanted {wanted}")
    others = {*SAVED, *(f"d{name}" for name in (*cell.states, "gates", "hidden"))}
    if clash := set(cell.states) & others:
        raise CellError(f"{who}: a state must not be called {', '.join(sorted(clash))}")
    if clash := set(cell.vectors) & {*BOTH_SIDES, *(f"{state}_0" for state in cell.states)}:
        raise CellError(f"{who}: a vector must not be called {', '.join(sorted(clash))}")
    if type(cell).step is Cell.step:
        raise CellError(f"{who}: it has no step(self, x, state, w)")
    return cell


def fingerprint(cell: Cell) -> str:
    """Of the file that the cell came from, as it is now."""
    return hashlib.sha256(Path(cell.file).read_bytes()).hexdigest() if cell.file else ""
