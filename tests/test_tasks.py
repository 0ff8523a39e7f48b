"""Tasks: training, evaluation and checkpoints know them by their interface only."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, Micrornn
from task_rows import SMALL, same
from test_layering import CLI, FILES, ROOT, imports

from micrornn import tasks
from micrornn.checkpoint import RunFolder, load
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError
from micrornn.train import Report, Training, run
from micrornn_cli.ending import conclude
from micrornn_cli.exits import Exit
from micrornn_cli.progress import Live

GENERAL = [path for path in FILES if path.relative_to(ROOT).parts[1] != "tasks"] + CLI


@pytest.mark.parametrize("path", GENERAL, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_tasks_know_a_task(path: Path) -> None:
    """No file outside of tasks/ imports a single one, or chooses by the name of one."""
    single = {f"micrornn.tasks.{name}" for name in tasks.names()}
    assert not {name for _, name in imports(path)} & single
    names = "|".join(tasks.names())
    choice = rf"(task|name|kind)\w* *(==|!=|\bin) *[(\[{{]?[\"']({names})[\"']"
    assert not re.search(choice, path.read_text("utf-8")), "chooses by a task's name"


def test_the_register_is_whole() -> None:
    for name in tasks.names():
        task = tasks.find(name)
        assert task.name == name and task.about and task.metrics
        assert set(task.unused) <= set(task.Settings().to_dict())
        assert task.__module__ == f"micrornn.tasks.{name}"
    with pytest.raises(ConfigError, match=r"no task 'nonsense'; choose one of text, adding"):
        tasks.find("nonsense")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["adding", "--level", "word"], "--level is no setting of the task adding; leave it out"),
        (["adding", "text.txt"], "the task adding makes its own data; leave "),
        (["adding", "--memory-budget", "1MB"], "--memory-budget is no setting of the task adding"),
        (["echo", "--set", "eco=3"], "--set 'eco' is no setting of the task echo's own; it has echo, length"),
        (["echo", "--set", "hidden_size=3"], "'hidden_size' is no setting of the task echo's own; it is a flag"),
        (["echo", "--set", "echo=many"], "--set echo must be a whole number, not 'many'"),
        (["echo", "--set", "echo"], "--set 'echo': wanted NAME=VALUE"),
        (["--set", "echo=3"], "is no setting of the task text's own; it has none"),
        (["echo", "--delay", "3"], "No such option '--delay'"),
        (["adding", "--markers", "far"], "--markers: there is no 'far'; choose one of halves, ends"),
        (["copy", "--lines"], "--lines is no setting of the task copy; leave it out"),
        (["echo", "--set", "length=20"], "--length 20 is too short for 5 lanes of 15 time steps"),
        (["adding", "--num-steps", "1"], "--num-steps is 1; the task adding marks two numbers"),
        (["copy", "--num-steps", "10"], "--num-steps is 10; to say 5 symbols again after a sign takes 11"),
        (["sine", "--set", "low=3", "--set", "high=2"], "--low is 3, and --high is 2; it must be higher"),
        (["sine", "--num-steps", "5"], "--high 3 is more periods than 5 time steps can show, at most 2.5"),
        (["digits", "--set", "size=4"], "--set size is 4; it must be 5 or more"),
        (["digits", "--num-steps", "5"], "--num-steps is no setting of the task digits"),
        (["onetoone", "--cell", "gru"], "--cell is no setting of the task onetoone"),
        (["onetoone", "--backprop", "online"], "is no setting of the task onetoone"),
        (["series"], "the task series learns from a table; name its file"),
        (["./none.py:Mine"], "No such file or directory; wanted FILE.py:CLASS"),
        (["./mine.py:Other"], "there is no task 'Other' in it"),
        (["./mine.py:Half"], "the task Half lacks network"),
        (["./mine.py:Number"], "'Number' is no subclass of Task"),
        (["./broken.py:Mine"], "broken.py:2: ZeroDivisionError"),
        (["--config", "other.toml"], "other.toml: there is no task 'nonsense'"),
        (["parity", "--config", "copy.toml"], "copy.toml is of the task copy, and parity is named, too"),
        (["adding", "--config", "size.toml"], "size.toml has no setting 'size'"),
        (["revesral", "--hidden-size", "3"], "there is no file, folder or task 'revesral'; did you mean reversal?"),
    ],
)
def test_what_is_refused_in_a_line_or_two(arguments: list[str], words: str, micrornn: Micrornn) -> None:
    Path("text.txt").write_text("some text")
    Path("broken.py").write_text("x = 1\nx / 0\n")
    Path("other.toml").write_text('task = "nonsense"\n')
    Path("copy.toml").write_text('task = "copy"\nsymbols = 2\n')
    Path("size.toml").write_text("size = 6\n")
    Path("mine.py").write_text(
        "from micrornn.tasks.task import Task\nNumber = int\n"
        "class Half(Task):\n    def __init__(self, config, data=None):\n        super().__init__(config)\n"
    )
    code, _, err = micrornn("train", *arguments)
    assert code in (Exit.USAGE, Exit.DATA) and words in " ".join(err.split()), err
    assert "Traceback" not in err and not Path("runs").exists()


def test_the_task_of_the_docs_in_a_file_of_its_own(micrornn: Micrornn) -> None:
    page = (ROOT / "docs" / "writing-a-task.md").read_text("utf-8")
    Path("my_task.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    given = ["./my_task.py:Parity", "--set", "ones=0.3", *SMALL, "--cell", "gru"]
    for out, updates in (("whole", 9), ("parts", 4)):
        code, _, err = micrornn("train", *given, "--num-updates", updates, "--out", out)
        assert code == 0 and "whether the number of ones so far is odd" in " ".join(err.split()), err
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")  # the file is found from any folder
    assert micrornn("train", "--resume", "../parts", "--num-updates", 9)[0] == 0
    same("../whole", "../parts")
    assert json.loads(micrornn("eval", "../whole", "--json")[1])["baseline"] == pytest.approx(np.log(2))
    source = Path("../my_task.py").read_text()
    Path("../my_task.py").write_text(source + "\nopen('was_run', 'w')\n")
    refused = (["eval", "../whole"], ["train", "--resume", "../parts"], ["train", "--config", "../whole/config.toml"])
    for command in (*refused, ["sample", "../whole"]):  # a stranger's code
        code, _, err = micrornn(*command)
        assert code in (Exit.CHECKPOINT, Exit.USAGE) and "code that nobody has run on this machine" in err, err
        assert not Path("was_run").exists() and len(err.splitlines()) == 2
    assert micrornn("train", "../my_task.py:Parity", *SMALL, "--num-updates", 1)[0] == 0 and Path("was_run").exists()
    assert micrornn("eval", "../whole")[0] == 0
    Path("../my_task.py").unlink()
    for command in (["eval", "../whole"], ["train", "--resume", "../parts"]):
        code, _, err = micrornn(*command)
        assert code == Exit.CHECKPOINT and "my_task.py" in err and "No such file" in err, err


def test_a_checkpoint_from_before_there_were_tasks_goes_on(golden: Callable[..., dict[str, np.ndarray]],
                                                           tmp_path: Path) -> None:  # fmt: skip
    (tmp_path / "text.txt").write_text("she sells sea shells on the sea shore. " * 12)
    arrays, meta = load(GOLDEN / "before_tasks.ckpt")
    config = Config(**(meta["config"] | {"num_updates": 14}))
    training = Training(config, tokenize([tmp_path / "text.txt"], "char", tmp_path))
    training.restore(arrays, meta)
    assert training.updates == 6 and training.batches.state is not None
    for _ in run(training):
        pass
    for name, array in golden("before_tasks").items():
        np.testing.assert_allclose(training.model.flat.parameters[name].data, array, rtol=1e-9, atol=1e-12)
    again, after = training.snapshot()
    assert after.keys() - {"pending"} >= meta.keys() - {"pending"} and after["task"] == meta["task"]
    assert after["text"] == meta["text"] and again.keys() == arrays.keys()


def test_flags_are_those_of_the_task(micrornn: Micrornn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's own setting is a flag before or behind its name, a variable, a row of TOML; the help shows it, with the
    task's defaults, and not what means nothing to it."""
    small = ["--num-updates", 1, *SMALL]
    Path("mine.py").write_text(
        "from dataclasses import dataclass\nfrom micrornn.config import setting\n"
        "from micrornn.tasks.echo import Echo, EchoSettings\n"
        "@dataclass(frozen=True)\nclass Own(EchoSettings):\n    louder: int = setting(1, 'How much louder.', low=1)\n"
        "class Mine(Echo):\n    Settings = Own\n"
    )
    Path("own.toml").write_text('task = "copy"\nsymbols = 2\n')
    Path("size.toml").write_text("size = 6\n")  # of which task says the command
    for n, (given, row) in enumerate(
        (
            (["--markers", "ends", "adding"], 'markers = "ends"'),
            (["./mine.py:Mine", "--length", "300", "--louder", "3"], "louder = 3"),
            (["--config", "own.toml", "--alphabet", "3"], "symbols = 2\nalphabet = 3"),
        )
    ):
        code, _, err = micrornn("train", *given, *small, "--out", f"run{n}")
        assert code == 0, err
        assert row in Path(f"run{n}/config.toml").read_text()
    monkeypatch.setenv("MICRORNN_ALPHABET", "5")
    code, _, err = micrornn("train", "copy", "--symbols", 2, *small, "--out", "run")
    assert code == 0 and "alphabet = 5" in Path("run/config.toml").read_text() and "no variable" not in err, err
    code, _, err = micrornn("train", "digits", "--config", "size.toml", "--num-updates", 1, "--out", "pixels")
    assert code == 0 and "size = 6" in Path("pixels/config.toml").read_text(), err
    monkeypatch.setenv("MICRORNN_CELL", "gru")
    code, _, err = micrornn("train", "onetoone", "--num-updates", 1, "--out", "none")
    assert code == Exit.USAGE and "MICRORNN_CELL is no setting of the task onetoone; leave it out" in err
    monkeypatch.delenv("MICRORNN_CELL")

    told = micrornn("train", "adding", "--help")[1]
    assert "--markers halves|ends" in told and "\n  --level" not in told and "[50" in told and "--hidden-size" in told
    told = " ".join(micrornn("train", "--help")[1].split())
    assert "--markers halves" not in told and "--level char" in told and "`micrornn train TASK --help`" in told
    assert f"Tasks: {', '.join(tasks.names())}, or" in told


def test_best_is_chosen_by_the_metric_that_the_task_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after a run went on, from its checkpoint or from a signal between an update and its row."""
    scripted = iter([(0.5, 0.1), (0.4, 0.9), (0.3, 0.2), (0.2, float("nan")), (0.6, 0.95), (0.1, 0.3)])

    class Scripted(tasks.find("echo")):  # type: ignore[misc]
        chooses = "accuracy"

        def evaluate(self, model: object, batches: object = None) -> dict[str, float]:
            return dict(zip(("loss", "accuracy"), next(scripted)))

    def training(updates: int) -> Training:
        config = Scripted.Settings(hidden_size=3, batch_size=2, length=100, val_every=1, num_updates=updates)
        return Training(config, Scripted(config))

    first = training(4)
    folder = RunFolder.create(tmp_path / "run", first.config.to_dict() | {"task": "echo", "files": []})
    for _ in run(first, folder):
        pass
    assert load(folder.best)[1]["updates"] == 2 and first.best_val_loss == 0.4 and first.stale == 2
    again = training(6)
    again.restore(*load(folder.last))
    assert (again.best_val_loss, again.stale, again.best_merit) == (0.4, 2, -0.9)
    for _ in run(again, folder):
        pass
    assert load(folder.best)[1]["updates"] == 5 and again.best_val_loss == 0.6 and again.stale == 1
    assert again.best_score == 0.95
    row = Live(again).row(Report(5, 9, 1.0, 0.7, 0.6, 0.1, 1.0, 9.0, score=0.95), 120).plain
    assert "accuracy 0.95  validation 0.6" in row
    conclude(again, False, "run", "train --resume run", False)
    assert "Best accuracy 0.95, with a validation loss of 0.6 nats" in " ".join(capsys.readouterr().err.split())
    assert [row.get("score") for row in folder.metrics()][:2] == [0.1, 0.9]
