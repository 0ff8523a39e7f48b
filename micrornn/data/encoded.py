"""Text files in a vocabulary that is there already, such as that of a trained model.

encode_files    the ids of all that they hold
Encoded         these, and how much of the text the vocabulary lacks
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from micrornn.data.reading import is_utf8, read_bytes, read_chunks
from micrornn.data.unseen import SKIP
from micrornn.data.vocab import Encoder, Vocab


class Encoded(NamedTuple):
    """ids: of all that was read, (num_tokens,); of `total` tokens of the text, `unseen` were not in the vocabulary;
    skipped: whether these were left out."""

    ids: np.ndarray
    unseen: int
    total: int
    skipped: bool

    def words(self) -> str:
        """What to say of what is unseen; empty if all of the text is in the vocabulary."""
        done = "left out" if self.skipped else "read as unknown"
        share = 100 * self.unseen / max(1, self.total)
        return f"{self.unseen:,} of {self.total:,} unseen in training ({share:.2g} %), {done}" if self.unseen else ""


def encode_files(paths: Sequence[Path], vocab: Vocab, unseen: str = "", encoding: str = "",
                 usual: str = "utf-8", remedy: str = SKIP) -> Encoded:  # fmt: skip
    """The text in the files, one after the other, in a vocabulary. DataError names the file, and where in it the first
    symbol is that the vocabulary lacks; `unseen` and `remedy` as for `micrornn.data.Encoder`.

    encoding    of the files; "": UTF-8, or `usual` where one is no UTF-8
    """
    pieces, count, total, skipped = [np.empty(0, vocab.dtype)], 0, 0, False
    for path in paths:
        encoder = Encoder(vocab, unseen, str(path), remedy)
        written = encoding or ("utf-8" if usual == "utf-8" or is_utf8(path) else usual)
        pieces += encoder.encode(read_bytes([path]) if vocab.kind == "byte" else read_chunks([path], encoding=written))
        count, total = count + encoder.found.count, total + encoder.found.total
        skipped = encoder.unseen == "skip"
    return Encoded(np.concatenate(pieces), count, total, skipped)
