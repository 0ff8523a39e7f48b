"""Settings of a run beside its sizes: tied embeddings, patience, checkpoints that are kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micrornn.checkpoint import RunFolder, load
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.gradcheck import gradcheck
from micrornn.recompute import Segments
from micrornn.runs import load_run
from micrornn.sampling import sample
from micrornn.tape import no_tape
from micrornn.tasks.text import LARGE_VOCABULARY, LanguageModel, Stepper, memory_needed
from micrornn.train import Training, run
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(150, 0, -1))
SIZES = {"hidden_size": 12, "embedding_size": 12, "batch_size": 4, "num_steps": 8, "seed": 2, "threads": 1}


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def training(text: Path, **settings: Any) -> Training:
    return Training(Config(**(SIZES | settings)), tokenize([text], "char", text.parent / "cache"))


def micrornn(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as done:
        main(list(map(str, arguments)))
    return int(done.value.code or 0), *capsys.readouterr()


FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]


@pytest.mark.parametrize("vocab_size", [9, LARGE_VOCABULARY])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_tied_weights_are_one_parameter_with_a_right_gradient(table: str, cell: str, vocab_size: int) -> None:
    config = Config(cell=cell, tied=True, dtype="float64", **(SIZES | {"hidden_size": 5, "embedding_size": 5}))
    model = LanguageModel(config, vocab_size)
    assert model.decoder.weight is model.embedding.weight and "decoder.weight" not in model.flat.parameters
    untied = LanguageModel(Config(**(config.to_dict() | {"tied": False})), vocab_size)
    assert len(model.flat) == len(untied.flat) - 5 * vocab_size
    assert memory_needed(config, vocab_size) < memory_needed(untied.config, vocab_size)
    ids = np.random.default_rng(1).integers(0, vocab_size, (4, 2)).astype(np.int32)
    model.rnn.weights["bias_hh_l0"].data[...] += 3  # away from a relu's kink
    found = gradcheck(lambda: model.loss(ids[:-1], ids[1:])[0], list(model.flat.parameters.values()), samples=30)
    assert min(check.decimals for check in found) >= 9, found


def test_tied_in_segments_in_a_checkpoint_and_sampling(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = training(text, tied=True, dtype="float64")
    inputs, targets, state = one.batches.next()
    gradients = []
    for length in (8, 3):
        Segments(one.model, inputs, targets, state, length=length).backward()
        gradients.append(one.model.flat.grad.copy())
    np.testing.assert_allclose(*gradients, atol=1e-14)
    assert micrornn(capsys, "train", text, *FLAGS, "--tied", "--num-updates", 30, "--out", "run")[0] == 0
    model, vocab, _ = load_run("run")
    assert model.decoder.weight is model.embedding.weight
    step, ids = Stepper(model, model.rnn.initial(1)), vocab.encode("12 green")
    with no_tape():
        wanted = model(ids[:, None].astype(np.int32))[0].data[:, 0]
    np.testing.assert_allclose([step(int(token)).copy() for token in ids], wanted, atol=1e-5)
    assert len("".join(sample(model, vocab, length=30))) == 30
    code, _, err = micrornn(capsys, "train", text, *FLAGS, "--tied", "--hidden-size", 13, "--out", "other")
    assert code == Exit.USAGE and "make --embedding-size and --hidden-size the same" in err


@pytest.mark.parametrize("stop", [None, 7, 33])
def test_patience_ends_the_run_at_the_same_update_whether_it_was_interrupted(text: Path, stop: int | None) -> None:
    """A rate so high that it does not settle."""
    settings = {"patience": 3, "val_every": 5, "lr": 0.3, "num_updates": 2000}
    whole = training(text, **settings)
    updates = [report.update for report in run(whole)]
    losses = [row["val_loss"] for row in whole.history]
    best = losses.index(min(losses))
    assert updates[-1] < 2000 and len(losses) - 1 - best == 3 and whole.gave_up()
    if stop is not None:
        half, again = training(text, **settings), training(text, **settings)
        for _ in zip(range(stop), run(half)):
            pass
        again.restore(*half.snapshot())
        for _ in run(again):
            pass
        assert again.updates == whole.updates and again.stale == 3
        assert np.array_equal(again.model.flat.data, whole.model.flat.data)


def test_patience_alone_is_a_limit_and_may_change_later(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*FLAGS, "--val-every", 5, "--lr", 0.3, "--patience", 2, "--out", "run"]
    code, _, err = micrornn(capsys, "train", text, *flags)
    updates = load("run/last.ckpt")[1]["updates"]
    assert code == 0 and "--patience" in err and updates % 5 == 0
    again = re.search(r"micrornn (train --resume run --patience 4) +train on, with more patience", err)
    assert again and micrornn(capsys, *again[1].split())[0] == 0
    assert load("run/last.ckpt")[1]["updates"] > updates and RunFolder.open("run").config["patience"] == 4
    code, _, err = micrornn(capsys, "train", text, *FLAGS, "--patience", 2, "--val-fraction", 0, "--out", "none")
    assert code == Exit.USAGE and "--val-fraction 0" in err


def test_checkpoints_that_are_kept_can_be_used_by_their_path(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*FLAGS, "--num-updates", 25, "--val-every", 10, "--keep-every", 10]
    assert micrornn(capsys, "train", text, *flags, "--out", "run")[0] == 0
    kept = sorted(path.name for path in Path("run").glob("update-*.ckpt"))
    assert kept == ["update-10.ckpt", "update-20.ckpt"]
    assert [load(f"run/{name}")[1]["updates"] for name in kept] == [10, 20]
    assert load("run/update-20.ckpt")[1]["best_val_loss"] == load("run/best.ckpt")[1]["history"][1]["val_loss"]
    code, out, _ = micrornn(capsys, "eval", "run/update-10.ckpt", "--json")
    assert code == 0 and json.loads(out)["loss"] == load("run/last.ckpt")[1]["history"][0]["val_loss"]
    assert micrornn(capsys, "sample", "run/update-10.ckpt", "--length", 5)[0] == 0
    assert micrornn(capsys, "inspect", "flow", "run/update-20.ckpt", "--json")[0] == 0
