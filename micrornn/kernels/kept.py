"""Compiled kernels on disk: Numba's cache, made so that nothing found there can stop or mislead a command.

keep(dispatcher, folder)    keep what this kernel is compiled to below the folder, and look for it there

Numba trusts what it finds: an index or an entry that is empty or torn (power loss, full disk, bad copy) raises
EOFError or UnpicklingError at every start, and one flipped byte of machine code reaches LLVM, which may end the
process. And two processes that compile one kernel for different types at once may exchange their entries. So each file
begins with a hash of what follows, each entry holds the key that it is for, and whatever does not fit is compiled anew.
The hash protects from accidents; from other people, that nobody else can write in the folder (micrornn/folders.py).
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from micrornn.folders import replacing, sweep, unusable

DIGEST_BYTES = 32


def keep(dispatcher: Any, folder: str) -> None:
    """Let a Numba dispatcher keep its compiled code below the folder; in memory only where that cannot be."""
    try:
        dispatcher.enable_caching()
    except RuntimeError:  # no place of those that Numba knows can be written
        return
    kept = dispatcher._cache
    place = Path(kept.cache_path)
    if Path(folder) not in place.parents or _unusable(place):
        # Beside the sources or in a folder of Numba's own, where an edit in a helper would not be noticed; or one that
        # others can write.
        kept.disable()
        return
    stamp = kept._impl.locator.get_source_stamp()
    kept._cache_file = _Entries(Path(kept.cache_path, kept._impl.filename_base), stamp, kept._cache_file._dump)
    kind: Any = type(kept)
    kept.__class__ = _forgiving(kind)


_unusable = cache(unusable)


@cache
def _forgiving(kind: Any) -> Any:
    """A subclass of one of Numba's caches for which no failure is worse than an entry that is not there."""

    class Forgiving(kind):
        def load_overload(self, *arguments: Any) -> Any:
            try:
                return super().load_overload(*arguments)
            except Exception:  # of any kind: what is broken is pickled Python and machine code
                return None

        def save_overload(self, *arguments: Any) -> None:
            try:
                super().save_overload(*arguments)
            except OSError:  # a full disk, a folder that went away: compiled code works without being kept
                self.disable()

    return Forgiving


@cache
def _swept(folder: Path) -> None:
    """Remove what killed processes left half written, once in this process."""
    sweep(folder)


class _Entries:
    """The compiled versions of one kernel, one file each, and an index: key -> number of the file."""

    def __init__(self, base: Path, stamp: Any, dump: Callable[[Any], bytes]):
        self.base, self.stamp, self.dump = str(base), repr(stamp).encode(), dump

    def load(self, key: Any) -> Any:
        """What was saved under the key, or None."""
        number = self._index().get(key)
        found = self._read(f"{number}.nbc") if number else None
        return found[1] if found and found[0] == key else None

    def save(self, key: Any, data: Any) -> None:
        """OSError where it cannot be written."""
        index = self._index()
        if key not in index:
            index[key] = max(index.values(), default=0) + 1
        self._write(f"{index[key]}.nbc", (key, data))
        self._write("nbi", index)

    def flush(self) -> None:
        """Forget all."""
        self._write("nbi", {})

    def _index(self) -> dict[Any, int]:
        return self._read("nbi") or {}

    def _read(self, end: str) -> Any:
        try:
            content = Path(f"{self.base}.{end}").read_bytes()
        except OSError:
            return None
        digest, pickled = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        return pickle.loads(pickled) if digest == self._digest(pickled) else None

    def _write(self, end: str, what: Any) -> None:
        pickled = self.dump(what)
        _swept(Path(self.base).parent)
        with replacing(Path(f"{self.base}.{end}"), sync=False) as file:  # a torn one is noticed
            file.write(self._digest(pickled) + pickled)

    def _digest(self, pickled: bytes) -> bytes:
        """Of what is stored and of the source it was compiled from: what belongs to another source is not read."""
        return hashlib.blake2b(pickled, digest_size=DIGEST_BYTES, key=hashlib.sha256(self.stamp).digest()).digest()
