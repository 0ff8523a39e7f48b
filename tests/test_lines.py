"""Each line of a text as a sequence of its own: how lines are laid into windows, and what padding must not do."""

from __future__ import annotations

import dataclasses
import json
import re
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import LineLanes, Tokens, split, tokenize
from micrornn.data.text import line_starts
from micrornn.errors import ConfigError, DataError
from micrornn.evaluate import evaluate
from micrornn.recompute import Segments
from micrornn.sampling import sample
from micrornn.tape import no_tape
from micrornn.tasks.reading import TextMaterial
from micrornn.tasks.text import LanguageModel, memory_needed
from micrornn.train import Training, run
from micrornn_cli.main import cli

NAMES = "ann\nbert\n\nmargarete\nemil\nmaximilian\nida\nfranz\nbo\nhildegard\n" * 6
SMALL = Config(
    hidden_size=6, embedding_size=4, batch_size=3, num_steps=4, lines=True, dtype="float64", val_every=2, threads=1
)


def tokens_of(text: str, folder: Path, level: str = "char") -> Tokens:
    (folder / "text.txt").write_text(text)
    return tokenize([folder / "text.txt"], level, folder)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize("num_steps", [1, 3, 40])
@pytest.mark.parametrize("end", [0, 3])
def test_every_line_is_read_once_and_from_its_start(batch_size: int, num_steps: int, end: int) -> None:
    ids = np.concatenate([np.random.default_rng(num_steps).integers(0, 5, 200), [end]]).astype(np.uint8)
    starts = line_starts(ids, 0)
    lanes = LineLanes(ids, batch_size, num_steps, 0)
    read: list[list[list[int]]] = [[] for _ in range(batch_size)]
    for w in range(lanes.num_windows):
        inputs, targets = lanes.window(w)
        assert (targets >= 0).sum() == lanes.window_tokens[w]
        for b, begins in enumerate(lanes.starts(w)):
            count = int((targets[:, b] >= 0).sum())
            assert (targets[:count, b] >= 0).all() and (inputs[count:, b] == 0).all()
            if not count:
                continue
            assert inputs[0, b] == (0 if begins else read[b][-1][-1])
            assert inputs[1:count, b].tolist() == targets[: count - 1, b].tolist()
            read[b] += [[]] if begins else []
            read[b][-1] += targets[:count, b].tolist()
    assert list(chain.from_iterable(read)) == [ids[a:b].tolist() for a, b in pairwise(starts)]


def test_whole_lines_are_held_out(tmp_path: Path) -> None:
    tokens = tokens_of(NAMES, tmp_path)
    parts = [tokens.vocab.decode(part[0 : len(part)]) for part in split(tokens, 0.2, tokens.vocab.newline)]
    assert parts[0] + parts[1] == NAMES
    assert parts[0].endswith("\n") and 0.2 * len(NAMES) <= len(parts[1]) < 0.3 * len(NAMES)


def gradient(config: Config, vocab_size: int, lanes: LineLanes, w: int, length: int = 1000, state=None):
    model = LanguageModel(config, vocab_size)
    model.train()
    window = Segments(model, *lanes.window(w), state, length=length)
    return window.backward(), model.flat.grad.copy(), model


@pytest.mark.parametrize("cell", ["lstm", "rnn_relu"])
@pytest.mark.parametrize("granularity", ["sequence", "primitive"])
def test_how_far_and_with_what_it_is_padded_does_not_matter(cell: str, granularity: str, tmp_path: Path) -> None:
    tokens = tokens_of("ann\nbert\nmargarete\nbo\n", tmp_path)
    config = dataclasses.replace(SMALL, cell=cell, granularity=granularity)
    found = []
    for num_steps, pad in ((10, None), (10, 2), (23, None), (64, 1)):
        lanes = LineLanes(tokens, 4, num_steps, tokens.vocab.newline or 0)
        model = LanguageModel(config, tokens.vocab.size)
        inputs, targets = lanes.window(0)
        if pad is not None:
            inputs[targets < 0] = pad
        loss = Segments(model, inputs, targets, None, length=100).backward()
        found.append((loss, model.flat.grad.copy()))
    for loss, grad in found[1:]:
        assert loss == found[0][0]
        assert np.array_equal(grad, found[0][1])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_segments_of_padded_lines_have_the_gradient_of_the_window(dropout: float, tmp_path: Path) -> None:
    tokens = tokens_of("ann\nbert\nmargarete\nbo\n", tmp_path)
    config = dataclasses.replace(SMALL, dropout=dropout)
    lanes = LineLanes(tokens, 4, 11, tokens.vocab.newline or 0)
    whole, by_segments = (gradient(config, tokens.vocab.size, lanes, 0, length) for length in (11, 3))
    assert by_segments[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(by_segments[1], whole[1], rtol=1e-9, atol=1e-15)


def test_the_gradient_is_that_of_finite_differences(tmp_path: Path) -> None:
    tokens = tokens_of("ann\nbert\nmargarete\nbo\n", tmp_path)
    lanes = LineLanes(tokens, 4, 6, tokens.vocab.newline or 0)
    _, found, model = gradient(SMALL, tokens.vocab.size, lanes, 0)
    inputs, targets = lanes.window(0)
    for place in np.random.default_rng(0).integers(0, len(found), 40):
        value, losses = model.flat.data[place], []
        for at in (value + 1e-5, value - 1e-5):
            model.flat.data[place] = at
            with no_tape():
                losses.append(model.loss(inputs, targets)[0].item())
        model.flat.data[place] = value
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(found[place], rel=1e-5, abs=1e-8)


def test_a_line_does_not_know_the_one_before(tmp_path: Path) -> None:
    """One lane, so that the lines are read one after the other: the loss of all is the mean of each alone."""
    tokens = tokens_of(NAMES, tmp_path)
    model, newline = LanguageModel(SMALL, tokens.vocab.size), tokens.vocab.newline
    starts, ids = line_starts(tokens, newline or 0), tokens[0 : len(tokens)]
    alone = 0.0
    for a, b in pairwise(starts):
        line = ids[a:b].astype(np.int32)
        with no_tape():
            loss, _ = model.loss(np.concatenate([[newline or 0], line[:-1]])[:, None].astype(np.int32), line[:, None])
        alone += loss.item() * (b - a)
    for lanes, steps in ((1, 4), (3, 4), (5, 50)):
        score = evaluate(model, ids, lanes, steps, newline=newline)
        assert score.loss == pytest.approx(alone / len(ids), rel=1e-12)
        assert score.predicted == len(ids)
    found = TextMaterial(model.config, tokens.vocab, ids).loss(
        model
    )  # its nine windows of 16 lanes are all of this text
    assert found == pytest.approx(alone / len(ids), rel=1e-12)


def test_a_resumed_run_is_the_same_to_the_bit(tmp_path: Path) -> None:
    tokens = tokens_of(NAMES, tmp_path)
    config = dataclasses.replace(SMALL, num_updates=40, dropout=0.2)
    whole = Training(config, tokens)
    assert whole.batches.num_windows < 40  # into the next epoch
    reports = [report.to_dict() for report in run(whole)]
    assert reports[-1]["val_loss"] < reports[1]["val_loss"]
    for stop in (1, 9, 25):
        folder = RunFolder.create(tmp_path / f"run{stop}", config.to_dict())
        half, again = Training(config, tokens), Training(config, tokens)
        for _ in run(half, folder, lambda half=half, stop=stop: half.updates >= stop):
            pass
        folder.close()
        assert half.updates == stop
        again.restore(*folder.load_last())
        for _ in run(again):
            pass
        assert np.array_equal(again.model.flat.data, whole.model.flat.data)
        assert again.best_val_loss == whole.best_val_loss


def test_a_memory_budget_trains_the_same(tmp_path: Path) -> None:
    tokens = tokens_of(NAMES, tmp_path)
    config = dataclasses.replace(SMALL, num_steps=16, num_updates=4, hidden_size=16)
    budget = memory_needed(config, tokens.vocab.size) * 3 // 4
    trainings = [Training(dataclasses.replace(config, memory_budget=size), tokens) for size in (0, budget)]
    assert trainings[1].segment_steps < 16
    for training in trainings:
        for _ in run(training):
            pass
    np.testing.assert_allclose(trainings[1].model.flat.data, trainings[0].model.flat.data, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_each_line_is_written_from_a_fresh_state(level: str, tmp_path: Path) -> None:
    """After a newline the model expects what it expects at the very start, whatever it wrote before."""
    tokens = tokens_of(NAMES, tmp_path, level)
    training = Training(dataclasses.replace(SMALL, level=level, num_updates=30, lr=0.05), tokens)
    for _ in run(training):
        pass
    write = lambda prompt: "".join(  # noqa: E731
        sample(training.model, tokens.vocab, length=6, temperature=0, prompt=prompt)
    )
    assert write("ann\n").strip() == write("bert\n").strip() == write("").strip()


@pytest.mark.parametrize("setting", [{"loss": "sum"}, {"watch_gradients": 2}])
def test_what_does_not_go_with_lines(setting: dict, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`lines` pads them"):
        Training(dataclasses.replace(SMALL, **setting), tokens_of(NAMES, tmp_path))


@pytest.mark.parametrize(
    ("text", "message"), [("one line " * 30, "no line break"), ("a\nb\n", "fewer than batch_size")]
)
def test_a_text_without_lines(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        Training(SMALL, tokens_of(text, tmp_path))


def test_the_commands(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(NAMES)
    out, sizes = (
        str(tmp_path / "run"),
        ["--hidden-size", "8", "--batch-size", "4", "--num-steps", "8", "--num-updates", "20"],
    )
    call = lambda *words: CliRunner().invoke(cli, list(words), catch_exceptions=False)  # noqa: E731
    result = call("train", str(tmp_path / "names.txt"), "--lines", "--out", out, *sizes)
    assert result.exit_code == 0 and "░" in result.output and "every line once" in result.output
    assert call("sample", out, "--num-samples", "2", "--length", "200").output.count("\n") in (3, 4)
    held_out, named = json.loads(call("eval", out, "--json").output), call("eval", out, str(tmp_path / "names.txt"))
    assert held_out["predicted"] == held_out["tokens"] and "each line from zeros" in named.output
    assert "its lines read on" in re.sub(
        r"\s+", " ", call("inspect", "flow", out, "--seq-len", "4", "--windows", "2").output
    )
    refused = CliRunner().invoke(cli, ["advise", str(tmp_path / "names.txt"), "--lines"])
    assert refused.exit_code and "lines" in str(refused.exception) + refused.output
