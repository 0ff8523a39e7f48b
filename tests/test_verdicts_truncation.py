"""What `truncation` says of small models of which it is known what is wrong with them, and of much and little text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Micrornn

from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.inspect.measure import Measure
from micrornn.inspect.subject import Subject
from micrornn.inspect.truncation import truncation
from micrornn.tasks.reading import TextMaterial
from micrornn.train import Training
from micrornn_cli.exits import Exit

WORDS = [
    "an",
    "old",
    "man",
    "and",
    "the",
    "sea",
    "were",
    "all",
    "that",
    "it",
    "took",
    "to",
    "make",
    "her",
    "look",
    "up",
]


def brackets(count: int, rng: np.random.Generator) -> str:
    """Each opened one is closed ten letters on, by its own kind; nothing else tells which."""
    return "".join(f"{'([{<'[n]}{'.' * 9}{')]}>'[n]}" for n in rng.integers(0, 4, count))


def prose(count: int, rng: np.random.Generator) -> str:
    """Words at random: they hang together within, and not beyond."""
    return " ".join(WORDS[n] for n in rng.integers(0, len(WORDS), count)) + "\n"


def trained(text: str, folder: Path, updates: int, **settings: Any) -> tuple[Training, Any]:
    (folder / "text.txt").write_text(text)
    tokens = tokenize([folder / "text.txt"], "char", folder / "cache")
    sizes = {"hidden_size": 24, "embedding_size": 8, "batch_size": 8, "schedule": "constant", "lr": 0.01, "seed": 3}
    training = Training(Config(**(sizes | settings)), tokens)
    for _ in range(updates):
        training.update()
    return training, tokens


def measured(training: Training, tokens: Any, ids: np.ndarray, lanes: int, num_steps: int = 0,
             seq_len: int = 96) -> Measure:  # fmt: skip
    """As `micrornn inspect truncation` does it, of the model as if it had been trained in windows of num_steps."""
    model = training.model.copy(num_steps=num_steps or training.config.num_steps)
    subject = Subject(model, {}, TextMaterial(model.config, tokens.vocab, ids, "a text"))
    windows = max(1, min(4, (len(ids) - 1) // seq_len // lanes))
    return truncation(model, list(subject.windows(seq_len, windows, lanes)))


def test_brackets_that_are_closed_behind_the_window(tmp_path: Path) -> None:
    """Windows shorter than the lag of 10 see none of it, those of 12 little. Noise excuses nothing."""
    training, tokens = trained(brackets(1000, np.random.default_rng(1)), tmp_path, 150, num_steps=32)
    ids = np.asarray(tokens[0 : len(tokens)])
    for num_steps, kind in ((4, "biased"), (12, "biased"), (48, "healthy")):
        found = measured(training, tokens, ids, 16, num_steps)
        assert found.verdicts[0].kind == kind, found.verdicts[0].words
        assert found.numbers["bias_low"].value <= found.numbers["bias"].value <= found.numbers["bias_high"].value


def test_ten_times_as_much_text_has_the_same_bias(tmp_path: Path) -> None:
    """What differs from one part of a text to the next is not in it, which shrinks with more of them."""
    rng = np.random.default_rng(2)
    training, tokens = trained(prose(30_000, rng), tmp_path, 120, num_steps=16)
    ids = np.asarray(tokens[0 : len(tokens)])
    little, much = (measured(training, tokens, ids[:n], lanes, seq_len=48) for n, lanes in ((9_000, 46), (90_000, 460)))
    for K in (1, 2, 3, 4):
        at = list(little.axes["K"].places).index(K)
        assert much["bias"][0, at] > 0.02
        assert little["bias"][0, at] == pytest.approx(much["bias"][0, at], rel=0.15), K
        assert little["high"][0, at] > little["low"][0, at]


def test_a_run_of_one_time_step_fails_on_biased(micrornn: Micrornn) -> None:
    Path("text.txt").write_text(prose(4000, np.random.default_rng(4)))
    sizes = "--hidden-size 24 --embedding-size 8 --batch-size 8 --lr 0.01 --seed 5 --num-steps 1 --num-updates 400"
    assert micrornn("train", "text.txt", *sizes.split(), "--out", "run")[0] == Exit.OK
    looked = "--seq-len 32 --batch-size 16 --windows 4 --fail-on biased"
    code, out, _ = micrornn("inspect", "truncation", "run", *looked.split())
    assert code == Exit.FAILED
    assert "Windows of 1 time step, as in training, bend the mean gradient by" in " ".join(out.split())
