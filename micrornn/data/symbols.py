"""Words, labels or characters that data comes in already split, and their ids.

Where a text is to be split first, and put together again, vocab.py does it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from micrornn.errors import DataError, quoted, some

UNKNOWN = "<unk>"


class Symbols(Sequence[str]):
    """`symbols[i]` is the symbol with id `i`; tokens: all of them.

    unknown    the id that stands for whatever is no symbol here; None: nothing does
    """

    def __init__(self, tokens: Sequence[str]):
        self.tokens = list(tokens)
        if len(self._ids) < len(self.tokens) or not all(isinstance(token, str) for token in self.tokens):
            raise DataError("damaged list of symbols: one is in it twice, or is no text")
        self.unknown = self._ids.get(UNKNOWN)

    @classmethod
    def build(cls, sequences: Iterable[Iterable[str]], max_size: int = 0, min_count: int = 1, unknown: bool = True,
              always: Sequence[str] = ()) -> Symbols:  # fmt: skip
        """Of the symbols of all sequences the most frequent ones first, of equally frequent ones the first in
        code-point order.

        max_size     so many at most, with the unknown one and those of `always`; 0: no limit
        min_count    none that comes less often
        unknown      whether one stands for all that are left out, and for those never seen
        always       symbols that stand at the beginning whether they come or not, such as one that ends a sequence
        """
        counts = Counter(token for sequence in sequences for token in sequence)
        special = [*([UNKNOWN] if unknown else []), *always]
        order = sorted(counts.keys() - set(special), key=lambda token: (-counts[token], token))
        kept = [token for token in order if counts[token] >= min_count]
        kept = kept[: max(0, max_size - len(special))] if max_size else kept
        if order and not kept:
            change = f"min_count ({min_count:,})" if counts[order[0]] < min_count else f"the limit of {max_size:,}"
            times = "once" if counts[order[0]] == 1 else f"{counts[order[0]]:,} times"
            raise DataError(f"no symbol is left: {quoted(order[0])}, the most frequent, comes {times}; change {change}")
        return cls([*special, *kept])

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: Any) -> Any:
        return self.tokens[place]

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(self, sequence: Iterable[str]) -> np.ndarray:
        """int32 ids. DataError where one is not here and nothing stands for it."""
        otherwise = -1 if self.unknown is None else self.unknown
        sequence = list(sequence)
        ids = np.array([self._ids.get(token, otherwise) for token in sequence], np.int32)
        if len(ids) and ids.min() < 0:
            raise DataError(f"{quoted(sequence[int(ids.argmin())])} is unknown; there are {self.some()}")
        return ids

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The symbols of these ids."""
        return [self.tokens[i] for i in ids]

    def some(self, most: int = 8) -> str:
        """The first few symbols, in words."""
        return some(self.tokens, most)
