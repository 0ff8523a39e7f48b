"""Reads files piece by piece, in constant memory.

read_chunks   the text of many files as a stream of str
read_bytes    their bytes, whatever they are
is_utf8       whether a file is UTF-8
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from micrornn.data.encodings import codec, undecodable
from micrornn.data.files import shown, unreadable
from micrornn.errors import DataError

CHUNK_BYTES = 8 << 20

OnRead = Callable[[int], None]


def read_chunks(paths: Iterable[Path], chunk_bytes: int = CHUNK_BYTES, on_read: OnRead | None = None,
                encoding: str = "utf-8") -> Iterator[str]:  # fmt: skip
    """Yield the text of `paths`, one after the other as `cat` would, in pieces of up to about `chunk_bytes`.

    No piece is empty and no character is cut. A byte order mark at the start of a file is dropped.
    `on_read(num_bytes)` is called after each read. Raises DataError at the first byte that is no text in this
    encoding, and at the end if there was no text at all; ConfigError if there is no such encoding.
    """
    return _all(list(paths), lambda path: _decoded(path, chunk_bytes, on_read, codec(encoding)))


def read_bytes(paths: Iterable[Path], chunk_bytes: int = CHUNK_BYTES, on_read: OnRead | None = None) -> Iterator[str]:
    """Yield the bytes of `paths` as text: what is no UTF-8 is a lone surrogate, as `os.fsdecode` has it."""
    return _all(
        list(paths),
        lambda path: (block.decode("utf-8", "surrogateescape") for block in _blocks(path, chunk_bytes, on_read)),
    )


def is_utf8(path: Path, chunk_bytes: int = CHUNK_BYTES) -> bool:
    """Whether all of a file is UTF-8, and no other encoding with NULs between the letters."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in itertools.chain(_blocks(path, chunk_bytes, None), [b""]):
            decoder.decode(block, not block)
            if 0 in block:
                return False
    except UnicodeDecodeError:
        return False
    return True


def _all(paths: list[Path], read: Callable[[Path], Iterator[str]]) -> Iterator[str]:
    empty = True
    for path in paths:
        for text in read(path):
            empty = False
            yield text
    if empty:
        names = shown(paths[0]) if len(paths) == 1 else f"all {len(paths)} files"
        raise DataError(f"the text is empty ({names}); give a file with text in it")


def _decoded(path: Path, chunk_bytes: int, on_read: OnRead | None, encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    offset, at_start = 0, True  # offset in the file, of the first byte that is not decoded yet
    for block in itertools.chain(_blocks(path, chunk_bytes, on_read), [b""]):
        begun = decoder.getstate()[0]  # the first bytes of a character that the last read cut
        data = begun + block
        if encoding == "utf-8" and offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise undecodable(path, encoding, 0, data[0])
        if encoding == "utf-8" and (nul := data.find(0)) >= 0:
            raise undecodable(path, encoding, offset + nul, 0)
        try:
            text = decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            raise undecodable(path, encoding, offset + error.start, error.object[error.start]) from None
        offset += len(data) - len(decoder.getstate()[0])
        if text and at_start:
            text, at_start = text.removeprefix("\ufeff"), False
        if text:
            yield text


def _blocks(path: Path, chunk_bytes: int, on_read: OnRead | None) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(chunk_bytes):
                if on_read is not None:
                    on_read(len(block))
                yield block
    except OSError as error:
        raise unreadable(path, error) from None
