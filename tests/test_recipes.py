"""Recipes: every file of the package is whole, short ones hold, and mistakes in one's own are told in a line."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn
from long_recipes import DATA, SHARED

from micrornn import recipes
from micrornn.checkpoint import RunFolder, load
from micrornn.recipes import Expectation
from micrornn.recipes.expected import look
from micrornn_cli.exits import Exit

SHORT = ["echo"]  # a few seconds each; what they hang on is learned within them

TINY = """
about = "a tiny one"
source = "nobody"
task = "echo"
minutes = 0.1
data = []
seeds = [3]

[settings]
hidden_size = 4
length = 300
num_updates = 12
val_every = 6

[variants.small]
[variants.large]
hidden_size = 8

[[expect]]
what = "val_loss"
at = "update 6"
low = 0.1
high = 3.0
from = "measured"
why = "wide"

[[expect]]
what = "accuracy"
at = "best"
variants = ["large"]
high = 0.0
from = "measured"
why = "never"
"""


@pytest.fixture
def micrornn(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch) -> Micrornn:
    monkeypatch.setenv("COLUMNS", "80")
    return micrornn


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_is_whole(name: str, micrornn: Micrornn) -> None:
    recipe = recipes.find(name)
    assert recipe.minutes and recipe.source and all(e.why for e in recipe.expect)
    code, out, err = micrornn("recipe", "show", name)
    assert (code, err) == (0, "") and recipe.expect[0].band in " ".join(out.split())
    told = json.loads(micrornn("recipe", "show", name, "--json")[1])
    assert told["settings"] == tomllib.loads((recipes.HERE / f"{name}.toml").read_text())["settings"]
    assert len(told["commands"]) == len(recipe.jobs())
    wants, count = len(recipe.data), 0 if recipe.data else 1
    code, _, err = micrornn("recipe", "check", name, *["file"] * count)
    refused = f"wants {wants} data file" if wants else "makes its own data; leave 'file' out"
    assert code == Exit.USAGE and refused in err and len(err.splitlines()) == 1


def test_the_list_fits_a_terminal(micrornn: Micrornn) -> None:
    code, out, _ = micrornn("recipe", "list")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    assert all(any(line.startswith(name) for line in out.splitlines()) for name in recipes.names())
    assert [row["name"] for row in json.loads(micrornn("recipe", "list", "--json")[1])["recipes"]] == recipes.names()


@pytest.mark.parametrize("name", SHORT)
def test_short_recipes_hold(name: str, micrornn: Micrornn) -> None:
    """Of one seed; the others: `make recipes`."""
    code, out, err = micrornn("recipe", "check", name, "--seed", 0)
    assert code == 0 and "1 of 1 as expected" in out, out + err


@pytest.mark.skipif(not SHARED.exists(), reason=f"no data in {SHARED}")
def test_a_short_recipe_on_a_file_holds(micrornn: Micrornn) -> None:
    (path,) = DATA["sp500-direction"]
    code, out, err = micrornn("recipe", "check", "sp500-direction", SHARED / path, "--seed", 1)
    assert code == 0 and "1 of 1 as expected" in out, out + err


def shrunk(name: str, dtype: str = "float32") -> str:
    """A recipe with fewer units and epochs, in a file of its own: all else is as it is."""
    text = (recipes.HERE / f"{name}.toml").read_text()
    text = re.sub(r"(?m)^(hidden_size|embedding_size) = .*", r"\1 = 12", text)
    text = re.sub(r"(?m)^epochs = .*", "epochs = 2.0", text)
    text = re.sub(r'"epoch \d+"', '"epoch 2"', text.replace("batch_size = 32", "batch_size = 4"))
    text = text.replace("[settings]", f'[settings]\ndtype = "{dtype}"')
    Path(f"{name}.toml").write_text(text)
    return f"./{name}.toml"


@pytest.mark.parametrize("name", ["ptb-small", "ptb-medium", "ptb-large"])
def test_the_penn_treebank_as_far_as_its_form_goes(name: str, micrornn: Micrornn) -> None:
    """On made-up words; what is told are the numbers of the run."""
    recipe, lines = shrunk(name), "".join(f" w{n % 7} <unk> w{n % 5} \n" for n in range(200))
    for part, text in {"train": lines, "valid": lines[:900], "test": lines[:500]}.items():
        Path(f"ptb.{part}.txt").write_text(text)
    code, out, err = micrornn("recipe", "check", recipe, ".", "--out", "runs", "--json")
    assert code == Exit.FAILED, err  # such words are learned in no time
    seen = [row["seen"] for row in json.loads(out)["rows"]]
    rows = RunFolder.open("runs/seed0").metrics()
    told = json.loads(micrornn("eval", "runs/seed0", "ptb.test.txt", "--last", "--batch-size", 1, "--num-steps", 1,
                               "--json")[1])  # fmt: skip
    last = np.mean([row["loss"] for row in rows[len(rows) // 2 :]]), rows[-1]["val_loss"], told["loss"]
    assert seen == pytest.approx(np.exp(last)) and min(seen) > 1 and told["level"] == "word"
    again = micrornn("recipe", "check", recipe, "ptb.train.txt", "ptb.valid.txt", "ptb.test.txt", "--out", "runs")
    assert again[0] == Exit.FAILED and "0 of 3 as expected" in again[1]
    Path("ptb.valid.txt").rename("valid.txt")
    code, _, err = micrornn("recipe", "check", recipe, ".")
    assert code == Exit.DATA and "there is no ptb.valid.txt in this folder" in err and len(err.splitlines()) == 1
    code, _, err = micrornn("recipe", "check", recipe, "ptb.train.txt")
    assert code == Exit.USAGE and "wants 3 data files" in err and "or a folder with ptb.train.txt" in err


def test_imdb_as_far_as_its_form_goes(micrornn: Micrornn) -> None:
    """In float64, whose kernels with recurrent dropout other tests need, too."""
    for part in ("train", "test"):
        for label, word in {"pos": "good", "neg": "dull", "unsup": "so so"}.items():
            Path(f"[imdb]/{part}/{label}").mkdir(parents=True)
            for n in range(20):
                text = f"It's ... <br /> {word}, " + "and then? " * 9 * n
                Path(f"[imdb]/{part}/{label}/{n}_{9 - n % 3}.txt").write_text(text)
        Path(f"[imdb]/{part}/labeledBow.feat").touch()
    code, out, err = micrornn("recipe", "check", shrunk("imdb-lstm", "float64"), "[imdb]", "--out", "runs", "--json")
    (row,) = json.loads(out)["rows"]
    assert code in (0, Exit.FAILED) and err.count("\n") <= 1, err
    assert 0 <= row["seen"] <= 1 and row["holds"] == (0.81 <= row["seen"] <= 0.84)
    meta = load("runs/seed0/last.ckpt")[1]
    assert {*meta["words"]} - {"<unk>"} == {"it's", "br", "good", "dull", "and", "then"} and meta["updates"] == 20


def test_run_is_the_plain_command_and_check_the_same_to_the_bit(micrornn: Micrornn,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    Path("tiny.toml").write_text(TINY)
    monkeypatch.setenv("MICRORNN_LR", "0.5")  # of trainings of one's own: a recipe has its constants
    code, _, err = micrornn("recipe", "run", "./tiny.toml", "--out", "ran")
    assert code == 0, err
    commands = [line for line in err.splitlines() if line.startswith("micrornn train echo")]
    assert len(commands) == 2 and "--set length=300" in commands[0] and commands[1].count("hidden-size 8") == 1
    assert micrornn(*shlex.split(commands[1].replace("ran/", "typed/"))[1:])[0] == 0

    code, out, _ = micrornn("recipe", "check", "tiny.toml", "--out", "checked", "--json")
    found = json.loads(out)
    assert code == Exit.FAILED and not found["passed"]
    assert [row["holds"] for row in found["rows"]] == [True, True, False]
    assert found["rows"][1]["seen"] == RunFolder.open("checked/large-seed3").metrics()[5]["val_loss"]
    for one in ("ran", "typed"):
        for variant in ("small", "large") if one == "ran" else ("large",):
            (a, _), (b, _) = (load(f"{folder}/{variant}-seed3/last.ckpt") for folder in (one, "checked"))
            assert all((a[name] == b[name]).all() for name in a)

    before = Path("checked/small-seed3/metrics.jsonl").read_text()  # what is there is not trained again
    code, out, _ = micrornn("recipe", "check", "tiny.toml", "--out", "checked", "--variant", "small")
    assert code == 0 and "1 of 1 as expected" in out and Path("checked/small-seed3/metrics.jsonl").read_text() == before
    Path("tiny.toml").write_text(TINY.replace("length = 300", "length = 400"))
    for command in ("check", "run"):
        code, _, err = micrornn("recipe", command, "tiny.toml", "--out", "checked")
        assert code == Exit.CHECKPOINT and "length is 300, not 400" in err


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("task =", "tasks =", "'tasks' means nothing in a recipe; did you mean task?"),
        ('about = "a tiny one"', "", "about is missing"),
        ("minutes = 0.1", 'minutes = "soon"', "minutes must be a number"),
        ("hidden_size = 4", "hiden_size = 4", "no setting 'hiden_size'; did you mean hidden_size?"),
        ("hidden_size = 8", "hidden_size = 0", "hidden_size is 0"),
        ('task = "echo"', 'task = "eco"', "no task 'eco'"),
        ("num_updates = 12", "", "must say where it ends"),
        ("num_updates = 12", "seed = 3\nnum_updates = 12", "seed is no"),
        ("num_updates = 12", "tied = true\nnum_updates = 12", "--tied is no setting"),
        ("num_updates = 12", 'init = "{text}"\nnum_updates = 12', "must be one of the data's roles"),
        ("num_updates = 12", 'init = "what"\nnum_updates = 12', "no initializer 'what'"),
        ('at = "best"', 'at = "later"', "expectation 2: at is 'later'; write end, best"),
        ('at = "best"', 'at = "update 6"', "expectation 2: a checkpoint is measured"),
        (
            '"accuracy"',
            '"acuracy"',
            "expectation 2: there is no 'acuracy'; choose one of loss, smoothed_loss, val_loss, accuracy",
        ),
        ('["large"]', '["huge"]', "expectation 2: there is no variant 'huge'"),
        ("high = 0.0\n", "", "neither low nor high"),
        ("low = 0.1", "low = 9.0", "low 9 is above high 3"),
        ("low = 0.1", "lowest = 0.1", "expectation 1: 'lowest'"),
        ('from = "measured"\nwhy = "never"', 'why = "never"', "expectation 2: from is missing"),
        ("data = []", 'data = []\nfiles = ["a.txt"]', "files has 1 name, and data 0 roles"),
        ("seeds = [3]", "seeds = []", "seeds is empty"),
        ("[settings]", "[settings", "is not TOML"),
        ("[[expect]]", "[[other]]", "'other' means nothing in a recipe"),
    ],
)
def test_a_recipe_of_ones_own_with_a_mistake(old: str, new: str, words: str, micrornn: Micrornn) -> None:
    assert old in TINY
    Path("mine.toml").write_text(TINY.replace(old, new))
    code, _, err = micrornn("recipe", "check", "mine.toml")
    assert code == Exit.USAGE and words in err and len(err.splitlines()) <= 2, err
    assert "mine.toml" in err or "--init" in err  # what is found out later is told as train tells it
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "arguments, code, words",
    [(["show", "ecko"], Exit.USAGE, "no recipe 'ecko'; did you mean echo"),
     (["run", "zzz"], Exit.USAGE, "no recipe 'zzz'; `micrornn recipe list` tells what"),
     (["show", "./none.toml"], Exit.DATA, "none.toml"), (["show", "."], Exit.USAGE, "no recipe '.'"),
     (["run", "echo", "--variant", "gru"], Exit.USAGE, "has no variant 'gru'; it has: none"),
     (["check", "min-char-rnn"], Exit.USAGE, "wants 1 data file (text), not 0"),
     (["check", "min-char-rnn", "none.txt"], Exit.DATA, "none.txt")],
)  # fmt: skip
def test_what_is_refused(arguments: list[str], code: int, words: str, micrornn: Micrornn) -> None:
    got, _, err = micrornn("recipe", *arguments)
    assert got == code and words in err and len(err.splitlines()) <= 2, err


def test_what_is_read_from_the_metrics(tmp_path: Path) -> None:
    """Each place, in closed form: losses 1, 1/2, 1/3, ..., of two updates an epoch."""
    rows = [{"update": n, "loss": 1 / n, "val_loss": 2 / n if n % 2 == 0 else None} for n in range(1, 7)]
    (tmp_path / "tiny.toml").write_text(TINY)
    given = {"what": "loss", "origin": "source", "why": "", "variants": ("small",), "high": 1.0}
    cases = [
        ({"at": "end", "over": 3}, (1 / 4 + 1 / 5 + 1 / 6) / 3), ({"at": "update 2", "over": 2}, 0.75),
        ({"at": "epoch 2"}, (1 / 3 + 1 / 4) / 2), ({"at": "epoch 4"}, None), ({"at": "update 7"}, None),
        ({"at": "best", "what": "val_loss"}, 1 / 3), ({"at": "update 4", "what": "val_loss", "times": 3.0}, 1.5),
        ({"at": "end", "what": "val_loss", "unit": "perplexity"}, np.exp(1 / 3)),
        ({"at": "end", "what": "val_loss", "unit": "bits"}, 1 / 3 / np.log(2)),
        ({"at": "update 2", "what": "smoothed_loss"}, 0.999 + 0.001 / 2),
    ]  # fmt: skip
    expect = tuple(Expectation(**(given | case)) for case, _ in cases)
    recipe = recipes.find(str(tmp_path / "tiny.toml"))
    object.__setattr__(recipe, "expect", expect)
    folder = RunFolder.create(tmp_path / "run", {"task": "echo"})
    for row in rows:
        folder.append_metrics(row)
    folder.save({"a": np.zeros(1)}, {"updates": 6, "epoch": 2, "window": 2}, best=False)
    folder.close()
    for row, (case, wanted) in zip(look(recipe.jobs()[0], tmp_path / "run", []), cases):
        assert row.seen == (None if wanted is None else pytest.approx(wanted)), case
        assert row.holds == (wanted is not None and wanted <= 1)
    assert not expect[0].holds(float("nan"))
