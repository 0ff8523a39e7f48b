"""The tokens of a text and their ids: characters or words.

Vocab         build from text, encode to ids, decode back
whole_words   a stream of text cut between words instead of anywhere
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Literal, cast, get_args

import numpy as np

from micrornn.errors import ConfigError, DataError
from micrornn.schema import Rule, check_table

Kind = Literal["char", "word"]

EOS = "<eos>"
# What stands for a token that the vocabulary left out. For characters it is U+FFFD, which Unicode keeps for
# just that.
UNKNOWN = {"char": "\ufffd", "word": "<unk>"}
_NAME = {"char": "character", "word": "word"}

_NUM_CODE_POINTS = 0x110000
# Longer than any word; a text without whitespace would otherwise be gathered up whole in memory.
_MAX_WORD = 1 << 20


@dataclass(frozen=True)
class Vocab:
    """`tokens[i]` is the token with id `i`.

    Characters are in code-point order. Words follow Penn Treebank and WikiText: the text is split on
    whitespace, each newline is the token `<eos>`, what was left out is `<unk>`; those two come first, then
    the words, most frequent first.

    The vocabulary knows what to do with an unseen token if it holds the unknown token, which it does when
    some tokens were left out or when the text itself held it. Otherwise an unseen token is a DataError.
    """

    kind: Kind
    tokens: list[str]

    @classmethod
    def build(cls, chunks: Iterable[str], kind: str, max_size: int | None = None, min_count: int = 1) -> Vocab:
        """Build from the text `chunks`, cut anywhere.

        At most `max_size` tokens are kept, the unknown token and `<eos>` among them, and none seen fewer
        than `min_count` times. Of equally frequent ones the first in code-point order is kept.
        """
        if kind not in get_args(Kind):
            raise ConfigError(f"kind is {kind!r}, expected 'char' or 'word'")
        if max_size is not None and max_size < 2:
            raise ConfigError(f"the vocabulary size is limited to {max_size}, expected at least 2")
        if min_count < 1:
            raise ConfigError(f"min_count is {min_count}, expected at least 1")
        counts = _count_characters(chunks) if kind == "char" else _count_words(chunks)
        if not counts:
            raise DataError(f"the text holds no {_NAME[kind]}s; give a file with text in it")

        unknown = UNKNOWN[kind]
        special = [unknown, EOS] if kind == "word" else [unknown]
        ordinary = sorted(counts.keys() - set(special), key=lambda token: (-counts[token], token))
        kept = [token for token in ordinary if counts[token] >= min_count]
        special = [token for token in special if token in counts]
        limit = len(counts) if max_size is None else max_size
        if unknown not in special and (len(kept) < len(ordinary) or len(special) + len(kept) > limit):
            special.insert(0, unknown)
        kept = kept[: limit - len(special)]
        if ordinary and not kept:
            seen = counts[ordinary[0]]
            change = f"lower min_count ({min_count:,})" if seen < min_count else f"raise max_size ({limit})"
            raise DataError(
                f"no {_NAME[kind]} left: {ordinary[0]!r}, the most frequent, comes {seen:,} times: {change}"
            )
        return cls(cast(Kind, kind), sorted(special + kept) if kind == "char" else special + kept)

    @property
    def size(self) -> int:
        """The number of tokens, V."""
        return len(self.tokens)

    @cached_property
    def unknown(self) -> int | None:
        """The id of the unknown token, None if there is none."""
        return self._index.get(UNKNOWN[self.kind])

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """uint8, uint16 or uint32: the smallest that holds all ids, and one more for `no such token`."""
        return np.min_scalar_type(self.size)

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

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of `text`, `(num_tokens,)` of `dtype`."""
        if self.kind == "char":
            ids = self._table[_code_points(text)]
        else:
            words = _split(text)
            found = map(self._index.get, words, repeat(self._otherwise))
            ids = np.fromiter(cast(Iterator[int], found), self.dtype, len(words))
        if self.unknown is None and ids.size and ids.max() == self.size:
            position = int(np.argmax(ids))
            raise self._unseen(text[position] if self.kind == "char" else words[position], position)
        return ids

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[np.ndarray]:
        """Yield the ids of a text that comes in `chunks`, cut anywhere: the same ids as of the whole."""
        for text in chunks if self.kind == "char" else whole_words(chunks):
            yield self.encode(text)

    def decode(self, ids: np.ndarray | Sequence[int]) -> str:
        """Return the text of `ids`: words are joined with spaces and `<eos>` becomes a newline."""
        ids = np.asarray(ids, np.intp)
        if self.kind == "char":
            return self._points[ids].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        words = ("\n" if self.tokens[i] == EOS else self.tokens[i] for i in ids.tolist())
        return re.sub(" ?\n ?", "\n", " ".join(words))

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` needs, fit for JSON."""
        return {"kind": self.kind, "tokens": list(self.tokens)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Vocab:
        """Build from what `to_dict` gave. Raises DataError if it is not that."""
        rules = {"kind": Rule(str, choices=get_args(Kind)), "tokens": Rule(list, items=Rule(str))}
        found = check_table(data, rules, "damaged vocabulary", DataError)
        kind, tokens = found["kind"], found["tokens"]
        if not tokens or not all(tokens):
            raise DataError("damaged vocabulary: expected a list of tokens")
        if len(set(tokens)) < len(tokens):
            raise DataError("damaged vocabulary: a token is in it twice")
        if kind == "char" and any(len(token) != 1 for token in tokens):
            raise DataError("damaged vocabulary: expected single characters")
        return cls(kind, list(tokens))

    def _unseen(self, token: str, position: int) -> DataError:
        name = _NAME[self.kind]
        shown = f"{token!r} (U+{ord(token):04X})" if self.kind == "char" else repr(token[:80])
        return DataError(
            f"{name} {shown} at position {position:,} is not in the vocabulary of {self.size:,} "
            f"{name}s; take it out of the text, or build the vocabulary from a text that has it"
        )

    def __repr__(self) -> str:
        return f"Vocab({self.kind}, size={self.size})"


def whole_words(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the same text as `chunks`, cut only at whitespace."""
    cut = ""  # the beginning of a word that the last chunk cut
    for chunk in chunks:
        text = cut + chunk
        cut = ""
        if text and not text[-1].isspace():
            cut = text.rsplit(None, 1)[-1]
            text = text[: -len(cut)]
        if len(cut) > _MAX_WORD:
            raise DataError(
                f"a word of more than {_MAX_WORD:,} characters, beginning with {cut[:20]!r}; "
                "words are split on whitespace: split this text first, or train on characters"
            )
        if text:
            yield text
    if cut:
        yield cut


def _split(text: str) -> list[str]:
    return text.replace("\n", f" {EOS} ").split()


def _count_words(chunks: Iterable[str]) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for text in whole_words(chunks):
        counts.update(_split(text))
    return counts


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
