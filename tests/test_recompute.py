"""A window in segments, each computed twice: the gradient of the whole window, in the memory of a part."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from micrornn import checkpoint
from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError
from micrornn.evaluate import evaluate
from micrornn.inspect.nonfinite import blown
from micrornn.ops import cross_entropy
from micrornn.recompute import Segments
from micrornn.tape import Tape, Tensor
from micrornn.tasks.text import LanguageModel, memory_needed, segment_steps
from micrornn.train import Training, run
from micrornn_cli.main import cli

TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(400, 0, -1))
SMALL = {"hidden_size": 12, "embedding_size": 5, "dtype": "float64", "seed": 3}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "bottles.txt").write_text(TEXT)
    return tokenize([folder / "bottles.txt"], "char", folder)


def whole_window(model: LanguageModel, inputs, targets, state, seed: float, update: int):
    """(loss, last state, gradient) as a tape of the whole window has them."""
    model.draw_dropout(update)
    model.flat.zero_grad()
    with Tape() as tape:
        logits, last = model(inputs, state)
        loss = cross_entropy(logits, targets=targets)
    tape.backward(loss, seed)
    return loss.item(), last, model.flat.grad.copy()


@pytest.mark.parametrize("length", [1, 7, 23])
@pytest.mark.parametrize("num_layers, dropout", [(1, 0.0), (1, 0.4), (2, 0.0), (2, 0.4)])
# one state and two, two sides of the gates, vectors of parameters
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "lstm_peephole"])
def test_the_gradient_is_that_of_the_whole_window(
    table, cell: str, num_layers: int, dropout: float, length: int
) -> None:
    """Of 23 time steps in 3 lanes; also from a state that was carried here, and for a loss summed over time."""
    model = LanguageModel(Config(cell=cell, num_layers=num_layers, dropout=dropout, **SMALL), 11)
    rng = np.random.default_rng(1)
    inputs, targets = rng.integers(0, 11, (2, 23, 3)).astype(np.int32)
    carried = tuple(Tensor(rng.normal(0, 0.5, s.shape)) for s in model.rnn.initial(3))
    for state, seed in ((None, 1.0), (carried, 23.0)):
        loss, last, grad = whole_window(model, inputs, targets, state, seed, update=5)
        model.flat.zero_grad()
        window = Segments(model, inputs, targets, state, length=length, dloss=seed, update=5)
        assert window.backward() == pytest.approx(loss, rel=1e-13)
        assert np.abs(model.flat.grad - grad).max() < 1e-12 * np.abs(grad).max()
        for ours, theirs in zip(window.last, last, strict=True):
            np.testing.assert_allclose(ours.data, theirs.data, rtol=0, atol=1e-13)


def test_other_updates_have_other_masks() -> None:
    """What makes the test above more than a comparison of a mask with itself."""
    model = LanguageModel(Config(num_layers=2, dropout=0.4, **SMALL), 11)
    ids, grads = np.zeros((6, 2), np.int32), []
    for update in (5, 6, 5):
        model.flat.zero_grad()
        Segments(model, ids, ids, None, length=2, update=update).backward()
        grads.append(model.flat.grad.copy())
    assert np.array_equal(grads[0], grads[2]) and np.abs(grads[0] - grads[1]).max() > 1e-3 * np.abs(grads[0]).max()


@pytest.mark.parametrize("length", [4, 30])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_what_blew_up_is_found_in_its_segment(where: str, length: int) -> None:
    """As in the whole window; time is counted from its start."""
    model = LanguageModel(Config(cell="rnn", num_layers=2, **SMALL | {"dtype": "float32"}), 11)
    weights = {name: p.data for name, p in model.flat.parameters.items()}
    inputs = np.random.default_rng(1).integers(0, 10, (70, 2)).astype(np.int32)
    if where == "value":  # a symbol that comes once, and is not finite
        weights["embedding.weight"][10], inputs[51, 1] = np.inf, 10
    else:  # tanh at zero passes all on: 8^k after k time steps
        model.flat.data[...] = 0
        weights["rnn.weight_hh_l1"][...] = 8 * np.eye(12)
        weights["decoder.weight"][...] = np.random.default_rng(1).normal(size=(11, 12))
    with Tape() as tape:
        loss = cross_entropy(model(inputs)[0], targets=inputs)
    wanted = blown(tape, loss)
    window = Segments(model, inputs, inputs, None, length=length)
    found = window.blown()
    assert wanted is not None and wanted.what == where and 0 < wanted.t < 60
    assert found is not None and found.words().partition(";")[0] == wanted.words().partition(";")[0]
    assert not model.flat.grad.any()
    window.backward()
    assert not np.isfinite(model.flat.grad).all()


@pytest.mark.parametrize("settings", [{}, {"cell": "gru", "num_layers": 2}, {"batch_size": 3}], ids=str)
def test_segments_fit_the_budget_and_leave_hardly_a_rest(settings) -> None:
    config = Config(**{"num_steps": 100_000, "batch_size": 1} | settings)
    before = 0
    for budget in (25_000_000, 60_000_000, 500_000_000):
        steps = segment_steps(dataclasses.replace(config, memory_budget=budget), 65)
        taken = memory_needed(dataclasses.replace(config, num_steps=steps), 65)
        assert 0.5 * budget < taken <= budget and steps > before
        assert 100_000 % steps <= max(5, steps // 100)
        before = steps
    assert segment_steps(config, 65) == segment_steps(dataclasses.replace(config, memory_budget=2**62), 65) == 100_000


@pytest.mark.parametrize("num_steps", [1, 30, 100_000])
def test_what_is_said_to_do_would_do(num_steps: int) -> None:
    config = Config(num_steps=num_steps, memory_budget=1000)
    with pytest.raises(ConfigError) as error:
        segment_steps(config, 65)
    told = re.fullmatch(
        rf"`memory_budget` is 0.001 MB.* {num_steps:,} time .* 32 lanes: (\d+) MB would do", str(error.value)
    )
    assert told
    would_do = int(told[1]) * 10**6
    assert 1 <= segment_steps(dataclasses.replace(config, memory_budget=would_do), 65) <= num_steps
    with pytest.raises(ConfigError):
        segment_steps(dataclasses.replace(config, memory_budget=would_do - 2 * 10**6), 65)


def test_memory_stays_below_the_budget(tokens) -> None:
    settings = {"num_steps": 5000, "batch_size": 2, "hidden_size": 32, "num_layers": 2}
    whole, cut = (Training(Config(**settings, memory_budget=b), tokens) for b in (0, 6_000_000))
    assert whole.segment_steps == 5000 and cut.segment_steps < 1000
    cut.update(), cut.validate()  # compiled, and in its own pool's memory, from here on
    peaks = []
    for training in (cut, whole):
        tracemalloc.start()
        training.update()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 6_000_000 < peaks[1]


def test_training_with_a_budget_is_the_same_training(tokens, tmp_path: Path) -> None:
    sizes = SMALL | {"num_layers": 2, "batch_size": 4, "num_steps": 200}
    settings = Config(**sizes, dropout=0.2, recurrent_dropout=0.2, num_updates=12, val_every=5)
    plain = [report.loss for report in run(Training(settings, tokens))]
    settings = dataclasses.replace(settings, memory_budget=600_000)
    whole = Training(settings, tokens)
    assert whole.segment_steps < 60
    assert [report.loss for report in run(whole)] == pytest.approx(plain, rel=1e-9)
    half = Training(settings, tokens)
    for _ in range(7):
        half.update()
    checkpoint.save(tmp_path / "half.ckpt", *half.snapshot())
    resumed = Training(settings, tokens)
    resumed.restore(*checkpoint.load(tmp_path / "half.ckpt"))
    list(run(resumed))
    one, two = whole.snapshot()[0], resumed.snapshot()[0]
    assert {name: array.tobytes() for name, array in one.items()} == {n: a.tobytes() for n, a in two.items()}


def test_a_checkpoint_from_before_there_were_budgets_resumes(tokens) -> None:
    settings = Config(**SMALL, batch_size=4, num_steps=20)
    arrays, meta = Training(settings, tokens).snapshot()
    del meta["config"]["memory_budget"]
    Training(settings, tokens).restore(arrays, meta)


def test_evaluation_keeps_to_the_budget_too(tokens) -> None:
    config, ids = Config(**SMALL | {"dtype": "float32"}, batch_size=4, num_steps=2000), tokens[:10_000]
    plain = evaluate(LanguageModel(config, tokens.vocab.size), ids, 4, 2000)
    config = dataclasses.replace(config, memory_budget=1_500_000)
    cut = evaluate(LanguageModel(config, tokens.vocab.size), ids, 4, 2000)
    assert cut.num_steps < 500 and plain.num_steps == 2000
    assert cut.loss == pytest.approx(plain.loss, rel=1e-3)


@pytest.mark.parametrize(
    "text, size",
    [("500MB", 500_000_000), ("1.5 gb", 1_500_000_000), ("2MiB", 2 << 20), ("70000", 70_000), ("8 kB", 8000)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert Config(memory_budget=text).memory_budget == size


@pytest.mark.parametrize("text", ["", "much", "5 potatoes", "-5MB", "1..2GB", "9" * 400, "1e9"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match=r"`memory_budget` is .*; it must be a size such as 500MB or 2GB$"):
        Config(memory_budget=text)


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICRORNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text(TEXT)
    flags = {"hidden-size": 16, "embedding-size": 4, "num-steps": 5000, "batch-size": 1, "num-updates": 1}
    train = ["train", str(tmp_path / "text.txt"), "--out", str(tmp_path / "run")]
    train += [f"--{name}={value}" for name, value in flags.items()]
    runner = CliRunner()
    done = runner.invoke(cli, [*train, "--memory-budget", "3MB", "--json"])
    assert done.exit_code == 0, done.output
    assert RunFolder.open(tmp_path / "run").config["memory_budget"] == 3_000_000
    done = runner.invoke(cli, ["train", "--resume", str(tmp_path / "run"), "--num-updates", "2", "--json"])
    assert done.exit_code == 0 and '"update": 2' in done.output
    done = runner.invoke(cli, ["train", "--resume", str(tmp_path / "run"), "--memory-budget", "4MB"])
    assert isinstance(done.exception, ConfigError) and "cannot become" in str(done.exception)
    done = runner.invoke(cli, [*train, "--memory-budget", "3MB", "--watch-gradients", "1"])
    assert isinstance(done.exception, ConfigError) and "leave one of the two out" in str(done.exception)
    done = runner.invoke(cli, [*train, "--memory-budget", "3 potatoes"])
    assert done.exit_code == 2 and "a size such as 500MB" in done.output
