"""A task from a file of one's own: FILE.py:CLASS (owncode.py).

of_file(spec)            the task
trust, require_trusted   that a file may be run although a checkpoint or a settings file names it
"""

from __future__ import annotations

from pathlib import Path

from micrornn.errors import ConfigError
from micrornn.owncode import OwnCode
from micrornn.tasks.task import Task

_CODE = OwnCode("task", Task, ConfigError, "micrornn train")
trust, require_trusted = _CODE.trust, _CODE.require_trusted
_read: dict[tuple[Path, str, str], type[Task]] = {}  # by the text of the file: one that is the same is not run again
NEEDED = ("__init__", "network")  # what each task says itself


def of_file(spec: str) -> type[Task]:
    """The task that FILE.py:CLASS names; its own name is that of the file with its whole path. ConfigError where the
    file, the class or a part of it is missing."""
    path, name, digest = _CODE.find(spec)
    path = path.resolve()
    key = path, name, digest
    if key not in _read:
        found: type[Task] = _CODE.load(f"{path}:{name}")
        missing = [part for part in NEEDED if getattr(found, part) is getattr(Task, part)]
        if missing:
            raise ConfigError(f"{path}: the task {name} lacks {' and '.join(missing)}")
        found.name = f"{path}:{name}"
        _read[key] = found
    return _read[key]
