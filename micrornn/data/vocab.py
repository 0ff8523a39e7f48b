"""The tokens of a text and their ids: characters, words, bytes, or what stands between spaces.

Vocab      build from text, encode to ids, decode back
Encoder    encodes a text that comes in pieces, and counts what the vocabulary lacks (unseen.py says what of it)
Decoder    turns ids that come one by one into text
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np

from micrornn.data import words
from micrornn.data.unseen import SKIP, Unseen
from micrornn.data.words import JOIN, SPACE, Spacing
from micrornn.errors import ConfigError, DataError, counted
from micrornn.schema import Rule, check_table

Kind = Literal["char", "word", "byte"]
SPACED = "spaced"  # words that are split at whitespace alone, and end a line with EOS
LEVELS = (*get_args(Kind), SPACED)
EOS = "<eos>"
# What stands for a token that the vocabulary left out. For characters it is U+FFFD, which Unicode keeps for
# just that. No byte can be left out.
UNKNOWN = {"char": "\ufffd", "word": words.UNKNOWN, "byte": None}
UNITS = {"char": ("character", "characters"), "word": ("word", "words"), "byte": ("byte", "bytes")}
BYTES = [chr(code) for code in range(256)]

_NUM_CODE_POINTS = 0x110000
_RULES = {
    "kind": Rule(str, choices=get_args(Kind)),
    "tokens": Rule(list, most=1 << 24),  # its items are checked below, which is faster
    "before": Rule(list, items=Rule(str), optional=True),
    "after": Rule(list, items=Rule(str), optional=True),
}


@dataclass(frozen=True)
class Vocab:
    """`tokens[i]` is the token with id `i`.

    Characters are in code-point order. Bytes are all 256, each called by the character of that number. Of words,
    first come those that are none: what was left out (`<unk>`), and what tells of an unusual space (words.py);
    then words, marks and whitespace, most frequent first.

    The vocabulary knows what to do with an unseen token if it holds the unknown token, which it does when
    some tokens were left out or when the text itself has it.

    spacing    how words and marks come together; None where words were split at whitespace alone, `thee,` being
               one: they are joined with spaces, and EOS is the end of a line
    """

    kind: Kind
    tokens: list[str]
    spacing: Spacing | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocab) and self.to_dict() == other.to_dict()

    @classmethod
    def build(cls, chunks: Iterable[str], kind: str, max_size: int | None = None, min_count: int = 1) -> Vocab:
        """Build from the text `chunks`, cut anywhere; `kind` is one of LEVELS.

        At most `max_size` tokens are kept, the unknown token among them, and none seen fewer than `min_count`
        times. Of equally frequent ones the first in code-point order is kept.
        """
        if kind not in LEVELS:
            raise ConfigError(f"kind is {kind!r}, expected one of {', '.join(LEVELS)}")
        if kind == "byte":
            return cls("byte", list(BYTES))
        least = 4 if kind == "word" else 2
        if max_size is not None and max_size < least:
            raise ConfigError(f"the vocabulary size is limited to {max_size}, expected at least {least}")
        if min_count < 1:
            raise ConfigError(f"min_count is {min_count}, expected at least 1")
        always: list[str] = []
        if kind == "char":
            counts = _count_characters(chunks)
        elif kind == SPACED:
            counts = Counter(word for text in words.chunks(chunks) for word in _between_spaces(text))
        else:
            found = words.Count(chunks)
            counts, always = found.counts, [JOIN, SPACE]
        if not any(kind == "char" or not (token.isspace() or token == EOS) for token in counts):
            raise DataError("the text holds no words; give a file with text in it")
        unit: Kind = "char" if kind == "char" else "word"
        kept = _most_frequent(counts, cast(str, UNKNOWN[unit]), always, unit, max_size, min_count)
        if kind == "char":
            return cls("char", sorted(kept))
        return cls("word", kept, None if kind == SPACED else Spacing.of(kept, found.before, found.after))

    @property
    def size(self) -> int:
        """The number of tokens, V."""
        return len(self.tokens)

    @cached_property
    def unknown(self) -> int | None:
        """The id of the unknown token, None if there is none."""
        return self._index.get(cast(str, UNKNOWN[self.kind])) if UNKNOWN[self.kind] else None

    @cached_property
    def newline(self) -> int | None:
        """The id of the token that ends a line, None if there is none."""
        return self._index.get("\n" if self.spacing or self.kind != "word" else EOS)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """uint8, uint16 or uint32: the smallest that holds all ids and, but for bytes, one for `no such token`."""
        return np.dtype(np.uint8) if self.kind == "byte" else np.min_scalar_type(self.size)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    @cached_property
    def _otherwise(self) -> int:
        """What an unseen token is encoded as: the unknown token, or an id that is one too large."""
        return self.size if self.unknown is None else self.unknown

    @cached_property
    def _points(self) -> np.ndarray:
        """uint32 `(V,)`: the code point of each character."""
        return np.array([ord(token) for token in self.tokens], np.uint32)

    @cached_property
    def _table(self) -> np.ndarray:
        """`(0x110000,)`: the id of each code point."""
        table = np.full(_NUM_CODE_POINTS, self._otherwise, self.dtype)
        table[self._points] = np.arange(self.size)
        return table

    def encode(self, text: str, unseen: str = "", where: str = "") -> np.ndarray:
        """Return the ids of `text`, `(num_tokens,)` of `dtype`. `unseen` and `where`: as for `Encoder`."""
        return np.concatenate([np.empty(0, self.dtype), *Encoder(self, unseen, where).encode([text])])

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """Yield the ids of a text that comes in `chunks`, cut anywhere: the same ids as of the whole."""
        return Encoder(self).encode(chunks)

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """Return the text of `ids`. Of bytes that are no UTF-8, each becomes a lone surrogate, U+DC80 .. U+DCFF."""
        ids = np.asarray(ids, np.intp)
        if self.kind == "char":
            return self._points[ids].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        if self.kind == "byte":
            return bytes(ids.tolist()).decode("utf-8", "surrogateescape")
        if self.spacing is None:
            return _joined("\n" if self.tokens[i] == EOS else self.tokens[i] for i in ids.tolist())
        return "".join(self.spacing.pieces(ids))

    def pieces(self, ids: np.ndarray | Sequence[int]) -> list[str]:
        """What each of `ids` adds to the text; put together, `decode(ids)`. A byte that does not end a character adds
        nothing, and the one that does all of it."""
        ids = np.asarray(ids, np.intp)
        if self.kind == "char":
            return [self.tokens[i] for i in ids.tolist()]
        if self.kind == "byte":
            decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
            texts = [decoder.decode(bytes([i])) for i in ids.tolist()]
            return [*texts[:-1], texts[-1] + decoder.decode(b"", True)] if texts else []
        if self.spacing is not None:
            return self.spacing.pieces(ids)
        return [self.decode(ids[n - 1 : n + 1])[len(self.decode(ids[n - 1 : n])) :] if n else self.decode(ids[:1])
                for n in range(len(ids))]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, fit for JSON."""
        told: dict[str, Any] = {"kind": self.kind, "tokens": list(self.tokens)}
        if self.spacing is not None:
            told |= self.spacing.to_dict()
        return told

    @classmethod
    def from_dict(cls, data: Any) -> Vocab:
        """Build from what `to_dict` gave. Raises DataError if it is not that."""
        if not isinstance(data, Mapping):
            raise DataError("damaged vocabulary: it is no table")
        values = check_table(data, _RULES, "damaged vocabulary", DataError)
        kind, tokens = values["kind"], values["tokens"]
        if not tokens or not all(isinstance(token, str) and token for token in tokens):
            raise DataError("damaged vocabulary: expected a list of tokens")
        if len(set(tokens)) < len(tokens):
            raise DataError("damaged vocabulary: a token is in it twice")
        if kind == "char" and any(len(token) != 1 for token in tokens):
            raise DataError("damaged vocabulary: expected single characters")
        if kind == "byte" and tokens != BYTES:
            raise DataError("damaged vocabulary: expected all 256 bytes")
        if kind == "word" and "before" in data:
            return cls("word", list(tokens), Spacing.of(tokens, values["before"], values.get("after", [])))
        return cls(kind, list(tokens))

    def __repr__(self) -> str:
        return f"Vocab({self.kind}, size={self.size})"


class Encoder:
    """Encodes a text piece by piece, and counts what the vocabulary lacks.

    unseen    what to do with a token that is not in the vocabulary:
              "error"    DataError, which tells how many there are and where the first is; raised at the end
              "skip"     leave it out
              "unknown"  read it as the unknown token. ConfigError if the vocabulary has none
              ""         "unknown" if the vocabulary has one, else "error"
    where     how the text is called: a file, a flag
    remedy    what to do about an error, in words
    found     an Unseen: how many there were, of how many, and where the first
    """

    def __init__(self, vocab: Vocab, unseen: str = "", where: str = "", remedy: str = SKIP) -> None:
        if unseen not in ("", "error", "skip", "unknown"):
            raise ConfigError(f"`unseen` is {unseen!r}; it must be one of error, skip, unknown")
        if unseen == "unknown" and vocab.unknown is None:
            raise ConfigError(
                "`unseen=unknown`: this vocabulary has no unknown token; it gets one with `vocab_size` in training. "
                "`unseen=skip` leaves out what it lacks"
            )
        self.vocab, self.found = vocab, Unseen(vocab.kind, vocab.tokens)
        self.unseen = unseen or ("error" if vocab.unknown is None else "unknown")
        self.where, self.remedy, self._last = where, remedy, cast(int | None, None)

    def encode(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Yield the ids of the texts, which are one text; DataError at its end if that is what unseen says."""
        kind, word = self.vocab.kind, self._word if self.vocab.spacing else self._spaced
        one = {"char": self._char, "byte": self._byte, "word": word}[kind]
        for text in words.chunks(texts) if kind == "word" else texts:
            yield one(text)
        if self.unseen == "error" and self.found.count:
            raise self.found.error(self.where, self.remedy)

    def _char(self, text: str) -> np.ndarray:
        ids = self.vocab._table[_code_points(text)]
        unseen = ids == self.vocab._otherwise
        if self.vocab.unknown is not None and unseen.any():  # one that stands in the text itself is not unseen
            unseen &= _code_points(text) != ord(self.vocab.tokens[self.vocab.unknown])
        n = self._count(text, unseen, lambda n: (text[n], n))
        return ids[~unseen] if n and self.unseen == "skip" else ids

    def _byte(self, text: str) -> np.ndarray:
        ids = np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8)
        self.found.total += len(ids)
        return ids

    def _word(self, text: str) -> np.ndarray:
        spacing = self.vocab.spacing
        assert spacing is not None
        pieces = spacing.known(words.split(text))
        unseen = spacing.unseen(pieces)

        def place(n: int) -> tuple[str, int]:
            token = words.token_of(pieces[n])
            return token, sum(map(len, pieces[: n + 1])) - len(token)

        if self._count(text, unseen, place) and self.unseen == "skip":
            pieces = [piece for piece, lost in zip(pieces, unseen.tolist()) if not lost]
        ids = spacing.encode(pieces, self.vocab._otherwise, self._last)
        self._last = int(ids[-1]) if len(ids) else self._last
        return ids.astype(self.vocab.dtype)

    def _spaced(self, text: str) -> np.ndarray:
        pieces = _between_spaces(text)
        ids = np.array([self.vocab._index.get(piece, self.vocab._otherwise) for piece in pieces], self.vocab.dtype)
        unseen = np.array([piece not in self.vocab._index for piece in pieces], bool)

        def place(n: int) -> tuple[str, int]:
            found = next(itertools.islice(re.finditer(r"\n|\S+", text), n, None))
            return pieces[n], found.start()

        n = self._count(text, unseen, place)
        return ids[~unseen] if n and self.unseen == "skip" else ids

    def _count(self, text: str, unseen: np.ndarray, place: Callable[[int], tuple[str, int]]) -> int:
        """How many are unseen; `place(n)` gives the n-th token of the text and where it begins."""
        count = int(np.count_nonzero(unseen))
        first, offset = place(int(np.argmax(unseen))) if count and self.found.first is None else ("", 0)
        self.found.add(text, len(unseen), count, first, offset)
        return count


class Decoder:
    """Called with one id after the other, gives what each adds to the text that `ids` are the beginning of. Of a
    character of several bytes, the last byte gives all of it."""

    def __init__(self, vocab: Vocab, ids: Sequence[int] = ()) -> None:
        self.vocab, self._last = vocab, list(ids[-1:])
        self._bytes = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        if vocab.kind == "byte":
            self._bytes.decode(bytes(ids))

    def __call__(self, token: int) -> str:
        if self.vocab.kind == "byte":
            return self._bytes.decode(bytes([token]))
        if self.vocab.kind == "char":
            return self.vocab.tokens[token]
        piece, self._last = self.vocab.pieces([*self._last, token])[-1], [token]
        return piece


def _most_frequent(counts: Mapping[str, int], unknown: str, always: list[str], kind: str, max_size: int | None,
                   min_count: int) -> list[str]:  # fmt: skip
    """The tokens that are kept: the unknown one if need be, those that always are, the most frequent ones."""
    ordinary = sorted(counts.keys() - {unknown, *always}, key=lambda token: (-counts[token], token))
    kept = [token for token in ordinary if counts[token] >= min_count]
    special = [unknown] * (unknown in counts) + always
    limit = len(special) + len(ordinary) if max_size is None else max_size
    if unknown not in counts and (len(kept) < len(ordinary) or len(special) + len(kept) > limit):
        special.insert(0, unknown)
    kept = kept[: limit - len(special)]
    if ordinary and not kept:
        seen = counts[ordinary[0]]
        change = f"lower min_count ({min_count:,})" if seen < min_count else f"raise max_size ({limit})"
        raise DataError(
            f"no {UNITS[kind][0]} left: {ordinary[0]!r}, the most frequent, comes {counted(seen, 'time')}: {change}"
        )
    return special + kept


def _between_spaces(text: str) -> list[str]:
    return text.replace("\n", f" {EOS} ").split()


def _joined(tokens: Iterable[str]) -> str:
    return re.sub(" ?\n ?", "\n", " ".join(tokens))


def _count_characters(chunks: Iterable[str]) -> Mapping[str, int]:
    counts = np.zeros(_NUM_CODE_POINTS, np.int64)
    for text in chunks:
        here = np.bincount(_code_points(text))
        counts[: here.size] += here
    return {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}


def _code_points(text: str) -> np.ndarray:
    """Return the code points of `text`, `(len(text),)`: uint8 if it is all ASCII, else uint32."""
    if text.isascii():  # known without a look at the text; a quarter of the memory to go through
        return np.frombuffer(text.encode("ascii"), np.uint8)
    # A lone surrogate comes in from a shell's bad byte; let it through, to be named as an unseen character.
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
