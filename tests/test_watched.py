"""Gradients watched while a run trains: nothing changes by it, each row is written once, and `flow` shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Micrornn
from made_up_runs import TEXT, made_up

from micrornn.checkpoint import RunFolder
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import CheckpointError
from micrornn.inspect.credit import credit
from micrornn.inspect.flow import flow
from micrornn.inspect.flow import panels as flow_panels
from micrornn.inspect.jacobian import jacobian
from micrornn.inspect.noise import noise
from micrornn.inspect.nonfinite import nonfinite
from micrornn.inspect.states import states as states_over_text
from micrornn.inspect.truncation import truncation
from micrornn.inspect.watched import flow_over_training
from micrornn.inspect.weights import weights
from micrornn.inspect.window import Window
from micrornn.train import Training, run
from micrornn_cli.exits import Exit

SMALL = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "num_steps": 16, "dropout": 0.2, "val_every": 7}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("text")
    (folder / "text.txt").write_text(TEXT)
    return tokenize([folder / "text.txt"], "char", folder / "cache")


@pytest.mark.parametrize("cell", ("rnn", "rnn_relu", "lstm", "gru"))
@pytest.mark.parametrize("loss", ["mean", "sum"])
def test_watching_changes_nothing_and_sees_what_flow_sees(tokens, tmp_path, cell, loss):
    config = Config(cell=cell, num_layers=2, num_updates=20, loss=loss, **SMALL)
    plain, watched = Training(config, tokens), Training(config, tokens)
    folder = RunFolder.create(tmp_path / "run", {})
    watched.watch(10)
    losses = [report.loss for report in run(plain)]
    assert [report.loss for report in run(watched, folder)] == losses
    one, two = plain.snapshot()[0], watched.snapshot()[0]
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)
    found = flow_over_training(folder.path)
    assert found.axes["update"].places == (1, 10, 20)
    assert found["loss"] == pytest.approx([losses[n] for n in (0, 9, 19)])
    assert [v.kind for v in found.verdicts] == ["healthy"] and flow_panels(found)

    fresh = Training(config, tokens)  # the first update again, looked at from outside
    fresh.model.draw_dropout(0)
    seen = flow(fresh.model, [Window(*fresh.task.lanes.window(0), None)])
    for name in ("dh", "dx", "dgates", *(["dc"] if cell == "lstm" else [])):
        assert found[name][0] == pytest.approx(seen[name], rel=1e-3)
    for name in ("low", "high"):
        assert found[name][0] == pytest.approx(seen[name].mean(axis=2), abs=1e-3)


MEASURES = (flow, weights, credit, truncation, jacobian, noise, nonfinite)


@pytest.mark.parametrize("granularity", ["sequence", "cell"])
def test_looking_between_updates_changes_nothing(tokens, granularity):
    """Every measure, at the very model that trains: the same losses and the same weights, to the bit."""
    config = Config(num_layers=2, num_updates=9, granularity=granularity, **SMALL)
    plain, seen = Training(config, tokens), Training(config, tokens)
    losses = [report.loss for report in run(plain)]
    ids = tokens.vocab.encode(TEXT[:200])
    looks = [lambda model, _: states_over_text(model, tokens.vocab, ids), *MEASURES]
    for report, loss in zip(run(seen), losses, strict=True):
        assert report.loss == loss
        if looks:
            looks.pop()(seen.model, [Window(*seen.task.lanes.window(n), None) for n in (1, 3)])
    assert not looks
    one, two = plain.snapshot()[0], seen.snapshot()[0]
    assert all(one[name].tobytes() == two[name].tobytes() for name in one)


def test_an_exploding_run_is_seen_while_it_trains(tmp_path):
    made = made_up("exploding", tmp_path, lr=1e-9)
    (tmp_path / "text.txt").write_text(TEXT)
    training = Training(Config(**{k: v for k, v in made.config.items() if k not in ("task", "files")}),
                        tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache"))  # fmt: skip
    training.restore(*made.load_last())
    training.watch(2)
    for _ in range(4):
        training.update()
        if training.pending.gradients:
            made.gradients.append(training.pending.gradients)
    (verdict,) = flow_over_training(made.path).verdicts
    assert verdict.kind == "exploding" and verdict.numbers["growth"] > 30


def test_a_watched_run_goes_on_being_watched_and_writes_each_row_once(micrornn: Micrornn, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    out = tmp_path / "run"
    code, _, err = micrornn("train", tmp_path / "text.txt", *flags, "--num-updates", 10, "--out", out,
                         "--watch-gradients", "every=4", "--json")  # fmt: skip
    assert code == 0, err
    folder = RunFolder.open(out)
    whole = [row["update"] for row in folder.gradients.read()]
    assert whole == [1, 4, 8]
    arrays, meta = folder.load_last()
    folder.save(arrays, meta | {"updates": 6}, best=False)  # as if it had been killed after update 7
    with open(folder.gradients.path, "a") as file:
        file.write('{"update": 12, "layers": {"ls')  # a row that the kill tore
    code, _, err = micrornn("train", "--resume", out, "--num-updates", 14, "--json")
    assert code == 0, err
    assert [row["update"] for row in folder.gradients.read()] == [1, 4, 8, 12]
    assert [row["update"] for row in folder.metrics()] == list(range(1, 15))
    code, _, err = micrornn("inspect", "flow", out, "--html", tmp_path / "page.html")
    assert code == 0 and '<section id="flow_over_training">' in (tmp_path / "page.html").read_text()
    code, _, err = micrornn("train", "--resume", out, "--num-updates", 18, "--watch-gradients", 0, "--json")
    assert code == 0 and [row["update"] for row in folder.gradients.read()] == [1, 4, 8, 12]


def test_watching_amiss_is_told_in_two_lines(micrornn: Micrornn, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    start = ("train", tmp_path / "text.txt", "--out", tmp_path / "run")
    for value, words in [("often", "every=50"), ("-3", "0 or more"), ("every=", "every=50"), ("9" * 5000, "every=50")]:
        code, _, err = micrornn(*start, "--watch-gradients", value)
        assert code == Exit.USAGE and words in err and len(err) < 400
    code, _, err = micrornn(*start, "--watch-gradients", 5, "--granularity", "cell")
    assert code == Exit.USAGE and "needs --granularity sequence, not cell" in err
    assert not (tmp_path / "run").exists()
    path = made_up("healthy", tmp_path / "made").path
    with pytest.raises(CheckpointError, match="no gradients were watched"):
        flow_over_training(path)
    for broken in (
        {"update": 1},
        {"update": 1, "layers": {}},
        {"update": 1, "every": 1, "loss": 1, "gates": [], "layers": {}},
        {"update": 1, "every": 1, "loss": 10**400, "gates": [], "layers": {"a": {"dh": [[1]]}}},
    ):
        rows = RunFolder.open(path).gradients
        rows.path.write_text(json.dumps(broken) + "\n")
        with pytest.raises(CheckpointError, match=r"gradients.jsonl:(1: every is missing| not what `watch)"):
            flow_over_training(path)
    rows.path.unlink()
