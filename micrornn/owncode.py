"""Classes from files of one's own, FILE.py:CLASS: a cell, a task.

OwnCode            one kind of them: finds the class, and says which files may be run
is_own_code        whether a name is meant as FILE.py:CLASS

A file is run as Python runs any: it is code, and as safe as whoever wrote it. So it is run where somebody types its
name. A checkpoint or a settings file may be a stranger's: the code that one names is run only if somebody typed the
name of just that code before, in this process or (`trust`) on this machine.
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

from micrornn.errors import MicrornnError, instead, quoted
from micrornn.folders import cache_home


def is_own_code(name: Any) -> bool:
    """Whether it is meant as FILE.py:CLASS."""
    return isinstance(name, str) and re.search(r"\.py:\w+$", name) is not None and len(name) < 4096


class OwnCode:
    """One kind of class.

    kind     what it is called: cell, task
    base     what it must be a subclass of
    error    what a mistake in the file is told as
    allow    what to do to run code that is trusted, the words before FILE.py:CLASS
    """

    def __init__(self, kind: str, base: type, error: type[MicrornnError], allow: str):
        self.kind, self.base, self.error, self.allow = kind, base, error, allow
        self._ran: set[str] = set()  # hashes of the files that were run, or allowed to be, in this process

    def find(self, spec: str) -> tuple[Path, str, str]:
        """(file, class, hash of the file) of FILE.py:CLASS."""
        place, _, name = spec.rpartition(":")
        path = Path(place)
        try:
            return path, name, hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise self.error(f"{self.kind} {quoted(spec)}: {error.strerror}; wanted FILE.py:CLASS") from None

    def trust(self, spec: str) -> None:
        """Remember, among this user's cached files, that this code may be run. For what somebody has typed."""
        if is_own_code(spec):
            digest = self.find(spec)[2]
            self._ran.add(digest)
            with suppress(OSError):  # without a place to write, it is to be typed again
                (cache_home(f"{self.kind}s") / digest).touch()

    def require_trusted(self, spec: str, where: str) -> None:
        """An error if `spec` is a file that nobody has allowed to be run, and `where` is what names it."""
        if not is_own_code(spec):
            return
        digest = self.find(spec)[2]
        if digest not in self._ran and not (cache_home(f"{self.kind}s") / digest).is_file():
            raise self.error(
                f"{where} would run code that nobody has run on this machine: {quoted(spec.rpartition(':')[0])}\n"
                f"  read it, and if you trust it: {self.allow} {shlex.quote(spec)}"
            )

    def load(self, spec: str) -> Any:
        """Run the file; the class. An error with the line where it is no good."""
        path, name, digest = self.find(spec)
        self._ran.add(digest)
        module_name = f"micrornn_{self.kind}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
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
            raise self.error(f"{self.kind} {path.name}{line}: {type(error).__name__}: {error}") from None
        found = vars(module).get(name)
        if not self._fits(found):
            there = [at for at, one in vars(module).items() if self._fits(one) and one.__module__ == module_name]
            said = f"{quoted(name)} is no subclass of {self.base.__name__}"
            if found is None:
                said = f"there is no {self.kind} {quoted(name)} in it"
            raise self.error(f"{path}: {said}" + instead(name, there, "it has"))
        return found

    def _fits(self, value: Any) -> bool:
        return isinstance(value, type) and issubclass(value, self.base)
