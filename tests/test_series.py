"""Series: what is read and said of them, what they are judged by, and what is said of tables that will not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from micrornn.checkpoint import load
from micrornn.data.forecasts import chance, compare_directions, compare_values, errors, wilson
from micrornn.data.series import Scaling, ahead, naive, parts
from micrornn.errors import CheckpointError, DataError
from micrornn.evaluate import losses
from micrornn.tasks.lookahead import Lookahead
from micrornn.tasks.series import Series, SeriesSettings
from micrornn_cli.exits import Exit

Micrornn = Callable[..., tuple[int, str, str]]
RNG = np.random.default_rng(0)
SMALL = ["--hidden-size", 8, "--batch-size", 4, "--num-steps", 6, "--lr", 0.02, "--schedule", "constant"]


def table(path: str, rows: np.ndarray, names: str = "day,a,b") -> Path:
    lines = [
        ",".join([f"{1900 + n // 12}-{n % 12 + 1:02}", *(f"{value:.4f}" for value in row)])
        for n, row in enumerate(rows)
    ]
    Path(path).write_text("\n".join([names, *lines]) + "\n")
    return Path(path)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("difference", [0, 1, 4])
def test_what_is_said_of_a_series_gives_its_values_back(log: bool, difference: int) -> None:
    values = np.exp(RNG.normal(size=(50, 3)))
    scaling = Scaling.fitted(values[:30], log, difference, 2, 6)
    at = np.arange(difference, 44)
    said = scaling.said(values[:, :2], at)
    assert said.shape == (len(at), 6, 2) and scaling.read(values).shape == (50 - difference, 3)
    np.testing.assert_allclose(scaling.values(said, values[:, :2], at), ahead(values[:, :2], at, 6), rtol=1e-9)
    np.testing.assert_allclose(scaling.scaled(ahead(values[:, :2], at, 6), values[:, :2], at), said, atol=1e-9)
    learned = scaling.read(values)[: 30 - difference]
    np.testing.assert_allclose([learned.mean(axis=0), learned.std(axis=0)], [[0] * 3, [1] * 3], atol=1e-9)
    other = np.concatenate([values[:30], 99 * values[30:]])
    assert Scaling.fitted(other[:30], log, difference, 2, 6).to_dict() == scaling.to_dict()
    assert Scaling.from_dict(json.loads(json.dumps(scaling.to_dict()))).to_dict() == scaling.to_dict()


def test_naive_forecasts_and_errors_by_hand() -> None:
    values = np.arange(10.0)[:, None]
    assert naive(values, np.array([4, 7]), 3)[:, :, 0].tolist() == [[4] * 3, [7] * 3]
    assert naive(values, np.array([4]), 5, season=2)[0, :, 0].tolist() == [3, 4, 3, 4, 3]
    found = errors(np.array([[1.0, 2.0]]), np.array([[2.0, 5.0]]), 4.0)
    assert (found["mae"], found["mase"]) == (2, 0.5) and found["rmse"] == pytest.approx(5**0.5)
    assert [round(edge, 4) for edge in wilson(8, 10)] == [0.4902, 0.9433]
    assert parts(100, (0.2, 0.1)) == [70, 90, 100] and parts(10, (0.0, 0.0)) == [10, 10, 10]
    noise = RNG.random(200)
    assert chance(noise, noise + 0.5 + RNG.normal(size=200)) < 0.01 and chance(noise, noise) == 1


def test_the_verdict_is_that_of_the_best_plain_forecast() -> None:
    truth = RNG.normal(size=(300, 1, 2))
    plain = {"naive": truth + RNG.normal(size=truth.shape), "seasonal": truth + 0.2 * RNG.normal(size=truth.shape)}
    ours = np.concatenate([truth[:, :, :1] + 0.05, plain["seasonal"][:, :, 1:] + 0.01], axis=2)
    found = compare_values([" a", " b"], ours, truth, plain, [1.0, 1.0])
    assert "beats the seasonal forecast of a" in found.verdict and not found.better
    assert "beat the seasonal forecast of b" in found.verdict or "hardly beats" in found.verdict
    assert (
        found.baselines["mae a"][0] == "seasonal" and found.plain["naive b"]["mae"] > found.plain["seasonal b"]["mae"]
    )
    up = RNG.random((400, 1)) < 0.7
    for said, words in (
        (up, "the network beats always up"),
        (np.ones_like(up), "does not beat always up"),
        (up ^ (RNG.random(up.shape) < 0.27), "hardly beats always up"),
    ):
        assert words in compare_directions([""], said, up, 1).verdict
    sure, overlapping = (compare_directions([""], up, up, horizon).interval for horizon in (1, 12))
    assert overlapping[0] < sure[0] < 1 and sure[1] == pytest.approx(1) == overlapping[1]


def test_where_no_forecast_is_better_none_is_said_to_be() -> None:
    """Errors that differ by chance alone, as alike in time as those of overlapping forecasts, and ever so few."""
    rng = np.random.default_rng(0)
    for n, horizon in ((1, 1), (3, 1), (12, 1), (12, 12), (60, 1), (60, 12), (60, 24), (200, 24)):
        differences = rng.normal(size=(150, n + horizon)).cumsum(axis=1)
        differences = differences[:, horizon:] - differences[:, :-horizon]
        told = np.mean([row.mean() > 0 and chance(np.zeros(n), row, horizon) <= 0.05 for row in differences])
        assert told < 0.09, (n, horizon, told)
    rises = np.ones((60, 1), bool)  # where it had fallen before: to say that it rises takes no network
    assert "does not beat always up" in compare_directions([""], rises, rises, 1).verdict


def test_what_never_changes_where_it_is_learned_from_is_refused(tmp_path: Path) -> None:
    begins = np.r_[np.full(250, 7.5), RNG.random(50)]
    path, settings = table(str(tmp_path / "t.csv"), np.stack([RNG.random(300), begins], axis=1)), SeriesSettings()
    with pytest.raises(DataError, match=r"b stays 7.5 in all of the 210 rows .*nothing to learn of it"):
        Series.prepare(SeriesSettings(target="a,b", num_steps=4, batch_size=4), [path])
    for values in (begins[:99], 1e-160 * RNG.random(99), 1e9 + 1e-6 * RNG.random(99)):
        with pytest.raises(DataError, match=r"y stays .* in all of the 99 rows"):
            Lookahead.fitted(settings, ["y"], values[:, None])


def test_what_is_judged_needs_no_future_and_no_border_changes_it(tmp_path: Path) -> None:
    values = RNG.normal(size=(120, 2)).cumsum(axis=0)
    path = table(str(tmp_path / "t.csv"), values)
    given = {"target": "b", "inputs": "a", "horizon": 3, "hidden_size": 5, "batch_size": 4, "val_fraction": 0.25}
    found = []
    for num_steps in (4, 7):
        task = Series.prepare(SeriesSettings(num_steps=num_steps, difference=1, **given), [path])  # type: ignore[arg-type]
        model, held_out = task.network(), task.validation()
        model.train(False)
        assert held_out is not None and held_out.at.tolist() == list(range(71, 99))  # 72..101, of 120 rows
        found.append(task.outputs(model, held_out))
        for _ in range(2):  # a mean over what counts, whatever the windows
            total = np.mean(list(losses(model, held_out)))
            said = task.job.scaling.said(task.data.values[:, :1], held_out.at).reshape(28, -1)
            assert total == pytest.approx(np.square(found[-1][1] - said).mean(), rel=1e-5)
    means = [task.data.values[: t + 1, 0].mean() for t in held_out.at]
    np.testing.assert_allclose(task.job.plain(held_out)["mean so far"][:, -1, 0], means)
    meta = json.loads(json.dumps(task.meta()))
    again = Series.from_meta(task.config, meta)
    assert again.meta() == task.meta() and again.network().flat.data.shape == model.flat.data.shape
    for name, part, value in (
        ("scaling", "sd", [1.0]),
        ("known", "up", [0.5, 0.5]),
        ("columns", "targets", 3),
        ("scaling", "mean", ["a", 2]),
        ("scaling", "horizon", 2),
    ):
        with pytest.raises(CheckpointError, match=f"{name}:|{name}.* do not fit"):
            Series.from_meta(task.config, meta | {name: meta[name] | {part: value}})
    early, late = (
        task.job._read(rows, np.arange(1, 60)) for rows in (values, np.concatenate([values[:60], values[60:] * 9]))
    )
    np.testing.assert_array_equal(early, late)


def test_a_season_is_learned_and_said_to_be(micrornn: Micrornn) -> None:
    t = np.arange(360)
    season = np.stack([5 * np.sin(t * np.pi / 6) * (1 + np.cos(t / 9)), RNG.normal(size=360).cumsum()], axis=1)
    table("season.csv", season)
    given = ["--season", 12, "--num-updates", 400, "--val-every", 100, *SMALL]
    assert micrornn("train", "series", "season.csv", "--target", "a", *given, "--out", "good")[0] == 0
    found = json.loads(micrornn("eval", "good", "--json")[1])
    assert found["beats_baseline"] and found["mae"] < 0.5 * min(plain["mae"] for plain in found["plain"].values())
    told = " ".join(micrornn("eval", "good")[1].split())
    assert "the network beats the" in told and "seasonal naive with drift" in told and "lines 308 to 361" in told
    Path("short.csv").write_text("\n".join(Path("season.csv").read_text().splitlines()[:100]))
    assert json.loads(micrornn("eval", "good", "short.csv", "--json")[1])["forecasts"] == 87
    assert micrornn("train", "series", "season.csv", "--target", "b", *given, "--out", "poor")[0] == 0
    found = json.loads(micrornn("eval", "poor", "--json")[1])
    assert not found["beats_baseline"] and "beat" in found["verdict"]

    rows = micrornn("predict", "good", "season.csv", "--horizon", 3)[1].split()
    step = [json.loads(row) for row in micrornn("predict", "good", "season.csv", "--json")[1].splitlines()]
    assert len(rows) == 3 and rows[0] == step[-1]["answer"] and step[-1]["time"] == "1929-12" and len(step) == 360
    assert float(rows[2]) == pytest.approx(5 * np.sin(362 * np.pi / 6) * (1 + np.cos(362 / 9)), abs=3)
    Path("alone.txt").write_text("\n".join(f"{value:.4f}" for value in season[:, 0]))
    assert micrornn("predict", "good", "alone.txt", "--horizon", 3)[1].split() == rows
    code, _, err = micrornn("eval", "good", "--save", "good.png")
    assert code == 0 or "pip install" in err


def test_directions_are_told_with_their_interval_and_confusion(micrornn: Micrornn) -> None:
    table("price.csv", np.exp(0.1 * RNG.normal(size=(300, 1)).cumsum(axis=0)), "day,a")
    given = ["--predict", "direction", "--log", "--difference", 1, "--num-updates", 60, *SMALL, "--out", "run"]
    assert micrornn("train", "series", "price.csv", *given)[0] == 0
    found = json.loads(micrornn("eval", "run", "--json")[1])
    low, high = found["interval"]
    assert 0 < low < found["accuracy"] < high < 1 and found["confusion"]["labels"] == ["not-up", "up"]
    assert np.sum(found["confusion"]["counts"]) == found["forecasts"] and "always" in found["verdict"]
    Path("new.txt").write_text("1\n2\n1.5\n")
    rows = [json.loads(row) for row in micrornn("predict", "run", "new.txt", "--proba", "--json")[1].splitlines()]
    assert rows[0]["answer"] == "-" and rows[2]["answer"] == ("up" if rows[2]["probabilities"]["a"] > 0.5 else "not-up")
    for wrong, words in (
        ("1\n0\n", "new.txt:2: a is 0, which has no logarithm"),
        ("1\nx\n", "new.txt:2: a is 'x', wanted a number"),
        ("1\n1e35\n", "new.txt:2: a is 1e+35, and at most 1e+30 can be read"),
        ("1\n\nNA\n", "new.txt:3: a is missing"),
        ("1;2;3\n", "new.txt:1: 3 cells; wanted 1 (a), or the 2 columns"),
        ("day,b\n1990,2\n", "new.txt:1: there is no column 'a'; the first row names day, b"),
        ("x,y,z\n1,2,3\n", "new.txt:1: there is no column 'a'"),
    ):
        Path("new.txt").write_text(wrong)
        code, _, err = micrornn("predict", "run", "new.txt")
        assert code == Exit.DATA and words in err and len(err.splitlines()) == 1
    code, _, err = micrornn("predict", "run", "price.csv", "--horizon", 2)
    assert code == Exit.USAGE and "forecasts directions, and cannot continue a series" in err


T = ["--target", "a"]
ROWS = "".join(f"19{n:02},{n % 5}.5,{n}\n" for n in range(80))
TABLE = "day,a,b\n" + ROWS
MANY, BACK = TABLE.replace("1950,0.5", "1950,many"), TABLE.replace("1941", "1931")
SHORT = "day,a\n" + ROWS


@pytest.mark.parametrize(
    "text, flags, words",
    [
        (SHORT, T, "t.csv:1: the header names 2 columns, and the rows hold 3 cells"),
        (SHORT, T, "choose columns by position from 1, as in --target 3; the first row is 1900"),
        (TABLE, ["--target", "2", "--time", "1"], ""),
        (TABLE, [], "t.csv holds 3 columns that may be numbers; which is to be forecast? choose with --target"),
        (TABLE, ["--target", "c"], "--target: there is no column 'c'; the table has 1 day, 2 a, 3 b"),
        (TABLE, [*T, "--inputs", "4"], "--inputs: there is no column '4'"),
        (TABLE, ["--target", "day", "--time", "day"], "day tells the time of a row"),
        (TABLE.replace("1941", "1940"), [*T, "--time", "day"], "t.csv:43: 1940 comes twice"),
        (BACK, [*T, "--time", "day"], "t.csv:43: 1931 comes after 1940"),
        (BACK, [*T, "--time", "none"], ""),
        (TABLE.replace("1950,0.5", "1950,"), T, "t.csv:52: a is missing; --missing skip"),
        (TABLE.replace("1950,0.5", "1950,-9.9"), [*T, "--missing-value", "-9.90"], "(-9.9)"),
        (MANY, T, "t.csv:52: a is 'many', wanted a number"),
        (MANY, [*T, "--skip-bad-rows"], ""),
        (TABLE.replace("1950,0.5,50", "1950"), T, "t.csv:52: 1 cell, where the header names 3"),
        (TABLE.replace("1.5", "1.5e300"), T, "t.csv:3: a is 1.5e+300, and at most 1e+30 can be read; leave such"),
        (TABLE.replace("1.5", "-1.5"), [*T, "--log"], "t.csv:3: a is -1.5, which has no logarithm"),
        (TABLE[:286], T, "15 time steps are there to learn from, too few for 4 lanes of 6"),
        (TABLE, [*T, "--horizon", "70"], "and --horizon, --difference and --season ask for"),
        (TABLE, [*T, "--horizon", "14"], "12 rows are too few to judge forecasts of 14 steps"),
        ("day,a,b\n", T, "t.csv holds the names of columns, and no row"),
        ("day,a\nx,y\n", [], "t.csv holds no column of numbers; its first row is x, y"),
        ("1990;1.234,5\n1991;1.234,6\n", ["--decimal", ","], "t.csv holds 2 columns that may be numbers"),
        (TABLE, [*T, "--delimiter", "colon"], "--delimiter is 'colon'; it must be auto, tab"),
        (TABLE, [*T, "--bidirectional"], "--bidirectional is no setting of the task series"),
    ],
)  # fmt: skip
def test_tables_that_will_not_do(text: str, flags: list[str], words: str, micrornn: Micrornn) -> None:
    """In a line or two, with file and line; where no words are given, it will do."""
    Path("t.csv").write_text(text)
    code, _, err = micrornn("train", "series", "t.csv", *flags, *SMALL, "--num-updates", 2, "--out", "run")
    if not words:
        assert code == 0 and load("run/last.ckpt")[1]["updates"] == 2, err
        assert (("left out" in err) == ("--skip-bad-rows" in flags) and "--skip" not in flags) or "t.csv:52" in err
        return
    assert code in (Exit.DATA, Exit.USAGE) and words in " ".join(err.split()), err
    assert len(err.splitlines()) <= 2 and not Path("run").exists()
