"""Compiled kernels on disk: whatever happened to them, the right thing is computed."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest

from micrornn.kernels import kept

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled (NUMBA_DISABLE_JIT)")


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Makes a kernel as a new process would: it knows only what is on the disk."""
    source = tmp_path / "maths.py"
    source.write_text("def triple(x):\n    return 3 * x\n")
    module = ModuleType("maths")
    exec(compile(source.read_text(), str(source), "exec"), module.__dict__)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "kept"))
    kept._unusable.cache_clear()

    def make() -> Any:
        made = numba.njit(module.triple)
        kept.keep(made, numba.config.CACHE_DIR)
        return made

    return make


def files(tmp_path: Path) -> dict[str, Path]:
    return {path.name.split(".", 2)[-1]: path for path in (tmp_path / "kept").rglob("*") if path.is_file()}


def flip(at: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


class _Explosive:
    def __reduce__(self) -> Any:
        return os._exit, (66,)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "torn": lambda content: content[: len(content) // 2],
    "first byte": flip(0),
    "a byte of the hash": flip(20),
    "first byte after the hash": flip(kept.DIGEST_BYTES),
    "last byte": flip(-1),
    "zeros": lambda content: bytes(len(content)),
    "of Numba's own": lambda content: pickle.dumps("0.0") + pickle.dumps((None, {})),
    "code": lambda content: pickle.dumps(_Explosive()),
    "code behind a hash": lambda content: content[: kept.DIGEST_BYTES] + pickle.dumps(_Explosive()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_a_missing_one(damage: str, fresh: Callable[[], Any], tmp_path: Path) -> None:
    assert fresh()(5) == 15
    again = fresh()
    assert again(5) == 15 and again.stats.cache_hits and not again.stats.cache_misses
    for end in ("nbi", "1.nbc"):
        path = next(path for name, path in files(tmp_path).items() if name.endswith(end))
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        damaged = fresh()
        assert damaged(5) == 15 and damaged.stats.cache_misses
        mended = fresh()
        assert mended(5) == 15 and mended.stats.cache_hits


def test_entries_of_other_types_do_not_take_each_others_place(fresh: Callable[[], Any], tmp_path: Path) -> None:
    both = fresh()
    assert (both(5), both(0.5)) == (15, 1.5)
    first, second = sorted(path for name, path in files(tmp_path).items() if name.endswith("nbc"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    again = fresh()
    assert (again(5), again(0.5)) == (15, 1.5) and not again.stats.cache_hits
    assert fresh()(0.5) == 1.5


def test_a_disk_that_is_full(fresh: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "replacing", full)
    made = fresh()
    assert made(5) == 15 and made(0.5) == 1.5 and not files(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes are those of POSIX")
def test_what_others_could_have_written_is_not_read(fresh: Callable[[], Any], tmp_path: Path) -> None:
    assert fresh()(5) == 15
    place = next(path for path in (tmp_path / "kept").iterdir() if path.is_dir())
    place.chmod(0o777)
    kept._unusable.cache_clear()
    again = fresh()
    assert again(5) == 15 and not again.stats.cache_hits


def test_a_folder_that_cannot_be(fresh: Callable[[], Any], tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    assert fresh()(5) == 15
    beside = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(beside) == ["kept", "maths.py"]  # nor beside the sources, as Numba would
