"""Advice follows from what is measured: made-up measurements with a known answer, and `micrornn advise` as a whole."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_runs import made_up

from micrornn import advise as module
from micrornn.advise import advise
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError, DataError
from micrornn.inspect.advice import Measured, advice, least_steps, scaled_lr, steps_by, times
from micrornn.inspect.cuts import Cuts
from micrornn.inspect.subject import Subject
from micrornn.report.advise import panels
from micrornn.report.panels import Lines, Rows
from micrornn.train import Training
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

SIZES = np.array([4, 8, 16, 32, 64, 128, 256])


# --- what follows from the numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bias, wanted",
    [
        ([0.5, 0.2, 0.1, 0.05], 8),
        ([0.5, 0.09, 0.11, 0.05], 16),  # from there on, not there alone
        ([0.01, 0.01, 0.01, 0.01], 2),
        ([0.5, 0.4, 0.3, 0.2], None),
        ([0.5, 0.01, 0.01, math.nan], None),
    ],
)
def test_the_smallest_num_steps_that_can_be_borne(bias: list[float], wanted: int | None) -> None:
    assert least_steps((2, 4, 8, 16), np.array(bias), 0.1) == wanted


def test_the_worst_of_early_and_later_decides_and_few_windows_leave_a_range() -> None:
    steps = (2, 4, 8, 16)
    mean = np.array([[0.3, 0.05, 0.04, 0.01], [0.4, 0.2, 0.095, 0.02]])
    spread = np.array([-0.02, 0.02, np.nan])
    assert steps_by(mean[:, :, None] + spread, steps, 0.1) == (8, 8, 16)
    assert steps_by(mean[:1, :, None] + 0 * spread, steps, 0.1) == (4, 4, 4)


def test_batch_size_is_where_updates_times_seconds_are_least() -> None:
    """An update that takes a + b N is best at N = sqrt(a B / b); the time there is known too."""
    a, b, scale = 0.004, 0.0005, 128.0
    relative = times(np.array([scale]), SIZES, a + b * SIZES)
    assert SIZES[relative.argmin()] == 32 == math.sqrt(a * scale / b)
    wanted = (1 + scale / 64) * (a + 64 * b) / ((1 + scale / 32) * (a + 32 * b))
    assert relative[SIZES == 64] == pytest.approx(wanted)
    # early and later count alike: updates are linear in the noise scale
    np.testing.assert_allclose(relative, times(np.array([56, 200]), SIZES, a + b * SIZES))
    # all noise: as many tokens per second as can be had. No noise: the quickest update
    np.testing.assert_allclose(times(np.array([math.inf, 5]), SIZES, 0.001 * SIZES), 1.0)
    assert SIZES[times(np.array([0.0]), SIZES, a + b * SIZES).argmin()] == 4


@pytest.mark.parametrize(
    "optimizer, scale, wanted",
    [
        ("sgd", math.inf, 0.4), ("momentum:mu=0.8", 1e12, 0.4), ("sgd", 0.0, 0.1), ("sgd", 100.0, 0.16),
        ("adam", math.inf, 0.2), ("rmsprop:decay=0.9", 1e12, 0.2), ("adamw", 0.0, 0.1),
    ],
)  # fmt: skip
def test_lr_follows_the_size_of_a_batch_as_far_as_noise_is_what_limits_it(
    optimizer: str, scale: float, wanted: float
) -> None:
    assert scaled_lr(0.1, optimizer, 100, 400, scale) == pytest.approx(wanted)


def measured(**changes: Any) -> Measured:
    """Two points, an answer of 4 time steps and 32 lanes, and an lr for batches of 8 x 4 tokens."""
    mean = np.array([[0.3, 0.08, 0.01], [0.3, 0.09, 0.02]])
    usual = Measured(
        updates=(50, 600), lr_left=1.0, steps=(2, 4, 8), bias=mean[:, :, None] + np.array([-0.001, 0.001]),
        cosine=1 - mean[:, :, None] * np.ones(2), tolerance=0.1,
        scale=np.array([[64.0, 60, 70], [192, 180, 200]]), num_steps=4, batch_sizes=SIZES,
        seconds=(0.004 + 0.0005 * SIZES)[:, None] * np.array([1, 0.95, 1.05]), own=(8, 4), own_seconds=0.008,
        lr=0.01, optimizer="adam",
    )  # fmt: skip
    return dataclasses.replace(usual, **changes)


def test_advice_says_what_was_measured() -> None:
    found = advice(measured(), {"run": "a model"})
    numbers = {name: number.value for name, number in found.numbers.items()}
    assert (numbers["num_steps"], numbers["batch_size"]) == (4, 32)
    assert numbers["lr"] == pytest.approx(0.01 * math.sqrt((1 + 16) / (1 + 4)), rel=0.03)
    assert numbers["gain"] == pytest.approx((1 + 16) * 0.008 / ((1 + 4) * 0.02))
    steps, sizes, lr = found.verdicts
    assert {verdict.kind for verdict in found.verdicts} == {"healthy"}
    assert "num_steps 4" in steps.words and "8.0 % after 50 updates, 9.0 % after 600" in steps.words
    assert "Half takes x 0.90" in steps.advice and "bends it by 30 %" in steps.advice
    assert "64 after 50 updates, 192 after 600" in sizes.words and "1 + 128 / N" in sizes.words
    half, twice = found["time"][[2, 4]]
    assert f"Half takes x {half:.2f} the time. Twice takes x {twice:.2f}" in sizes.advice
    assert "8 lanes of 4 time steps take x 1.36 the time" in lr.advice
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["numbers"]["batch_size"]["value"] == 32


@pytest.mark.parametrize(
    "changes, which, kind, words",
    [
        ({"tolerance": 0.005, "num_steps": 8}, 0, "biased", "None up to that stays below the 0.5 %"),
        ({"scale": np.array([[64.0, 2, math.inf], [192, 180, 200]])}, 1, "unsure", "of the noise scale: 4 to 256"),
        ({"scale": np.array([[64.0, 60, 70], [math.inf, 180, math.inf]])}, 1, "unsure", "More lanes were not tried"),
        ({"lr_left": 0.05}, 1, "unsure", "schedule had left 5.0 % of lr"),
        ({"seconds": (0.004 + 0.0005 * SIZES)[:, None] * np.array([1, 0.8, 1.4])}, 1, "healthy", "machine busy"),
    ],
)
def test_advice_says_how_sure_it_is(changes: dict[str, Any], which: int, kind: str, words: str) -> None:
    verdict = advice(measured(**changes), {}).verdicts[which]
    assert verdict.kind == kind and words in verdict.words + verdict.advice


def test_tables_show_the_neighbours_of_what_is_advised() -> None:
    steps, sizes, *curves = panels(advice(measured(), {}))
    assert isinstance(steps, Rows) and isinstance(sizes, Rows) and all(isinstance(curve, Lines) for curve in curves)
    assert [row[0] for row in steps.rows] == ["2", "4", "8"] and [row[-1] for row in steps.rows][1] == "← this"
    assert [row[0] for row in sizes.rows if row[-1]] == ["32"]
    assert sizes.rows[3][1:5] == ["6,400", "20 ms", "x 5", "x 1.00"]


# --- the measuring ------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little of everything as does."""
    for name, value in {
        "EARLY": 3, "LATER": 8, "SEQ_LEN": 48, "WINDOWS": 3, "LANES": 2, "NOISE_WINDOWS": (4, 6), "NOISE_LANES": 4,
        "BATCH_SIZES": (2, 4, 8), "ROUNDS": 1, "SLICE": 0.001,
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("quick")
def test_it_measures_what_inspect_measures_and_changes_no_training(tmp_path: Path) -> None:
    run = made_up("healthy", tmp_path, hidden_size=8, num_steps=8)
    tokens = tokenize([tmp_path / "text.txt"], "char", tmp_path / "cache")
    config = Config(**{name: value for name, value in run.config.items() if name not in ("task", "files")})
    training = Training(config, tokens)
    heard: list[tuple[str, int, int]] = []
    before = training.model.flat.data.copy()
    found = advise(config, tokens, 3600, lambda *what: heard.append(what), trained=module.Point(0, training.model))
    np.testing.assert_array_equal(training.model.flat.data, before)
    assert list(dict.fromkeys(what for what, _, _ in heard)) == ["truncation", "noise", "timing updates"]
    assert all(0 < done <= total for _, done, total in heard)

    ids = training.lanes.tokens
    subject = Subject(training.model, tokens.vocab, {}, ids, "", "")
    assert found.axes["K"].places == (2, 3, 4, 6, 8, 12, 16, 24)
    for at, window in enumerate(subject.windows(48, 3, 2)):
        cuts = Cuts(training.model, window)
        whole = cuts.flat()
        cuts.windows(4)
        off = np.linalg.norm(cuts.flat() - whole) / np.linalg.norm(whole)
        assert found["bias"][0, 2, at] == pytest.approx(off, rel=1e-4)
    assert found.axes["updates"].places == (0,) and found.axes["batch_size"].places == (2, 4, 8)


@pytest.mark.usefixtures("quick")
def test_it_trains_by_itself_and_looks_early_and_later(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    tokens = tokenize([text], "char", tmp_path / "cache")
    config = Config(hidden_size=8, embedding_size=4, batch_size=4, num_steps=8, num_updates=2)
    assert advise(config, tokens).axes["updates"].places == (3, 8)
    assert advise(config, tokens, 1e-6).axes["updates"].places == (2,)  # no time, and yet an answer


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
    with pytest.raises(DataError, match="to measure, 97 are needed"):
        advise(Config(hidden_size=4, batch_size=2, num_steps=4), tokens, 1)


# --- the command --------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["nowhere.txt"], Exit.DATA, "no such file"),
        (["RUN", "--lr", "0.1"], Exit.USAGE, "leave --lr away"),
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
    places = {"RUN": str(run.path), "TEXT": str(tmp_path / "text.txt")}
    assert call(*(places.get(argument, argument) for argument in arguments)) == code
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error
