"""Runs with each way to propagate back: killed and resumed to the bit, and refused in a line or two."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micrornn import tasks
from micrornn.backprop import WAYS
from micrornn.checkpoint import RunFolder, load, save
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import CheckpointError
from micrornn.optim import Optimizer
from micrornn.resume import resume
from micrornn.train import Training, run
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

TEXT = "she sells sea shells on the sea shore, and the shells she sells are sea shells.\n" * 4
EACH = {  # way -> where a run of 9 updates is killed: in the update of this number
    "full": 3, "window": 5, "window:5": 2, "online": 6, "stateless": 4, "1,4": 7, "3,7": 6, "2,6": 1,
    "grow:1-4:every=2": 4, "grow:2-8:every=3,bias=0.01": 7, "random:0.4": 5, "rtrl": 6, "snap1": 3, "uoro": 8,
}  # fmt: skip


def test_each_way_is_in_the_table() -> None:
    names = {Config(backprop=backprop).way.name for backprop in EACH}
    assert names == set(WAYS)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(TEXT)
    return tokenize([folder / "text.txt"], "char", folder)


def training_of(backprop: str, task: str, text: Any) -> Training:
    kind = tasks.find(task)
    own = {"length": 90, "batch_size": 3} if task == "echo" else {"embedding_size": 3, "batch_size": 3}
    steps = Config(backprop=backprop).way.num_steps
    config = kind.Settings(
        backprop=backprop, hidden_size=4, cell="lstm", num_updates=9, val_every=2, num_layers=2,
        **({"num_steps": 3} if steps is None else {}), **own, dropout=0.3,
    )  # fmt: skip
    return Training(config, kind(config) if task == "echo" else text)


@pytest.mark.parametrize("task, backprop", [*itertools.product(["echo"], EACH), ("text", "2,6"), ("text", "rtrl")])
def test_killed_in_an_update_it_resumes_to_the_bit(task: str, backprop: str, text: Any, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    whole = training_of(backprop, task, text)
    tokens = [report.tokens for report in run(whole)]
    folder = RunFolder.create(tmp_path / "run", {})
    original, killed = Optimizer.update, training_of(backprop, task, text)

    def update(self: Optimizer, *given: Any) -> None:
        if killed.updates == EACH[backprop]:
            raise KeyboardInterrupt
        original(self, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Optimizer, "update", update)
        for _ in run(killed, folder):
            pass
    folder.close()
    folder = RunFolder.open(tmp_path / "run")
    resumed = training_of(backprop, task, text)
    resume(resumed, folder)
    at = resumed.updates
    assert 0 <= at <= EACH[backprop]
    assert [report.tokens for report in run(resumed, folder)] == tokens[at:]
    folder.close()
    arrays, meta = whole.snapshot()
    again, other = resumed.snapshot()
    assert arrays.keys() == again.keys() and meta["backprop"] == other["backprop"] and meta["tokens"] == other["tokens"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again[name], name)


@pytest.mark.parametrize("backprop", ["2,6", "rtrl", "uoro", "grow:1-4:every=2", "window"])
def test_what_a_way_keeps_is_looked_at_before_it_is_used(backprop: str, text: Any, tmp_path: Path) -> None:
    training = training_of(backprop, "echo", text)
    for _ in range(4):
        training.update()
    arrays, meta = training.snapshot()
    kept = [name for name in arrays if name.startswith("backprop/")]
    wrong = [({name: array for name, array in arrays.items() if name != kept[0]}, meta)] if kept else []
    wrong += [(arrays | {kept[-1]: arrays[kept[-1]].astype(np.float16)}, meta)] if kept else []
    wrong += [(arrays | {"backprop/more": np.zeros(2)}, meta)]
    wrong += [(arrays, meta | {"backprop": {"num_steps": 99}})] if not kept else []
    for given in wrong:
        save(tmp_path / "wrong.ckpt", *given)
        with pytest.raises(CheckpointError, match=r"`backprop|backprop/"):
            training_of(backprop, "echo", text).restore(*load(tmp_path / "wrong.ckpt"))


Micrornn = Callable[..., tuple[int, str]]


@pytest.fixture
def micrornn(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Micrornn:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out or err

    return call


SMALL = ["--hidden-size", 4, "--batch-size", 2]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--backprop", "back"], "no way 'back' to propagate back; choose one of full, window[:K], K1,K2, online"),
        (["--backprop", "20,5"], "--backprop 20,5: it goes back through 5 time steps, fewer than the 20 of an update"),
        (["--backprop", "5,4000"], "nothing to go back 4,000 time steps through; the lanes have 150"),
        (["--backprop", "5,x"], "there is no way '5,x'"),
        (["--backprop", "5,"], "'' is no number of time steps"),
        (["--backprop", "0,5"], "'0' is no number of time steps; it must be 1 or more"),
        (["--backprop", "window:-3"], "'-3' is no number of time steps"),
        (["--backprop", "online:3"], "online takes nothing; write online"),
        (["--backprop", "grow:50-1"], "windows grow, and 50 is more than 1; write grow:1-50"),
        (["--backprop", "grow:10"], "grow from how many time steps to how many? As in grow:1-50"),
        (["--backprop", "grow:1-50:evry=3"], "grow has no option 'evry'; it has: every, bias"),
        (["--backprop", "grow:1-50:bias=-1"], "bias is '-1'; it must be a number above 0"),
        (["--backprop", "grow:1-50:bias=nan"], "bias is 'nan'; it must be a number above 0"),
        (["--backprop", "5,900000000"], "nothing to go back 900,000,000 time steps through; the lanes have 150"),
        (["--backprop", "grow:1-900"], "windows cannot grow to 900 time steps; the lanes have 151"),
        (["--backprop", "random:1.5"], "P, how likely a cut is, lies between 0 and 1, as in random:0.5"),
        (["--backprop", "random"], "P, how likely a cut is"),
        (["--backprop", "rtrl", "--hidden-size", 500], "1,132,000 parameters acts on 1,000 states in 2 lanes: 9.1 GB"),
        (["--backprop", "uoro", "--clip-message", 1], "does not go with --clip-message"),
        (["--backprop", "online", "--num-steps", 20], "takes batches of 1 time step, and --num-steps is 20"),
        (["--backprop", "online", "--num-steps", 32], "goes with --num-steps 1, and it was to be 32; leave"),
        (["--backprop", "stateless", "--state", "carried"], "goes with --state fresh, and it was to be carried"),
        (["--backprop", "2,6", "--state", "fresh"], "goes on where the last batch ended; leave --state fresh out"),
        (["--backprop", "2,6", "--watch-gradients", 3], "--watch-gradients needs --backprop window, not 2,6"),
        (["--backprop", "2,6", "--memory-budget", "9GB"], "--memory-budget needs --backprop window or full, not 2,6"),
        (["--backprop", "random:0.5", "--lines"], "with --lines each line is a sequence of its own"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line_or_two(arguments: list[Any], words: str, micrornn: Micrornn) -> None:
    code, err = micrornn("train", "text.txt", *SMALL, *arguments)
    assert code in (Exit.USAGE, Exit.DATA) and words in " ".join(err.split()), err
    assert "Traceback" not in err and len(err.splitlines()) <= 5 and not Path("runs").exists()


def test_other_tasks_and_other_places_of_the_setting(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch) -> None:
    code, err = micrornn("train", "adding", *SMALL, "--backprop", "2,6")
    assert code == Exit.USAGE and "each batch is a whole sequence; there is --backprop full" in " ".join(err.split())
    for task, backprop in (("digits", "online"), ("parity", "stateless")):
        code, err = micrornn("train", task, "--backprop", backprop)
        words = f"those of the task {task} are read as they are; there is --backprop full"
        assert code == Exit.USAGE and words in " ".join(err.split())
    given = [*SMALL, "--num-updates", 2, "--json"]
    assert micrornn("train", "adding", *given, "--num-steps", 4, "--backprop", "full", "--out", "adding")[0] == 0
    monkeypatch.setenv("MICRORNN_BACKPROP", "2,6")
    assert micrornn("train", "text.txt", *given, "--out", "one")[0] == 0
    config = Path("one/config.toml").read_text()
    assert 'backprop = "2,6"' in config and "num_steps = 2\n" in config
    monkeypatch.setenv("MICRORNN_BACKPROP", "grow:5-1")
    code, err = micrornn("train", "text.txt", *given)
    assert code == Exit.USAGE and "MICRORNN_BACKPROP" in err
    monkeypatch.delenv("MICRORNN_BACKPROP")
    code, out = micrornn("train", "--config", "one/config.toml", "--json", "--out", "two")
    assert code == 0 and [json.loads(line).get("tokens") for line in out.splitlines()[:2]] == [4, 8]
    code, out = micrornn("inspect", "truncation", "one", "--windows", 4, "--seq-len", 16, "--batch-size", 2, "--json")
    assert code == 0 and "2,4" in json.loads(out)["axes"]["backprop"]["places"]
    np.testing.assert_array_equal(*(load(f"{n}/last.ckpt")[0]["parameter/decoder.bias"] for n in ("one", "two")))
