"""A corpus as one long array of token ids, kept in a file and mapped into memory.

tokenize            text files to Tokens: counted once, encoded once, found again the next time
read_tokens         the same with the settings of a run
Tokens              the ids, their vocabulary and what is known about them
default_cache_dir   where the token files lie: see folders.cache_home
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from micrornn.config import Config
from micrornn.data.encodings import codec
from micrornn.data.files import shown, unreadable
from micrornn.data.peculiar import Peculiar
from micrornn.data.reading import is_utf8, read_bytes, read_chunks
from micrornn.data.vocab import Vocab
from micrornn.errors import DataError
from micrornn.folders import cache_home as default_cache_dir
from micrornn.folders import replacing, sweep
from micrornn.printable import visible

# Part of the name of every token file: raise it when what is in the file, or how, changes.
FORMAT = 5
# Text is read in pieces that stay in the cache while they are counted and encoded; 8 MiB is half as fast.
CHUNK_BYTES = 1 << 20
# The pages of a mapped file that a process has touched count as its memory until it gives them back, and so
# do their neighbours: Linux 6.18 was seen to map 1 MiB around one byte. So pages are given back each time
# that this much may have come together.
RESIDENT_BYTES = 64 << 20
TOUCH_BYTES = 1 << 20
# Where no file can be written, so many bytes of ids are kept in memory instead.
MEMORY_BYTES = 1 << 30
# A text of up to so many bytes is hashed whole, a larger one in so many parts of each file.
HASH_BYTES, PARTS, PART_BYTES = 256 << 20, 64, 1 << 16
HASH_DIGITS = 32  # of the hash that a sidecar begins with

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class About:
    """What stands beside a token file: `num_tokens`, their `dtype`, and the facts that `Tokens` offers."""

    format: int
    num_tokens: int
    num_characters: int
    dtype: str
    entropy: float
    fingerprint: str
    vocab: dict[str, Any]
    notes: list[str]


class Tokens:
    """The token ids of a corpus: `len(tokens)`, and `tokens[a:b]`, a read-only view of shape `(b - a,)`.

    Reading a corpus slice by slice takes little memory, however long the corpus is.

    vocab            what the ids mean
    num_characters   in the text, for a loss per character where tokens are words
    entropy          of the token frequencies, nats per token: the loss of a model that ignores all context
    fingerprint      a hash of ids and vocabulary, hex: equal for equal text, wherever it lies
    notes            what of the text is worth a word, see peculiar.py
    path             of the file that holds the ids; None if they are kept in memory
    """

    def __init__(self, path: Path | None, about: About, ids: bytes = b"") -> None:
        self.path = path
        self.vocab = Vocab.from_dict(about.vocab)
        self.num_characters = about.num_characters
        self.entropy = about.entropy
        self.fingerprint = about.fingerprint
        self.notes = list(about.notes)
        self._map: mmap.mmap | None = None
        if path is not None:
            with open(path, "rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ids = np.frombuffer(self._map if self._map is not None else ids, about.dtype)
        self._touched = 0

    def __len__(self) -> int:
        return self._ids.size

    def __getitem__(self, span: slice) -> np.ndarray:
        ids = self._ids[span]
        self._touched += ids.nbytes + TOUCH_BYTES
        # Earlier slices stay valid: a page given back is fetched anew when it is next read, mostly from the
        # system's file cache. Where there is no such call (Windows) the system takes pages back, but late.
        if self._touched > RESIDENT_BYTES and self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0
        return ids

    def __repr__(self) -> str:
        return f"Tokens({len(self):,} of {self.vocab!r}, {shown(self.path) if self.path else 'in memory'})"


def tokenize(paths: Sequence[Path], kind: str, cache_dir: Path | None = None, max_size: int | None = None,
             min_count: int = 1, progress: Progress | None = None, encoding: str = "utf-8") -> Tokens:  # fmt: skip
    """Return the tokens of the text in `paths`, encoded now or by an earlier call.

    The text is streamed twice: once to count, once to encode. `progress(done_bytes, total_bytes)` hears of
    both, so its total is twice the size of the text; it is not called when a token file is found. `max_size`
    and `min_count` limit the vocabulary, see `Vocab.build`; `encoding` is that of the files. The token file
    lies in `cache_dir`, by default `default_cache_dir()`; where that cannot be written or is full, the tokens
    are kept in memory.
    """
    folder = default_cache_dir() if cache_dir is None else Path(cache_dir)
    encoding = "bytes" if kind == "byte" else codec(encoding)
    status, peculiar = _status(paths), Peculiar()
    text_bytes = sum(size for size, *_ in status)
    key = _identify(paths, [FORMAT, kind, max_size, min_count, encoding])
    path = folder / f"{key}.tokens"
    found = _load(path)
    if found is not None:
        return found

    done = 0

    def on_read(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None:
            progress(min(done, 2 * text_bytes), 2 * text_bytes)

    num_characters = 0
    changed = DataError("the text changed while it was read; try again when nothing writes to it")

    def chunks() -> Iterator[str]:
        nonlocal num_characters
        num_characters = 0
        if kind == "byte":
            texts = read_bytes(paths, CHUNK_BYTES, on_read)
        else:
            texts = read_chunks(paths, CHUNK_BYTES, on_read, encoding)
        for text in texts:
            num_characters += len(text)
            yield text
        if _status(paths) != status:
            raise changed

    def heard() -> Iterator[str]:
        for text in chunks():
            peculiar.add(text)
            yield text

    vocab = Vocab.build(heard(), kind, max_size, min_count)

    def encode(file: IO[bytes]) -> About:
        try:
            counts, fingerprint = _encode(file, vocab, chunks())
        except DataError:  # in a text that was good the first time
            raise changed from None
        return About(
            format=FORMAT,
            num_tokens=int(counts.sum()),
            num_characters=num_characters,
            dtype=vocab.dtype.str,
            entropy=entropy_of(counts),
            fingerprint=fingerprint,
            vocab=vocab.to_dict(),
            notes=[] if kind == "byte" else [*_misread(paths, encoding), *peculiar.notes()],
        )

    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with replacing(path) as file:
            about = encode(file)
        # Second, so that where there is a sidecar there is also what it tells of.
        with replacing(_sidecar(path)) as file:
            file.write(_sealed(json.dumps(asdict(about)).encode()))
        return Tokens(path, about)
    except OSError as error:
        most = text_bytes * vocab.dtype.itemsize
        if most > MEMORY_BYTES:
            raise DataError(
                f"cannot write the token file {shown(path)}: {error.strerror or error}; it needs up to "
                f"{most / 1e6:,.0f} MB, set MICRORNN_CACHE to a folder with room"
            ) from None
    ids = io.BytesIO()
    about = encode(ids)
    return Tokens(None, about, ids.getvalue())


def read_tokens(paths: Sequence[Path], config: Config, progress: Progress | None = None) -> Tokens:
    """The tokens of the text in `paths`, as the settings of a run ask for them."""
    return tokenize(paths, config.level, max_size=config.vocab_limit, progress=progress, encoding=config.encoding)


def _misread(paths: Sequence[Path], encoding: str) -> list[str]:
    """A note, if what is read as something else is UTF-8 as it seems: hardly any other text is that by chance."""
    if encoding in ("utf-8", "utf-8-sig", "ascii"):
        return []
    wide = encoding.startswith(("utf-16", "utf-32"))  # in which even ASCII is something else
    for path in paths:
        if is_utf8(path) and (wide or not all(text.isascii() for text in read_chunks([path]))):
            return [f"{visible(path.name)} is UTF-8, as it seems, and is read as {encoding} (`encoding`)"]
    return []


def _encode(file: IO[bytes], vocab: Vocab, chunks: Iterator[str]) -> tuple[np.ndarray, str]:
    """Write the ids of `chunks` to `file`. Return how often each id came, `(V,)`, and the fingerprint."""
    counts = np.zeros(vocab.size, np.int64)
    content = _fingerprint(vocab)
    for ids in vocab.encode_chunks(chunks):
        counts += np.bincount(ids, minlength=vocab.size + 1)[: vocab.size]  # the one too many: unseen, told at the end
        content.update(ids)
        file.write(ids)
    return counts, content.hexdigest()


def _fingerprint(vocab: Vocab) -> Any:
    """The hash of a text in this vocabulary: to be updated with its ids."""
    return hashlib.blake2b(json.dumps(vocab.to_dict()).encode(), digest_size=16)


def _sealed(content: bytes) -> bytes:
    """The content of a sidecar behind its hash, so that it is known for whole before it is understood."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS].encode() + content


def _status(paths: Sequence[Path]) -> list[tuple[int, int, int, int]]:
    """What the system says of each file: size, when it and when its entry was changed, and which it is."""
    found = []
    for path in paths:
        try:
            about = os.stat(path)
        except OSError as error:
            raise DataError(f"cannot read {shown(path)}: {error.strerror}; has it been moved?") from None
        found.append((about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino))
    return found


def _identify(paths: Sequence[Path], options: list[Any]) -> str:
    """The name that this text and these options go by: a hash of what the files hold, wherever they lie. Size and time
    of change tell nothing of files that are built, unpacked or copied with their times. Of a text too large to be read
    for this, parts are hashed, together with what the system says of it."""
    status = _status(paths)
    large = sum(size for size, *_ in status) > HASH_BYTES
    content = hashlib.blake2b(json.dumps(options).encode(), digest_size=16)
    for path, about in zip(paths, status):
        content.update(json.dumps([os.path.abspath(path), about] if large else about[0]).encode("utf-8", "replace"))
        parts = np.linspace(0, max(0, about[0] - PART_BYTES), PARTS).astype(int).tolist()
        try:
            with open(path, "rb", buffering=0) as file:
                if large:
                    for start in parts:
                        file.seek(start)
                        content.update(file.read(PART_BYTES))
                else:
                    while block := file.read(CHUNK_BYTES):
                        content.update(block)
        except OSError as error:
            raise unreadable(path, error) from None
    return content.hexdigest()


def _load(path: Path) -> Tokens | None:
    """Return the tokens at `path`, None where they are missing or not what was written: what lies in a cache may have
    been torn by a power cut or a bad copy, and a wrong id looks like any other."""
    try:
        sidecar = _sidecar(path).read_bytes()
        if sidecar != _sealed(sidecar[HASH_DIGITS:]):
            return None
        about = About(**json.loads(sidecar[HASH_DIGITS:]))
        whole = about.num_tokens * np.dtype(about.dtype).itemsize
        if about.format != FORMAT or path.stat().st_size != whole:
            return None
        tokens = Tokens(path, about)
        content = _fingerprint(tokens.vocab)
        with open(path, "rb", buffering=0) as file:
            while block := file.read(CHUNK_BYTES):
                content.update(block)
        return tokens if content.hexdigest() == about.fingerprint else None
    except (OSError, ValueError, TypeError, AttributeError, DataError):
        return None


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def entropy_of(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(shares @ np.log(1 / shares))
