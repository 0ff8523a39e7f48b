"""A task from a file of one's own: FILE.py:CLASS.

    of_file(spec)            the task
    trust, require_trusted   that a file may be run although a checkpoint or a settings file names it

The file is run as Python runs any: it is code, and as safe as whoever wrote it. Code that a checkpoint or a settings
file names is run only if somebody typed the name of just that code before, as for cells (cells/custom.py).
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from micrornn.errors import ConfigError, MicrornnError, quoted
from micrornn.folders import cache_home
from micrornn.tasks.task import Task

_read: dict[tuple[str, str], type[Task]] = {}  # by the text of the file: one that is the same is not run again
_ran: set[str] = set()  # hashes of the files that were run in this process
NEEDED = ("__init__", "network")  # what each task says itself


def is_task_file(name: Any) -> bool:
    """Whether it is meant as FILE.py:CLASS."""
    return isinstance(name, str) and re.search(r"\.py:\w+$", name) is not None and len(name) < 4096


def of_file(spec: str) -> type[Task]:
    """The task that FILE.py:CLASS names; its own name is that of the file with its whole path. ConfigError where the
    file, the class or a part of it is missing."""
    path, name, digest = _found(spec)
    key = f"{path} {digest}", name
    if key not in _read:
        _ran.add(digest)
        _read[key] = _class_of(path, name)
    return _read[key]


def _found(spec: str) -> tuple[Path, str, str]:
    """(file, class, hash of the file) of FILE.py:CLASS."""
    place, _, name = spec.rpartition(":")
    path = Path(place).resolve()
    try:
        return path, name, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"task {quoted(spec)}: {error.strerror}; wanted FILE.py:CLASS") from None


def trust(spec: str) -> None:
    """Remember, among this user's cached files, that this code may be run. For a task that somebody has typed."""
    if not is_task_file(spec):
        return
    digest = _found(spec)[2]
    _ran.add(digest)
    with suppress(OSError):  # without a place to write, it is to be typed again
        (cache_home("tasks") / digest).touch()


def require_trusted(spec: str, where: str) -> None:
    """ConfigError if `spec` is a file that nobody has allowed to be run, and `where` is what names it."""
    digest = _found(spec)[2]
    if digest not in _ran and not (cache_home("tasks") / digest).is_file():
        raise ConfigError(
            f"{where} would run code that nobody has run on this machine: {quoted(spec.rpartition(':')[0])}\n"
            f"  read it, and if you trust it, train with it: micrornn train {shlex.quote(spec)}"
        )


def _class_of(path: Path, name: str) -> type[Task]:
    module_name = f"micrornn_task_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
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
        raise ConfigError(f"task {path.name}{line}: {type(error).__name__}: {error}") from None
    found = vars(module).get(name)
    if not isinstance(found, type) or not issubclass(found, Task):
        said = f"there is no task {quoted(name)} in it" if found is None else f"{quoted(name)} is no subclass of Task"
        raise ConfigError(f"{path}: {said}")
    missing = [part for part in NEEDED if getattr(found, part) is getattr(Task, part)]
    if missing:
        raise ConfigError(f"{path}: the task {name} lacks {' and '.join(missing)}")
    found.name = f"{path}:{name}"
    return found
