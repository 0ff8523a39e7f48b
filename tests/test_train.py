"""The training loop and its checkpoints: exact resume, nothing touched by looking, and what is left after a kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from micrornn import checkpoint
from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import CheckpointError, DivergedError
from micrornn.gradcheck import gradcheck
from micrornn.ops import cross_entropy
from micrornn.ops import sum as sum_op
from micrornn.recurrent import Recurrent
from micrornn.runs import load_model
from micrornn.sampling import sample
from micrornn.tape import Tape, Tensor
from micrornn.train import Training, run

SMALL = dict(  # noqa: C408
    hidden_size=24,
    embedding_size=8,
    num_layers=2,
    dropout=0.2,
    batch_size=4,
    num_steps=8,
    val_every=50,
    seed=3,
)
TEXT = "".join(f"{n} green bottles hanging on the wall,\n" for n in range(400, 0, -1))

TRAIN = [sys.executable, "-m", "micrornn_cli", "train"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "bottles.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def tokens(text: Path, tmp_path_factory: pytest.TempPathFactory):
    return tokenize([text], "char", tmp_path_factory.mktemp("cache"))


def config(**changes) -> Config:
    return Config(**(SMALL | {"num_updates": 120} | changes))


def losses(training: Training, n: int) -> list[float]:
    return [training.update().loss for _ in range(n)]


def test_it_learns(tokens):
    training = Training(config(dropout=0.0, lr=0.01, num_updates=400), tokens)
    reports = list(run(training))
    assert [r.update for r in reports] == list(range(1, 401))
    assert reports[0].loss > 0.9 * np.log(tokens.vocab.size)
    assert reports[-1].val_loss < 1.2 < tokens.entropy
    assert reports[-1].tokens == 400 * 4 * 8 and reports[-1].seconds > 0


def test_looking_changes_nothing(tokens):
    """The same losses with and without validation, gradient checks and snapshots in between."""
    plain = losses(Training(config(), tokens), 60)
    training, seen = Training(config(), tokens), []
    for n in range(60):
        seen.append(training.update().loss)
        if n % 7 == 0:
            training.validate()
            training.snapshot()
            x = Tensor(np.ones((2, 2)), requires_grad=True, dtype=np.float64)
            gradcheck(lambda x=x: sum_op(x * x), [x])
    assert seen == plain


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tokens):
    first, again, other = (losses(Training(config(seed=s), tokens), 10) for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("state", ["carried", "fresh"])
def test_resume_is_exact_to_the_bit(tokens, tmp_path, cell, state):
    settings = config(cell=cell, state=state, optimizer="adamw", schedule="warmup:10+cosine")
    whole = Training(settings, tokens)
    list(run(whole))
    half = Training(settings, tokens)
    for _ in range(61):  # in the middle of an epoch, between two validations
        half.update()
    checkpoint.save(tmp_path / "half.ckpt", *half.snapshot())
    resumed = Training(settings, tokens)
    resumed.restore(*checkpoint.load(tmp_path / "half.ckpt"))
    list(run(resumed))
    one, two = whole.snapshot()[0], resumed.snapshot()[0]
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].tobytes() == two[name].tobytes(), name


def test_a_checkpoint_is_a_model(tokens, tmp_path):
    training = Training(config(), tokens)
    losses(training, 5)
    checkpoint.save(tmp_path / "a.ckpt", *training.snapshot())
    model, vocab = load_model(*checkpoint.load(tmp_path / "a.ckpt"))
    assert vocab == tokens.vocab
    assert np.array_equal(model.flat.data, training.model.flat.data)


def test_another_model_or_text_is_refused(tokens, tmp_path):
    arrays, meta = Training(config(), tokens).snapshot()
    with pytest.raises(CheckpointError, match=r"of another model: .*wanted .128, 8."):
        Training(config(hidden_size=32), tokens).restore(arrays, meta)
    with pytest.raises(CheckpointError, match=r"of another model: it lacks parameter/rnn.weight_hh_l1"):
        lacking = {k: v for k, v in arrays.items() if not k.endswith("weight_hh_l1")}
        Training(config(), tokens).restore(lacking, meta)
    (tmp_path / "other.txt").write_text(TEXT.replace("green", "brown"))
    other = tokenize([tmp_path / "other.txt"], "char", tmp_path)
    with pytest.raises(CheckpointError, match="text of this run has changed"):
        Training(config(), other).restore(arrays, meta)


def test_loss_summed_over_time_is_num_steps_times_the_mean(tokens):
    mean, summed = (Training(config(loss=loss, dropout=0.0), tokens) for loss in ("mean", "sum"))
    a, b = mean.update(), summed.update()
    assert a.loss == b.loss  # reported alike
    assert b.grad_norm == pytest.approx(a.grad_norm * SMALL["num_steps"], rel=1e-5)


def test_the_learning_rate_means_the_same_at_every_num_steps(tokens):
    """With the loss averaged over time, a gradient is of the same size however many steps a window has."""
    norms = [Training(config(num_steps=n, dropout=0.0), tokens).update().grad_norm for n in (4, 16, 64)]
    assert max(norms) < 3 * min(norms)


def test_a_diverging_run_keeps_the_last_good_checkpoint(tokens, tmp_path):
    folder = RunFolder.create(tmp_path / "run", {})
    settings = config(optimizer="sgd", lr=1e9, clip_norm=0.0, cell="rnn_relu", dropout=0.0, val_every=1)
    training = Training(settings, tokens)
    what = (
        r"update \d+: the (loss|gradient's norm|validation loss) is (nan|inf); the checkpoint of update (\d+) is kept"
    )
    with pytest.raises(DivergedError, match=what + r".*`lr`") as caught:
        list(run(training, folder))
    arrays, meta = folder.load_last()
    assert f"update {meta['updates']} is kept" in str(caught.value)
    assert not folder.best.exists() or np.isfinite(checkpoint.load(folder.best)[1]["best_val_loss"])
    assert all(np.isfinite(array).all() for array in arrays.values())


def test_an_update_cut_in_two_is_never_saved(tokens, tmp_path):
    """A second Ctrl-C in the middle of an update: what is on disk is the last whole state, and resumes."""
    folder = RunFolder.create(tmp_path / "run", {})
    training = Training(config(dropout=0.0), tokens)
    step = training.optimizer.update

    def interrupted(*arguments):
        step(*arguments)
        if training.updates == 30:
            raise KeyboardInterrupt

    training.optimizer.update = interrupted
    with pytest.raises(KeyboardInterrupt):
        list(run(training, folder))
    assert folder.load_last()[1]["updates"] == 0
    resumed = Training(config(dropout=0.0), tokens)
    resumed.restore(*folder.load_last())
    assert losses(resumed, 5) == losses(Training(config(dropout=0.0), tokens), 5)


def test_a_learned_initial_state_is_learned(tokens):
    training = Training(config(dropout=0.0), tokens)
    rnn = Recurrent("gru", 8, 24, learn_initial=True)
    with Tape() as tape:
        y, _ = rnn(training.model.embedding(training.batches.next()[0]), training.batches.state)
        loss = sum_op(y)
    tape.backward(loss)
    assert np.abs(rnn.parameters()["h_0"].grad).max() > 0


def test_a_tape_outlives_the_next_window(tokens):
    """The windows' buffers are filled anew; a tape that is kept must not notice."""
    training = Training(config(dropout=0.0), tokens)
    table = training.model.embedding.weight
    inputs, targets, state = training.batches.next()
    with Tape() as tape:
        loss = cross_entropy(training.model(inputs, state)[0], targets=targets)
    (before,) = tape.cotangents([table], [loss])
    before = before.copy()
    training.batches.next()
    assert np.array_equal(tape.cotangents([table], [loss])[0], before)


def test_sampling_and_recording_do_not_meet(tokens):
    model = Training(config(), tokens).model
    text = sample(model, tokens.vocab, length=5)
    next(text)
    with Tape() as tape:
        rest = list(text)
        model(np.zeros((2, 1), np.int32))
    assert len(rest) == 4 and len(tape) > 0
    assert {record.outputs[0].shape[0] for record in tape.records if record.op.name == "linear"} == {2}


def start(text: Path, out: Path, *more: str) -> subprocess.Popen:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = [*TRAIN, str(text), *flags, "--out", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def resume(out: Path, *more: str) -> subprocess.CompletedProcess:
    return subprocess.run([*TRAIN, "--resume", str(out), *more], capture_output=True, text=True, timeout=120)


def wait_for_updates(out: Path, n: int) -> None:
    deadline = time.monotonic() + 60
    metrics = out / "metrics.jsonl"
    while time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= n:
            return
        time.sleep(0.01)
    raise AssertionError(f"{metrics} did not reach {n} lines")


def test_kill_and_resume_ends_as_if_nothing_had_happened(text, tmp_path):
    """400 updates at once, and 200 and some, kill -9, resume: the same bits."""
    whole = start(text, tmp_path / "whole", "--num-updates", "400")
    assert whole.wait(60) == 0, whole.stderr.read()
    victim = start(text, tmp_path / "killed", "--num-updates", "400")
    wait_for_updates(tmp_path / "killed", 200)
    victim.kill()
    victim.wait()
    done = resume(tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    (one, meta), (two, meta_two) = (checkpoint.load(tmp_path / n / "last.ckpt") for n in ("whole", "killed"))
    assert meta["updates"] == meta_two["updates"] == 400
    assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in two.items()}
    rows = [RunFolder.open(tmp_path / n).metrics() for n in ("whole", "killed")]
    assert [r["loss"] for r in rows[0]] == [r["loss"] for r in rows[1]]
    assert [r["val_loss"] for r in rows[0]] == [r["val_loss"] for r in rows[1]]


KILL = """
import os, signal, sys, threading, time
moment = float(sys.argv.pop(1))  # in seconds of the processor: on a busy machine a second may be no more than an import
def kill():
    while time.process_time() < moment:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill).start()
from micrornn_cli.main import main
main()
"""


def test_killed_at_any_moment_a_run_resumes(text, tmp_path):
    """The same run killed again and again at random moments, from the first line of Python on. (Kills of a command that
    has begun, by the hundred and with every signal: tests/fuzz/kills.py.)"""
    times = int(os.environ.get("MICRORNN_TEST_KILLS", "4"))
    random.seed(5)
    out, flags = tmp_path / "run", [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    limit = ["--num-updates", "1000000", "--val-every", "3"]
    for _ in range(times):
        first = not (out / "config.toml").exists()
        arguments = [str(text), *flags, "--out", str(out), *limit] if first else ["--resume", str(out)]
        moment = str(random.uniform(0.3, 2.0))
        killed = subprocess.run(
            [sys.executable, "-c", KILL, moment, "train", *arguments], capture_output=True, text=True
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = checkpoint.load(out / "last.ckpt")[1]["updates"] if (out / "last.ckpt").exists() else 0
    done = resume(out, "--num-updates", str(before + 5))
    assert done.returncode == 0, done.stderr
    assert checkpoint.load(out / "last.ckpt")[1]["updates"] == before + 5


def test_ctrl_c_ends_within_an_update_with_a_checkpoint_and_the_way_on(text, tmp_path):
    out = tmp_path / "a run"
    process = start(text, out, "--num-updates", "1000000")
    wait_for_updates(out, 5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"micrornn train --resume '{out}'" in stderr and "Traceback" not in stderr
    updates = checkpoint.load(out / "last.ckpt")[1]["updates"]
    assert RunFolder.open(out).metrics()[-1]["update"] == updates
    done = resume(out, "--num-updates", str(updates + 3))
    assert done.returncode == 0, done.stderr
    config_now = RunFolder.open(out).config  # what is asked for when resuming holds for the next time too
    assert config_now["num_updates"] == updates + 3 and config_now["threads"] >= 1
