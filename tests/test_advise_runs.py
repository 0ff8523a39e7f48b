"""Advice by measurement: what is trained and measured for it, and `micrornn advise` as a whole."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import made_up
from test_advise import chain, lagged

from micrornn import advise as module
from micrornn import brief
from micrornn.advise import advise
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError, DataError
from micrornn.inspect.advice import Point
from micrornn.inspect.bias import measure, pieces
from micrornn.inspect.subject import Subject
from micrornn.train import Training
from micrornn_cli.exits import Exit
from micrornn_cli.main import main


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little of everything as does."""
    for owner, values in {
        brief: {"EARLY": 3, "LATER": 8, "WARMUP": 2, "LOOK": 2},
        module: {"SEQ_LEN": 48, "WINDOWS": 4, "NOISE_WINDOWS": (4, 6), "NOISE_LANES": 4, "BATCH_SIZES": (2, 4, 8),
                 "ROUNDS": 1, "SLICE": 0.001},
    }.items():  # fmt: skip
        for name, value in values.items():
            monkeypatch.setattr(owner, name, value)


@pytest.mark.usefixtures("quick")
def test_it_measures_what_inspect_measures_and_changes_no_training(tmp_path: Path) -> None:
    run = made_up("healthy", tmp_path, hidden_size=8, num_steps=8)
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    config = Config(**{name: value for name, value in run.config.items() if name not in ("task", "files")})
    training = Training(config, tokens)
    heard: list[tuple[str, int, int]] = []
    before = training.model.flat.data.copy()
    found = advise(config, tokens, 3600, lambda *what: heard.append(what), trained=Point(0, training.model))
    np.testing.assert_array_equal(training.model.flat.data, before)
    assert list(dict.fromkeys(what for what, _, _ in heard)) == ["truncation", "noise", "timing updates"]
    assert all(0 < done <= total for _, done, total in heard)

    ids = training.task.lanes.tokens
    subject = Subject(training.model, {}, training.task.material(lambda **_: training.task))
    lanes = (len(ids) - 1) // 48 // 4
    wanted = measure(training.model, pieces(list(subject.windows(48, 4, lanes)), lanes // 16), module.STEPS[:8])
    assert found.axes["K"].places == (2, 3, 4, 6, 8, 12, 16, 24)
    np.testing.assert_allclose(found["bias"][1], wanted.value, rtol=1e-4)
    assert found.axes["point"].places == ("seed 0, 0 updates",) and found.axes["batch_size"].places == (2, 4, 8)


@pytest.mark.usefixtures("quick")
def test_it_trains_by_itself_and_looks_early_and_later_with_two_seeds(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    tokens = tokenize([text], "char", tmp_path / "cache")
    config = Config(hidden_size=8, embedding_size=4, batch_size=4, num_steps=8, num_updates=2)
    points = [f"seed {seed}, {updates} updates" for seed in (0, 1) for updates in (4, 8)]
    assert list(advise(config, tokens).axes["point"].places) == points
    found = advise(config, tokens, 1e-6)  # no time, and yet an answer
    assert found.axes["point"].places == ("seed 0, 2 updates", "seed 1, 2 updates")


ALPHABET = "abcdefgh([)]"


@pytest.mark.parametrize("kind, low, high", [("lag", 20, 192), ("letters", 2, 8), ("chain", 2, 8)])
def test_texts_of_which_it_is_known_how_far_one_must_look_back(
    kind: str, low: int, high: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bracket closed 20 letters on, independent letters, and an order-1 chain, from start to end."""
    for name, value in {"BATCH_SIZES": (4, 8), "ROUNDS": 1, "SLICE": 0.001, "SEQ_LEN": 96}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(brief, "LATER", 300)
    rng = np.random.default_rng(5)
    made = {"lag": lambda: lagged(20, 6000, rng), "letters": lambda: rng.integers(0, 8, 6000),
            "chain": lambda: chain(6000, rng)}[kind]()  # fmt: skip
    (tmp_path / "text.txt").write_text("".join(ALPHABET[n] for n in made))
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    found = advise(Config(hidden_size=12, embedding_size=6, batch_size=8, num_steps=16, lr=0.02), tokens, 60)
    assert low <= found.numbers["num_steps"].value <= high


def test_a_text_that_is_learned_by_heart_is_measured_before_that(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "text.txt").write_text("".join("abcdefgh"[n] for n in rng.integers(0, 8, 700)))
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    config = brief.fitted(Config(hidden_size=32, embedding_size=8, batch_size=4, num_steps=16, lr=0.02), len(tokens))
    found = brief.train(config, lambda config: Training(config, tokens), lambda: 1.0, lambda done, of: None)
    assert found.turned and not found.inside and found.best_epochs > 1
    assert max(point.updates for point in found.points) == found.best_updates < brief.LATER
    assert all(point.updates >= 10 for point in found.points)  # not within the warm-up, which has become that short


@pytest.mark.parametrize(
    "tokens, batch_size, num_steps",
    [(10**6, 32, 32), (4000, 32, 32), (950, 8, 16), (190, 4, 8), (100, 4, 4)],
)
def test_sizes_to_start_from_fit_the_text(tokens: int, batch_size: int, num_steps: int) -> None:
    fitted = brief.fitted(Config(), tokens)
    assert 4 * fitted.batch_size * fitted.num_steps <= tokens
    assert fitted.batch_size <= batch_size and fitted.num_steps <= num_steps
    assert fitted.val_fraction * tokens >= min(500, 0.2 * tokens) - 1


@pytest.mark.parametrize(
    "settings, error, words",
    [({"tolerance": 1.0}, ConfigError, "bias"), ({"seconds": 0}, ConfigError, "seconds")],
)
def test_what_makes_no_sense_is_refused(
    settings: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        advise(Config(), None, **settings)  # type: ignore[arg-type]


def test_a_text_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcde" * 10)
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    with pytest.raises(DataError, match="the text has 50 tokens; to measure, 82 are needed"):
        advise(Config(hidden_size=4, batch_size=2, num_steps=4), tokens, 1)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("length", [90, 300, 1100])
def test_a_short_text_gets_advice_that_fits_it(length: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text(("a bird in the hand is worth two in the bush. " * 30)[:length])
    flags = ["--hidden-size", "8", "--embedding-size", "4"]
    assert call(str(tmp_path / "text.txt"), *flags, "--json") == Exit.OK
    found = json.loads(capsys.readouterr().out)
    assert "too short for 32 lanes of 32 time steps" in found["verdicts"][0]["words"]
    with pytest.raises(SystemExit) as end:
        main([*shlex.split(found["command"])[1:], "--num-updates", "2", "--out", str(tmp_path / "run")])
    assert not end.value.code


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["advise", *arguments])
    return int(end.value.code or 0)


@pytest.mark.usefixtures("quick")
def test_the_command_ends_in_one_that_can_be_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = made_up("healthy", tmp_path, hidden_size=8, num_steps=8)
    text = tmp_path / "text.txt"
    flags = ["--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--num-steps", "8"]
    for given, start in (
        ([str(text), *flags], f"train {text} --hidden-size 8 --embedding-size 4"),
        ([str(run.path)], f"train --config {run.path / 'config.toml'}"),
    ):
        assert call(*given) == Exit.OK
        screen = capsys.readouterr().out
        assert len(screen.splitlines()) <= 42
        assert re.search(r"num_steps \d+: windows of", screen) and re.search(r"batch_size \d+: the noise", screen)
        command = screen.splitlines()[-1].strip()
        assert re.search(f"{re.escape(start)} --batch-size \\d+ --num-steps \\d+ --lr [\\d.e-]+$", command), command
        assert call(*given, "--json") == Exit.OK
        found = json.loads(capsys.readouterr().out)
        words = shlex.split(found["command"])[1:]
        with pytest.raises(SystemExit) as end:
            main([*words, "--num-updates", "1", "--out", str(tmp_path / "out" / words[1].strip("-").split("/")[-1])])
        assert not end.value.code
        capsys.readouterr()


@pytest.mark.usefixtures("quick")
def test_the_text_of_a_run_may_lie_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, text = made_up("healthy", tmp_path, hidden_size=8, num_steps=8), tmp_path / "text.txt"
    moved = str(text.rename(tmp_path / "moved.txt"))
    assert call(str(run.path)) == Exit.DATA
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 2 and error.endswith(f"micrornn advise {run.path} FILES\n")
    assert call(str(run.path), moved, "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["command"].startswith(f"micrornn train {moved} --config ")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["nowhere.txt"], Exit.DATA, "no such file"),
        (["RUN", "--lr", "0.1"], Exit.USAGE, "leave --lr out"),
        (["TEXT", "RUN"], Exit.USAGE, "it stands first"),
        (["", "RUN"], Exit.USAGE, "it stands first"),
        (["RUN", "RUN"], Exit.USAGE, "one RUN at a time"),
        (["RUN", "OTHER"], Exit.DATA, "another text"),
        (["RUN", "nowhere.txt"], Exit.DATA, "no such file"),
        (["RUN", "--save", "fig.pdf"], Exit.USAGE, ".png or an .svg"),
        (["TEXT", "--clip-message", "1", "--batch-size", "4", "--num-steps", "8"], Exit.USAGE, "clip_message=0"),
        (["TEXT", "--lr", "1e8", "--batch-size", "4", "--num-steps", "8", "--clip-norm", "0",
          "--cell", "rnn_relu"], Exit.DIVERGED, "lower --lr"),
    ],
)  # fmt: skip
def test_mistakes(
    arguments: list[str], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_up("healthy", tmp_path, hidden_size=8, num_steps=8)
    places = {"RUN": str(run.path), "TEXT": str(tmp_path / "text.txt"), "OTHER": str(tmp_path / "other.txt")}
    Path(places["OTHER"]).write_text("another text\n" * 300)
    assert call(*(places.get(argument, argument) for argument in arguments)) == code
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
