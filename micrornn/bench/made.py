"""A text for those who have none: random, with exactly as many different tokens as a model wants."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from micrornn.bench.cases import Model
from micrornn.data import Tokens, tokenize

TOKENS = 200_000
LETTERS = [chr(code) for code in (*range(0x21, 0x7F), *range(0xC0, 0x250))]


def made_tokens(case: Model, folder: Path) -> Tokens:
    """The text, written into a folder and read from there."""
    rng = np.random.default_rng(0)
    size = max(TOKENS, case.tokens + 1)
    different = case.vocab - (2 if case.level == "word" else 0)  # of words there are two more: what tells of spaces
    ids = np.concatenate([np.arange(different), rng.integers(0, different, size - different)])
    words = map(str, ids.tolist())
    text = "".join(LETTERS[n] for n in ids.tolist()) if case.level == "char" else " ".join(words)
    path = folder / "made.txt"
    path.write_text(text, "utf-8")
    return tokenize([path], case.level, folder)
