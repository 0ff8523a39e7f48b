"""What all frameworks are given alike: the text, the order in which it is read, and the weights they start from.

NumPy and micrornn's reading of texts, nothing else: this runs where another framework is timed.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from micrornn.bench.cases import Model
from micrornn.bench.made import made_tokens
from micrornn.data import Lanes, Tokens, tokenize

ROOT = Path(__file__).parents[1]
DATA = next((data for place in (ROOT, ROOT.parent) if (data := place / "shared" / "data").is_dir()), ROOT / "data")
TEXTS = {"char": ["shakespeare/shakespeare.txt"], "word": ["wikitext2/valid.txt", "wikitext2/test.txt"]}


def real(level: str) -> bool:
    """Whether the real text is there; else a made-up one is read."""
    return all((DATA / name).is_file() for name in TEXTS[level])


def tokens(case: Model) -> Tokens:
    """Tiny Shakespeare by characters, WikiText-2 by words, or a random text with as many different tokens."""
    if real(case.level):
        return tokenize([DATA / name for name in TEXTS[case.level]], case.level, max_size=case.vocab)
    folder = tempfile.mkdtemp(prefix="micrornn-benchmarks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return made_tokens(case, Path(folder))


def batches(case: Model, text: Tokens) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Inputs and targets int32 (steps, batch) of window after window, without end, in the order in which
    `micrornn train` reads them; and whether the state begins anew there, which it does where the text does."""
    lanes = Lanes(text, case.batch, case.steps)
    while True:
        for n in range(lanes.num_windows):
            yield *lanes.window(n), n == 0


def weights(case: Model, vocab: int) -> dict[str, np.ndarray]:
    """Name -> float32 array, named as in micrornn's LanguageModel and shaped as in PyTorch."""
    rng = np.random.default_rng(0)

    def uniform(bound: float, *shape: int) -> np.ndarray:
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    size, bound = case.hidden, case.hidden**-0.5
    found = {"embedding.weight": rng.standard_normal((vocab, case.embedding)).astype(np.float32)}
    for layer in range(case.layers):
        found[f"rnn.weight_ih_l{layer}"] = uniform(bound, 4 * size, size if layer else case.embedding)
        found[f"rnn.weight_hh_l{layer}"] = uniform(bound, 4 * size, size)
        found |= {f"rnn.bias_{side}_l{layer}": uniform(bound, 4 * size) for side in ("ih", "hh")}
    return found | {"decoder.weight": uniform(bound, vocab, size), "decoder.bias": uniform(bound, vocab)}
