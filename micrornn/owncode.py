"""Classes from a user's own files, FILE.py:CLASS: a cell, a task.

OwnCode            one kind of such classes: finds the class, and knows which files may be run
is_own_code        whether a name has the form FILE.py:CLASS

The file is Python code, and running it is as safe as its author is honest. So it is run when the user types its name. A
checkpoint or a settings file may come from a stranger. Code that such a file names is run only if the user has typed
the name of exactly this code before, in this process or, by `trust`, on this machine.
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
    """Whether a name has the form FILE.py:CLASS."""
    return isinstance(name, str) and re.search(r"\.py:\w+$", name) is not None and len(name) < 4096


class OwnCode:
    """One kind of class.

    kind     what it is called: cell, task
    base     what it must be a subclass of
    error    the exception for a mistake in the file
    allow    the command that allows trusted code to run, without FILE.py:CLASS
    """

    def __init__(self, kind: str, base: type, error: type[MicrornnError], allow: str):
        self.kind, self.base, self.error, self.allow = kind, base, error, allow
        self._ran: set[str] = set()  # hashes of the files that this process has run or was allowed to

    def find(self, spec: str) -> tuple[Path, str, str]:
        """(file, class, hash of the file) of FILE.py:CLASS."""
        place, _, name = spec.rpartition(":")
        path = Path(place)
        try:
            return path, name, hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise self.error(f"{self.kind} {quoted(spec)}: {error.strerror}; wanted FILE.py:CLASS") from None

    def trust(self, spec: str) -> None:
        """Remember, in this user's cache, that this code may be run. To be called for a name that the user has
        typed."""
        if is_own_code(spec):
            digest = self.find(spec)[2]
            self._ran.add(digest)
            with suppress(OSError):  # if nothing can be written, the user types it again next time
                (cache_home(f"{self.kind}s") / digest).touch()

    def require_trusted(self, spec: str, where: str) -> None:
        """An error if `spec` is a file that nobody has allowed to be run. `where` says what names it."""
        if not is_own_code(spec):
            return
        digest = self.find(spec)[2]
        if digest not in self._ran and not (cache_home(f"{self.kind}s") / digest).is_file():
            raise self.error(
                f"{where} would run code that nobody has run on this machine: {quoted(spec.rpartition(':')[0])}\n"
                f"  read it, and if you trust it: {self.allow} {shlex.quote(spec)}"
            )

    def load(self, spec: str) -> Any:
        """Run the file and return the class. An error names the line of a mistake."""
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
