"""Text that cannot be read, or not as a text: each is named in two lines, with where and what was expected."""

from __future__ import annotations

import builtins
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from micrornn.data import (
    Lanes,
    Vocab,
    find,
    read_chunks,
    split,
    tokenize,
)
from micrornn.errors import ConfigError, DataError, MicrornnError

# -- what a user gets to read


def write(folder: Path, name: str, data: bytes) -> list[Path]:
    (folder / name).write_bytes(data)
    return [folder / name]


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def read(folder: Path, data: bytes, chunk_bytes: int = 4) -> str:
    return "".join(read_chunks(write(folder, "in.txt", data), chunk_bytes))


def lay(num_tokens: int, batch_size: int, num_steps: int) -> Lanes:
    return Lanes(np.zeros(num_tokens, np.uint8), batch_size, num_steps)


BAD: dict[str, tuple[Callable[[Path], object], type[MicrornnError], str]] = {
    "no pattern": (lambda d: find([]), DataError, "name a file, a folder or a glob"),
    "no name": (lambda d: find([""]), DataError, "no such file or folder: ''"),
    "no file": (lambda d: find([d / "nix.txt"]), DataError, r"no such file or folder: '.*nix.txt'"),
    "no match": (lambda d: find(["nix/**/*.txt"]), DataError, r"no file matches 'nix/\*\*/\*.txt' in /"),
    "empty folder": (lambda d: find([d]), DataError, "has no files in it"),
    "a pipe": (
        lambda d: find([pipe(d)]),
        DataError,
        "neither a file nor a folder; .* save it to a file",
    ),
    "latin-1": (
        lambda d: read(d, b"caf\xe9 au lait"),
        DataError,
        r"\(byte 0xe9 at offset 3, line 1\) but, as it seems, Latin-1. .*`encoding=latin-1`, or:\n  iconv -f LATIN1",
    ),
    "after é": (
        lambda d: read(d, "ééé".encode() + b"\xff"),
        DataError,
        "but for 1 byte .* 0xff at offset 6",
    ),
    "cut short": (
        lambda d: read(d, "abcdef日".encode()[:-1]),
        DataError,
        r"middle of a character \(byte 0xe6 at offset 6",
    ),
    "utf-16": (
        lambda d: read(d, "abc".encode("utf-16")),
        DataError,
        r"byte 0xf[ef] at offset 0.*UTF-16.*`encoding=utf-16`, or:\n  iconv -f UTF-16",
    ),
    "binary": (
        lambda d: read(d, b"\x7fELF abc\0"),
        DataError,
        r"looks binary: a NUL byte at offset 8\n  leave it out.*`level=byte`",
    ),
    "empty": (lambda d: read(d, b""), DataError, r"the text is empty \(.*in.txt\)"),
    "only a mark": (lambda d: read(d, b"\xef\xbb\xbf"), DataError, "the text is empty"),
    "a folder": (
        lambda d: list(read_chunks([d])),
        DataError,
        "Is a directory; check its name and permissions",
    ),
    "moved": (
        lambda d: tokenize([d / "nix"], "char", d),
        DataError,
        "nix: No such file .* has it been moved",
    ),
    "no words": (lambda d: tokenize(write(d, "a", b"  \t "), "word", d), DataError, "holds no words"),
    "kind": (lambda d: Vocab.build(["a"], "page"), ConfigError, "kind is 'page', expected one of char, word, byte"),
    "max_size": (lambda d: Vocab.build(["a"], "char", 1), ConfigError, "limited to 1, expected at least 2"),
    "min_count": (lambda d: Vocab.build(["a"], "char", None, 0), ConfigError, "min_count is 0"),
    "all rare": (
        lambda d: Vocab.build(["aab"], "char", None, 5),
        DataError,
        r"'a', the most frequent, comes 2 times: lower min_count \(5\)",
    ),
    "unseen char": (
        lambda d: Vocab.build(["abc"], "char").encode("abé"),
        DataError,
        r"character 'é' \(U\+00E9\) at line 1, column 3, position 2, is unknown.* 1 of 3 are not in its vocabulary\n"
        "  `unseen=skip` leaves",
    ),
    "bad byte": (
        lambda d: Vocab.build(["ab"], "char").encode("a\udcff"),
        DataError,
        r"U\+DCFF\) at line 1, column 2, position 1",
    ),
    "unseen word": (
        lambda d: Vocab.build(["a b"], "word").encode("a  c b"),
        DataError,
        "word 'c' at line 1, column 4, position 3, is unknown to the model: 1 of 5 are not in its vocabulary",
    ),
    "damaged": (
        lambda d: Vocab.from_dict({"kind": "char", "tokens": ["a", "a"]}),
        DataError,
        "damaged vocabulary",
    ),
    "fraction": (lambda d: split(np.zeros(10), 1.0), ConfigError, "`val_fraction` is 1.0, expected at least 0"),
    "not a number": (lambda d: split(np.zeros(10), math.nan), ConfigError, "`val_fraction` is nan"),
    "batch_size": (lambda d: lay(10, 0, 3), ConfigError, "batch_size is 0, expected at least 1"),
    "num_steps": (lambda d: lay(10, 3, -1), ConfigError, "num_steps is -1, expected at least 1"),
    "short text": (
        lambda d: lay(2000, 40, 50),
        DataError,
        r"2,000 tokens, but batch_size 40 x num_steps 50 \+ 1 = 2,001 .*\n.*`val_fraction`, `batch_size` or",
    ),
    "short validation": (
        lambda d: Lanes.validation(np.zeros(1), 4, 4),
        DataError,
        "validation part has 1 token, at least 2 are needed; raise `val_fraction`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_two_lines(case: str, tmp_path: Path) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        call(tmp_path)
    assert type(caught.value) is error and len(str(caught.value).splitlines()) <= 2


def test_unreadable_and_changing_files_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is made up.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    paths = write(tmp_path, "a.txt", b"some text")
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refuse)
        with pytest.raises(DataError, match=r"cannot read .*a.txt: Permission denied"):
            find([tmp_path / "a.txt"])

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    cache = tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        held = tokenize(paths, "char", cache)  # in memory
        assert held.path is None and held.vocab.decode(held[:]) == "some text"
        patch.setattr("micrornn.data.tokens.MEMORY_BYTES", 8)
        with pytest.raises(DataError, match=r"No space left on device; it needs up to .* set MICRORNN_CACHE"):
            tokenize(paths, "char", cache)
    assert not list(cache.iterdir())

    def grow(done: int, total: int) -> None:
        if done == total:
            paths[0].write_bytes(b"some text, text, text")

    with pytest.raises(DataError, match="changed while it was read"):
        tokenize(paths, "char", cache, progress=grow)
    assert not list(cache.iterdir())
