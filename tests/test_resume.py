"""A run that was stopped, at whatever line, ends like one that was not: history and best checkpoint included."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.kills import left

from micrornn import keeping, train
from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import Tokens, tokenize
from micrornn.train import Training, run

CONFIG = Config(
    hidden_size=6, embedding_size=4, batch_size=2, num_steps=6, val_every=2, num_updates=4, watch_gradients=2, threads=1
)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text("peter piper picked a peck of pickled pepper. " * 12)
    return tokenize([folder / "text.txt"], "char", folder)


def go(path: Path, tokens: Tokens, stopped=lambda training: False) -> None:
    """Start the run, or go on with it as `--resume` does."""
    folder = RunFolder.open(path) if path.exists() else RunFolder.create(path, CONFIG.to_dict())
    training = Training(CONFIG, tokens)
    snapshot = folder.load_last()
    if snapshot is not None:
        training.restore(*snapshot)
    try:
        list(run(training, folder, lambda: stopped(training)))
    finally:
        folder.close()


@pytest.fixture(scope="module")
def undisturbed(tokens, tmp_path_factory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    go(path, tokens)
    return left(path)


@pytest.mark.parametrize("update", [1, 2, 3, 4])
def test_a_stop_in_a_validation_does_not_lose_it(tokens, undisturbed, tmp_path, update):
    """Ctrl-C or SIGTERM: asked once a window. The second time it comes again in the same validation."""
    for _ in range(2):
        go(tmp_path / "run", tokens, lambda training: training.updates >= update)
        folder = RunFolder.open(tmp_path / "run")
        pending = folder.load_last()[1]["pending"]
        assert (pending is None) == bool(update % 2) and len(folder.metrics()) == update - (update % 2 == 0)
    go(tmp_path / "run", tokens)
    assert left(tmp_path / "run") == undisturbed


class Interrupt:
    """Raises KeyboardInterrupt, as a second Ctrl-C does, at the n-th line that is run in some functions of the loop."""

    def __init__(self, n: int, functions: tuple[str, ...]):
        self.n, self.functions, self.seen = n, functions, 0

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        if (
            frame.f_code.co_filename not in (train.__file__, keeping.__file__)
            or frame.f_code.co_name not in self.functions
        ):
            return None
        if event == "line":
            self.seen += 1
            if self.seen == self.n:
                raise KeyboardInterrupt
        return self


def test_an_interrupt_at_any_line_changes_nothing_in_the_end(tokens, undisturbed, tmp_path):
    functions = ("update", "run", "record", "keep", "save")
    """At every third line event; at each where MICRORNN_TEST_KILLS is set."""
    n, interrupted, apart = 0, True, 1 if "MICRORNN_TEST_KILLS" in os.environ else 3
    while interrupted:
        n, interrupted = n + apart, False
        path = tmp_path / f"run{n}"
        sys.settrace(Interrupt(n, functions))
        try:
            go(path, tokens)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(None)
        if interrupted:
            go(path, tokens)
        assert left(path) == undisturbed, f"after an interrupt at line event {n}"
    assert n > 100
