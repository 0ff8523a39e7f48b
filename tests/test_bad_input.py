"""Each mistake a user can make gets one or two lines, an exit code, no traceback, and nothing half-written."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from micrornn import checkpoint
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

SMALL = ["--hidden-size", "16", "--embedding-size", "8", "--batch-size", "4", "--num-steps", "8"]
TEXT = "the quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


def micrornn(*arguments: object, **options) -> subprocess.CompletedProcess:
    """Run the command in this process, or in one of its own where it needs another environment or limits."""
    command = list(map(str, arguments))
    if options:
        own = [sys.executable, "-m", "micrornn_cli", *command]
        return subprocess.run(own, capture_output=True, text=True, timeout=120, **options)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(command)
        except SystemExit as exit:
            code = exit.code
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def mistake(done: subprocess.CompletedProcess, code: Exit, *words: str) -> str:
    """The message: one or two lines behind whatever was announced before, with these words in it."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr and not done.stdout, done.stderr
    message = done.stderr[done.stderr.index("Error:") :]
    assert len(message.strip().splitlines()) <= 2, message
    flat = " ".join(message.split())
    for word in words:
        assert word.lower() in flat.lower(), (word, flat)
    return flat


def binary(path: Path) -> None:
    path.write_bytes(b"\x7fELF\x00\x01" * 100)


def latin(path: Path) -> None:
    path.write_bytes(b"x" * 5000 + "caf\xe9".encode("latin-1") + b"y" * 5000)


TEXTS = {
    "missing": (lambda path: None, ["bad.txt", "No such file"]),
    "empty": (lambda path: path.write_text(""), ["empty"]),
    "binary": (binary, ["bad.txt", "binary", "offset 4"]),
    "undecodable": (latin, ["bad.txt", "not UTF-8", "byte 0xe9 at offset 5,003", "iconv"]),
    # 4 lanes of 8 time steps and the target of the last: 33; of 40 characters 5 % are held out
    "too short": (lambda path: path.write_text("abcd" * 8), ["33", "batch_size", "num_steps"]),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text(at, case):
    make, words = TEXTS[case]
    make(at / "bad.txt")
    mistake(micrornn("train", at / "bad.txt", *SMALL, "--out", "run"), Exit.DATA, *words)
    assert not (at / "run").exists()


SETTINGS = {
    "zero": (["--hidden-size", "0"], ["--hidden-size is 0", "1 or more"]),
    "negative": (["--batch-size", "-3"], ["--batch-size is -3", "1 or more"]),
    "absurd": (["--num-steps", "99999999999"], ["--num-steps is 99999999999", "at most"]),
    "too large for memory": (
        ["--hidden-size", "65536", "--num-layers", "64"],
        ["GB of memory", "--hidden-size"],
    ),
    "no number": (["--lr", "fast"], ["--lr must be a number, not 'fast'"]),
    "not a number": (["--lr", "nan"], ["--lr is nan"]),
    "rate of one": (["--dropout", "1"], ["--dropout is 1.0", "below 1"]),
    "cell": (["--cell", "lstn"], ["no 'lstn'", "did you mean lstm?"]),
    "optimizer": (["--optimizer", "adman"], ["no optimizer 'adman'", "adamw"]),
    "optimizer's option": (["--optimizer", "adam:beta3=1"], ["no option 'beta3'", "beta1"]),
    "schedule": (["--schedule", "cosin"], ["no schedule 'cosin'", "cosine"]),
    "optimizer's range": (["--optimizer", "adam:beta1=1"], ["beta1 is 1", "0 or more and below 1"]),
    "schedule's range": (["--schedule", "exponential:10:-0.5"], ["factor is -0.5", "above 0 and at most 1"]),
    "schedule's numbers": (["--schedule", "step:100:0.5:7"], ["write step:EVERY:FACTOR"]),
    "both directions": (["--bidirectional"], ["has seen the token it is to predict"]),
    "flag": (["--hidden", "3"], ["No such option"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(at, case):
    flags, words = SETTINGS[case]
    done = micrornn("train", at / "text.txt", *SMALL, *flags, "--out", "run")
    assert done.returncode == Exit.USAGE and "Traceback" not in done.stderr
    flat = " ".join(done.stderr.split())
    for word in words:
        assert word in flat
    assert not (at / "run").exists()


def test_device_that_is_not_there(at):
    nowhere = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}
    done = micrornn("train", at / "text.txt", "--device", "cuda", env=nowhere, cwd=at)
    mistake(done, Exit.DEVICE, "device cuda", "--device cpu")
    assert not (at / "runs").exists()


CONFIGS = {
    "unknown setting": ("hidden_sise = 3", ["run.toml", "hidden_sise", "did you mean hidden_size?"]),
    "wrong type": ('hidden_size = "big"', ["run.toml: hidden_size must be a whole number, not 'big'"]),
    "files no list": ('files = "text.txt"', ["run.toml", "files must be a list of texts"]),
    "out no text": ("out = 3", ["run.toml", "out must be a text"]),
    "no TOML": ("hidden_size 3", ["run.toml is not TOML"]),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_config_file(at, case):
    content, words = CONFIGS[case]
    (at / "run.toml").write_text(content)
    mistake(micrornn("train", "text.txt", "--config", "run.toml"), Exit.USAGE, *words)
    mistake(micrornn("train", "text.txt", "--config", "none.toml"), Exit.USAGE, "none.toml", "No such file")


def test_config_then_environment_then_flags(at):
    (at / "run.toml").write_text('hidden_size = 10\ncell = "gru"\nbatch_size = 2\nfiles = ["text.txt"]')
    environment = os.environ | {"MICRORNN_HIDDEN_SIZE": "11", "MICRORNN_BATCH_SIZE": "3"}
    flags = ["--config", "run.toml", "--batch-size", "4", "--num-updates", "2", "--out", "run"]
    done = micrornn("train", *flags, env=environment)
    assert done.returncode == 0, done.stderr
    resolved = checkpoint.RunFolder.open(at / "run").config
    assert (resolved["cell"], resolved["hidden_size"], resolved["batch_size"]) == ("gru", 11, 4)
    assert resolved["files"] == [str(at / "text.txt")]


def test_run_folder_that_exists_or_cannot_be_written(at):
    (at / "taken").mkdir()
    (at / "taken" / "mine.txt").write_text("mine")
    done = micrornn("train", "text.txt", *SMALL, "--out", "taken")
    mistake(done, Exit.CHECKPOINT, "taken", "not empty", "--resume")
    assert [p.name for p in (at / "taken").iterdir()] == ["mine.txt"]
    (at / "file").write_text("")
    mistake(micrornn("train", "text.txt", *SMALL, "--out", "file/run"), Exit.CHECKPOINT, "file/run")
    mistake(micrornn("train", "--resume", "nowhere"), Exit.CHECKPOINT, "nowhere", "no such folder")
    mistake(micrornn("train", "--resume", "taken"), Exit.CHECKPOINT, "taken", "not a run folder")


def test_full_disk_keeps_the_checkpoint_before(at):
    """A limit on the size of a file stands for a full disk: the larger checkpoint of Adam does not fit."""
    flags = ["text.txt", *SMALL, "--val-every", "1", "--num-updates", "3", "--out", "run"]
    done = micrornn("train", *flags)
    assert done.returncode == 0, done.stderr
    before = (at / "run" / "last.ckpt").read_bytes()

    def tight() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    done = micrornn("train", "--resume", "run", "--num-updates", "5", preexec_fn=tight)
    assert done.returncode == Exit.CHECKPOINT and "Traceback" not in done.stderr, done.stderr
    assert ".ckpt: could not be written" in done.stderr
    assert (at / "run" / "last.ckpt").read_bytes() == before
    assert not list((at / "run").glob(".*tmp"))
    assert micrornn("train", "--resume", "run", "--num-updates", "5").returncode == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT)
    done = micrornn("train", folder / "text.txt", *SMALL, "--num-updates", "3", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def newer(data: bytes) -> bytes:
    return data.replace(b"micrornn checkpoint 1", b"micrornn checkpoint 9", 1)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES = {
    "truncated": (lambda data: data[: len(data) // 3], ["truncated"]),
    "one flipped bit": (flipped, ["damaged"]),
    "newer": (newer, ["format 9", "reads up to 1", "upgrade"]),
    "something else": (lambda data: b"PK\x03\x04 no checkpoint at all", ["not a micrornn checkpoint"]),
}


@pytest.mark.parametrize("case", DAMAGES)
@pytest.mark.parametrize("command", ["train", "sample", "eval"])
def test_damaged_checkpoint(at, trained, case, command):
    damage, words = DAMAGES[case]
    run = at / "run"
    run.mkdir()
    (run / "config.toml").write_bytes((trained / "config.toml").read_bytes())
    (run / "last.ckpt").write_bytes(damage((trained / "last.ckpt").read_bytes()))
    arguments = ["train", "--resume", run] if command == "train" else [command, run]
    mistake(micrornn(*arguments), Exit.CHECKPOINT, "last.ckpt", *words)


def test_checkpoint_of_another_model(at, trained):
    run = at / "run"
    run.mkdir()
    other = (trained / "config.toml").read_text().replace("hidden_size = 16", "hidden_size = 20")
    (run / "config.toml").write_text(other)
    (run / "last.ckpt").write_bytes((trained / "last.ckpt").read_bytes())
    mistake(micrornn("train", "--resume", run), Exit.CHECKPOINT, "of another model", "wanted")


def test_resume_is_not_swayed_by_the_environment(trained):
    environment = os.environ | {"MICRORNN_OUT": "elsewhere", "MICRORNN_LR": "0.5", "MICRORNN_THREADS": "1"}
    done = micrornn("train", "--resume", trained, "--num-updates", "4", env=environment)
    assert done.returncode == 0, done.stderr


def test_a_name_with_brackets_is_shown_as_it_is(at):
    done = micrornn("train", "text.txt", *SMALL, "--num-updates", "1", "--out", "a[bold]b[/b]")
    assert done.returncode == 0, done.stderr
    assert "The run lies in a[bold]b[/b]" in done.stderr


def test_names_that_no_system_takes(trained):
    mistake(micrornn("sample", "x" * 5000), Exit.CHECKPOINT, "name too long")


def test_resume_refuses_to_become_another_run(trained):
    done = micrornn("train", "--resume", trained, "--lr", "0.5")
    mistake(done, Exit.USAGE, "--lr was 0.006 and cannot become 0.5", "--num-updates")


def test_loss_that_blows_up(at):
    flags = [
        "--cell",
        "rnn_relu",
        "--optimizer",
        "sgd",
        "--lr",
        "1e9",
        "--clip-norm",
        "0",
        "--val-every",
        "1",
    ]
    done = micrornn("train", "text.txt", *SMALL, *flags, "--num-updates", "500", "--out", "run")
    mistake(done, Exit.DIVERGED, "update ", "is kept", "Lower --lr")
    meta = checkpoint.load(at / "run" / "last.ckpt")[1]
    assert f"the checkpoint of update {meta['updates']} is kept" in done.stderr
