"""A cell from a file of one's own: FILE.py:CLASS.

    of_file(spec)       the cell; CellError where the file, the class or what it declares is no good
    declared(cell)      the cell, held to what a cell must declare
    fingerprint(cell)   a hash of the file, which checkpoints carry; "" for a cell of ours
    trust, require_trusted   that a file may be run although a checkpoint or a settings file names it

The file is run as Python runs any: it is code, and as safe as whoever wrote it. So it is run where somebody types its
name. A checkpoint or a settings file may be a stranger's: the code that one names is run only if somebody typed the
name of just that code before, in this process or (trust) on this machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from micrornn.cells.cell import BOTH_SIDES, Cell
from micrornn.config import is_cell_file
from micrornn.errors import CellError, MicrornnError, quoted
from micrornn.folders import cache_home

_read: dict[tuple[str, str], Cell] = {}  # by the text of the file: one that is the same is not run again
_ran: set[str] = set()  # hashes of the files that were run in this process


def of_file(spec: str) -> Cell:
    """The cell that FILE.py:CLASS names."""
    path, name, digest = _found(spec)
    key = f"{path.resolve()} {digest}", name
    if key not in _read:
        _ran.add(digest)
        _read[key] = declared(_class_of(path, name))
    return _read[key]


def _found(spec: str) -> tuple[Path, str, str]:
    """(file, class, hash of the file) of FILE.py:CLASS."""
    place, _, name = spec.rpartition(":")
    path = Path(place)
    try:
        return path, name, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CellError(f"cell {quoted(spec)}: {error.strerror}; wanted FILE.py:CLASS") from None


def trust(spec: str) -> None:
    """Remember, among this user's cached files, that this code may be run. For a cell that somebody has typed."""
    if not is_cell_file(spec):
        return
    digest = _found(spec)[2]
    _ran.add(digest)
    with suppress(OSError):  # without a place to write, it is to be typed again
        (cache_home("cells") / digest).touch()


def require_trusted(spec: str, where: str) -> None:
    """CellError if `spec` is a file that nobody has allowed to be run, and `where` is what names it."""
    if is_cell_file(spec):
        digest = _found(spec)[2]
        if digest not in _ran and not (cache_home("cells") / digest).is_file():
            raise CellError(
                f"{where} would run code that nobody has run on this machine: {quoted(spec.rpartition(':')[0])}\n"
                f"  read it, and if you trust it: micrornn cell {shlex.quote(spec)}"
            )


def _class_of(path: Path, name: str) -> Cell:
    module_name = f"micrornn_cell_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module  # a class looks for its module by name
    try:
        specification.loader.exec_module(module)
    except MicrornnError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f":{getattr(error, 'lineno', None) or (lines[-1] if lines else '')}"
        raise CellError(f"cell {path.name}{line}: {type(error).__name__}: {error}") from None
    found = vars(module).get(name)
    if not isinstance(found, type) or not issubclass(found, Cell):
        there = [
            other for other, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module_name
        ]  # fmt: skip
        said = f"there is no cell {quoted(name)} in it" if found is None else f"{quoted(name)} is no subclass of Cell"
        raise CellError(f"{path}: {said}" + (f"; it has {', '.join(there)}" if there else ""))
    try:
        cell = found()
    except Exception as error:
        raise CellError(f"{path}: {name}() fails: {type(error).__name__}: {error}") from None
    cell.file = str(path)
    return cell


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
    wanted = "weight_ih and bias_ih, and both of weight_hh and bias_hh or none of them"
    sides = [
        {"weight_ih", "bias_ih"} <= set(cell.weights),
        ("weight_hh" in cell.weights) == ("bias_hh" in cell.weights),
    ]
    if not all(sides) or set(cell.weights) - set(BOTH_SIDES):
        raise CellError(f"{who}: weights are {', '.join(cell.weights) or 'none'}; wanted {wanted}")
    if clash := set(cell.vectors) & {*BOTH_SIDES, *(f"{state}_0" for state in cell.states)}:
        raise CellError(f"{who}: a vector must not be called {', '.join(sorted(clash))}")
    if type(cell).step is Cell.step:
        raise CellError(f"{who}: it has no step(self, x, state, w)")
    return cell


def fingerprint(cell: Cell) -> str:
    """Of the file that the cell came from, as it is now."""
    return hashlib.sha256(Path(cell.file).read_bytes()).hexdigest() if cell.file else ""
