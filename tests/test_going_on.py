"""What a resumed run keeps, and what it tells: other limits, files that are gone, a text that lies elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from micrornn import data
from micrornn.checkpoint import RunFolder, load
from micrornn_cli.console import program
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

TEXT = "she sells sea shells on the sea shore, and the shells she sells are sea shells. " * 20
SMALL = ["--hidden-size=8", "--embedding-size=4", "--batch-size=2", "--num-steps=8", "--threads=1"]


@pytest.fixture
def micrornn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(a) for a in arguments])
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return int(done.value.code or 0), " ".join(err.split())

    return call


@pytest.fixture
def trained(micrornn, tmp_path):
    """A run of 60 updates whose learning rate has fallen to a twentieth."""

    def make(*more: object) -> Path:
        start = ("train", "text.txt", *SMALL, "--num-updates", 60, "--val-every", 20, "--out", "run", "--json")
        code, err = micrornn(*start, *(more or ("--schedule", "warmup:5+cosine:0.05")))
        assert code == 0, err
        return tmp_path / "run"

    return make


def rates(run: Path) -> list[float]:
    return [row["lr"] for row in RunFolder.open(run).metrics()]


def test_a_rate_that_rises_again_is_told(micrornn, trained):
    run = trained()
    code, err = micrornn("train", "--resume", run, "--num-updates", 120, "--json")
    assert code == 0
    assert "the learning rate rises again, from 0.0003 to 0.0032: its schedule now ends at update 120, not at 60" in err
    assert rates(run)[60] > 10 * rates(run)[59]


def test_a_rate_that_falls_at_once_is_told(micrornn, trained):
    run = trained("--schedule", "cosine", "--keep-every", 20)
    shutil.copy(run / "update-20.ckpt", run / "last.ckpt")
    code, err = micrornn("train", "--resume", run, "--num-updates", 30, "--json")
    assert code == 0 and "the learning rate falls at once, from 0.0046 to 0.0015: its schedule now ends" in err


def test_the_same_limits_say_nothing(micrornn, trained):
    run = trained("--schedule", "constant", "--num-updates", 30)
    code, err = micrornn("train", "--resume", run, "--num-updates", 40, "--json")
    assert (code, err) == (0, "")
    code, err = micrornn("train", "--resume", run, "--num-updates", 40, "--json")
    assert code == 0 and err == "Note: the limit of 40 updates is reached: it is at update 40."


def test_a_limit_that_is_passed_and_one_that_no_longer_holds(micrornn, trained):
    run = trained("--schedule", "constant", "--max-minutes", 60, "--epochs", 50)
    code, err = micrornn("train", "--resume", run, "--num-updates", 7, "--json")
    assert code == 0 and "the limit of 7 updates is passed: it is at update 60" in err
    assert "it no longer ends by --max-minutes 60" in err and "--epochs 50" in err
    code, err = micrornn("train", "--resume", run, "--max-minutes", 1e-9, "--json")
    assert code == 0 and "minutes is passed: it has trained for 0.0, 60 updates" in err


def test_patience_that_is_at_its_end(micrornn, trained):
    run = trained("--lr", 1e-9, "--optimizer", "sgd", "--val-every", 1, "--patience", 2, "--num-updates", 500)
    assert len(rates(run)) < 500
    code, err = micrornn("train", "--resume", run, "--num-updates", 600, "--json")
    assert code == 0 and "2 validations in a row were no better, and --patience is 2" in err


def test_a_best_without_a_last_is_gone_on_from(micrornn, trained):
    run = trained()
    (run / "last.ckpt").unlink()
    at = load(run / "best.ckpt")[1]["updates"]
    code, err = micrornn("train", "--resume", run, "--num-updates", 70, "--json")
    assert code == 0 and f"last.ckpt is gone: it goes on from best.ckpt, which is of update {at}" in err
    assert len(rates(run)) == 70 and load(run / "last.ckpt")[1]["updates"] == 70


def test_a_last_without_a_best_gets_a_new_one(micrornn, trained):
    run = trained()
    (run / "best.ckpt").unlink()
    code, err = micrornn("train", "--resume", run, "--num-updates", 70, "--json")
    assert code == 0 and "best.ckpt is gone: the next validation writes a new one" in err
    assert load(run / "best.ckpt")[1]["updates"] == 70


def test_a_text_that_lies_elsewhere(micrornn, trained, tmp_path):
    run = trained()
    (tmp_path / "other.txt").write_text(TEXT.upper())
    (tmp_path / "text.txt").rename(tmp_path / "moved.txt")
    code, err = micrornn("train", "--resume", run, "--num-updates", 70)
    assert code == Exit.DATA and f"{run}/config.toml: no such file" in err and f"--resume {run} FILES" in err
    code, err = micrornn("train", "--resume", run, "other.txt", "--num-updates", 70)
    assert code == Exit.CHECKPOINT and "text of this run has changed" in err and "--resume RUN FILES" in err
    code, err = micrornn("train", "--resume", run, "moved.txt", "--num-updates", 70, "--json")
    assert code == 0 and "its text is read from FILES from now on" in err
    assert RunFolder.open(run).files == [str(tmp_path / "moved.txt")]
    code, err = micrornn("train", "--resume", run, "--num-updates", 80, "--json")
    assert code == 0 and len(rates(run)) == 80
    for command in ("eval", "inspect flow", "advise"):
        (tmp_path / "moved.txt").rename(tmp_path / "again.txt")
        code, err = micrornn(*command.split(), run)
        assert code == Exit.DATA and f"{run}/config.toml: no such file" in err, command
        (tmp_path / "again.txt").rename(tmp_path / "moved.txt")


def test_a_checkpoint_alone_holds_the_settings(micrornn, trained, tmp_path):
    run = trained()
    whole = load(run / "last.ckpt")[1]["config"]
    (run / "config.toml").unlink()
    code, err = micrornn("train", "--resume", run / "last.ckpt")
    assert code == Exit.CHECKPOINT and f"Give the folder it lies in: {run}" in err
    code, err = micrornn("train", "--resume", run)
    assert code == Exit.CHECKPOINT and "no config.toml" in err and f"--resume {run} FILES" in err
    code, err = micrornn("train", "--resume", run, "text.txt", "--num-updates", 70, "--json")
    assert code == 0, err
    changed = {"num_updates": 70, "epochs": 0.0, "max_minutes": 0.0}
    assert load(run / "last.ckpt")[1]["config"] == whole | changed
    assert RunFolder.open(run).files == [str(tmp_path / "text.txt")]


@pytest.mark.parametrize("flags, first, told", [
    (["--num-updates", 40], "warmup:4+cosine:0.05", "a warm-up of 4 updates in place of 100, as this run has 40"),
    (["--num-updates", 7], "warmup:1+cosine:0.05", "a warm-up of 1 update in place of 100"),
    (["--epochs", 1], "warmup:9+cosine:0.05", "a warm-up of 9 updates in place of 100, as this run has 94"),
    (["--num-updates", 30, "--schedule", "warmup:50"], "warmup:50", "longer than this run of 30: the learning rate "
     "gets no further than 0.0036"),
    (["--num-updates", 30, "--schedule", "warmup:25"], "warmup:25", ""),
    (["--max-minutes", 0.001], "warmup:100+cosine:0.05", ""),
    (["--num-updates", 1000, "--max-minutes", 0.0005], "warmup:100+cosine:0.05", ""),
])  # fmt: skip
def test_a_warm_up_that_is_longer_than_the_run(micrornn, tmp_path, flags, first, told):
    code, err = micrornn("train", "text.txt", *SMALL, *flags, "--out", "run", "--json")
    assert code == 0 and told in err and (told or not err)
    assert RunFolder.open(tmp_path / "run").config["schedule"] == first


def test_watching_survives_a_kill_before_the_first_watched_update(micrornn, trained, tmp_path):
    run = trained("--watch-gradients", "20", "--num-updates", 5)
    (run / "gradients.jsonl").unlink()  # as if it had been killed before the first update
    shutil.rmtree(run / "last.ckpt", ignore_errors=True)
    code, err = micrornn("train", "--resume", run, "--num-updates", 41, "--json")
    assert code == 0 and [row["update"] for row in RunFolder.open(run).gradients.read()] == [20, 40], err


def test_a_run_from_before_that_was_a_setting_goes_on_being_watched(micrornn, trained):
    run = trained("--watch-gradients", "every=3", "--num-updates", 6)
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("watch_gradients = 3\n", ""))
    code, err = micrornn("train", "--resume", run, "--num-updates", 9, "--json")
    assert code == 0 and [row["update"] for row in RunFolder.open(run).gradients.read()] == [1, 3, 6, 9], err


def test_what_may_not_be_read_is_told_by_its_own_exit_code(micrornn, trained, tmp_path, monkeypatch):
    """As root one may read everything; so the system's answers are made up."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    run = trained()
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(data.files, "open", refuse, raising=False)
    for command in ("train", "advise"):
        code, err = micrornn(command, "text.txt")
        assert code == Exit.DATA and "text.txt: Permission denied" in err, err
    monkeypatch.setattr(Path, "read_bytes", refuse)
    code, err = micrornn("train", "--resume", run)
    assert code == Exit.CHECKPOINT and "config.toml: could not be read: Permission denied" in err


def test_the_commands_to_go_on_with_outlive_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "bin" / "micrornn")])
    monkeypatch.setenv("PATH", "")
    assert program() == "../bin/micrornn"
    (tmp_path / "gone").rmdir()
    assert program() == str(tmp_path / "bin" / "micrornn")


def test_settings_in_config_toml_are_checked_as_those_of_the_run(micrornn, trained):
    run = trained()
    for line in ("hidden_size = -1", 'lr = "fast"', "unknown_thing = 1", "hidden_size = " + "0x" + "f" * 9999):
        config = [row for row in (run / "config.toml").read_text().splitlines() if row.split()[0] != line.split()[0]]
        (run / "broken").mkdir(exist_ok=True)
        (run / "broken" / "config.toml").write_text("\n".join([*config, line]))
        code, err = micrornn("train", "--resume", run / "broken")
        assert code == Exit.CHECKPOINT and f"{run}/broken/config.toml" in err and len(err) < 400, json.dumps(err)
