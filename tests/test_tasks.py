"""Tasks: training, evaluation and checkpoints know them by their interface only."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN
from test_layering import CLI, FILES, ROOT, imports

from micrornn import tasks
from micrornn.checkpoint import RunFolder, load
from micrornn.config import Config
from micrornn.data import tokenize
from micrornn.errors import ConfigError
from micrornn.gradcheck import gradcheck
from micrornn.optim import Optimizer
from micrornn.train import Report, Training, run
from micrornn_cli.ending import conclude
from micrornn_cli.exits import Exit
from micrornn_cli.main import main
from micrornn_cli.progress import Live

GENERAL = [path for path in FILES if path.relative_to(ROOT).parts[1] != "tasks"] + CLI


@pytest.mark.parametrize("path", GENERAL, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_tasks_know_a_task(path: Path) -> None:
    """No file outside of tasks/ imports a single one, or chooses by the name of one."""
    single = {target.partition(":")[0] for target in tasks.REGISTER.values()}
    assert len(single) == len(tasks.REGISTER)
    assert not {name for _, name in imports(path)} & single
    names = "|".join(tasks.names())
    choice = rf"(task|name|kind)\w* *(==|!=|\bin) *[(\[{{]?[\"']({names})[\"']"
    assert not re.search(choice, path.read_text("utf-8")), "chooses by a task's name"


def test_the_register_is_whole() -> None:
    for name in tasks.names():
        task = tasks.find(name)
        assert task.name == name and task.about and task.metrics
        assert set(task.unused) <= set(task.Settings().to_dict())
    files = [ROOT / (target.partition(":")[0].replace(".", "/") + ".py") for target in tasks.REGISTER.values()]
    assert all(file.is_file() for file in files) and len(set(files)) == len(files)
    with pytest.raises(ConfigError, match=r"no task 'nonsense'; choose one of text, adding"):
        tasks.find("nonsense")


SMALL = ["--hidden-size", 6, "--batch-size", 4, "--num-steps", 6, "--val-every", 3, "--schedule", "constant"]
WHOLE = [*SMALL[:4], *SMALL[6:]]  # of a task whose sequences are as long as they are
WORDS = ("an", "ant", "ate", "a", "tea", "at", "ten", "net", "eat", "neat", "tan", "tie")
PAIRS = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in WORDS)
TAGGED = "".join(
    f"the O\n{a} B-beast\n{b} I-beast\n" + "runs O\n" * n + "\n" for a, b, n in zip("aab", "cbc", (0, 1, 3))
)
RATED = "text\tlabel\n" + "".join(f"a {'very ' * n}{w} one\t{y}\n" for n, w, y in zip(range(4), "gbgb", "pnpn"))
TABLE = "day,a,b,c\n" + "".join(f"{1900 + n},{n % 4 + n / 9:.3f},{n % 3},{'' if n == 7 else -n}\n" for n in range(60))
FILES_OF = {  # task -> the files that it learns from
    "pairs": {"pairs.tsv": PAIRS},
    "tags": {"a.conll": TAGGED * 4},
    "sentiment": {"rated.tsv": RATED + RATED.partition("\n")[2] * 3},
    "series": {"table.csv": TABLE},
}
MADE = {  # task -> what its run is given besides
    "adding": ["--set", "markers=ends", "--set", "num_batches=4", "--bidirectional", "--dropout", 0.2,
               "--num-layers", 2],
    "copy": ["--set", "symbols=2", "--set", "alphabet=3", "--cell", "rnn"],
    "echo": ["--set", "echo=2", "--set", "length=200", "--cell", "gru"],
    "pairs": ["pairs.tsv", "--set", "target_level=word", "--set", "attention=additive", "--set", "beam=3",
              "--set", "teacher_forcing=0.5", "--bidirectional", "--dropout", 0.2, "--num-layers", 2],
    "reversal": ["--set", "digits=3", "--set", "examples=60", "--cell", "gru", "--set", "label_smoothing=0.1"],
    "dates": ["--set", "examples=60", "--set", "attention=none", "--cell", "rnn", "--watch-gradients", 5,
              "--embedding-size", 0],
    "tags": ["a.conll", "--dropout", 0.2, "--watch-gradients", 4, "--set", "label_smoothing=0.1",
             "--embedding-size", 0],
    "sentiment": ["rated.tsv", "--set", "pad=left", "--set", "read=mean", "--set", "class_weights=balanced", "--set",
                  "max_len=4", "--set", "keep=last", "--num-layers", 2],
    "sine": ["--set", "high=2.5"],
    "parity": ["--set", "at=end", "--cell", "gru"],
    "digits": ["--set", "step=pixel", "--set", "size=5", "--cell", "rnn"],
    "onetoone": ["--set", "data=rings", "--num-layers", 3, "--dropout", 0.1],
    "series": ["table.csv", "--set", "target=a,3", "--set", "inputs=c", "--set", "horizon=2", "--set", "difference=1",
               "--set", "season=4", "--set", "test_fraction=0", "--set", "missing=previous"],
}  # fmt: skip

# a task -> lines of new input, what an answer may be, and a line that is none with what is said of it
INPUT: dict[str, tuple[list[str], str, str, str]] = {
    "adding": (["0.3 0.9* 0.2 0.5*", "1*,2*"], r"-?\d+\.\d+", "0.3* x 1*", "'x' is no number"),
    "copy": (["1 0", "2,2"], "[012] [012]", "1 3", "wanted 2 numbers in 0..2"),
    "echo": (["1 0 0 1", "0110"], "([01] ){3}[01]", "10x", "wanted bits"),
    "pairs": (["ant", "eel"], ".*", "ant\tA N T", "there is a tab in it"),
    "reversal": (["123", "9"], ".*", "12\t21", "there is a tab in it"),
    "dates": (["3 May 1999", "June 7, 2021"], ".*", "\t", "there is a tab in it"),
    "tags": (["the a", "b b"], r"([OBI]\S*) ([OBI]\S*)", " ", "there is no word; wanted a sentence a line"),
    "sentiment": (
        ["A very g one!", "zzz"],
        "[pn]",
        "a g one\tp",
        "it ends in a tab and the class p; wanted",
    ),
    "sine": (["1.5", "2"], r"(-?\d\.\d+ ){5}-?\d\.\d+", "2.7", "wanted a number of periods in 1..2.5"),
    "parity": (["1 0 1 1", "0"], "odd|even", "1 2", "wanted bits"),
    "digits": (["###/..#/" + "." * 19, "0 1" + " 0.5" * 23], r"\d", "1 0 1", "3 pixels, wanted the 25 pixels"),
    "onetoone": (["0.5 -0.5", "1,1"], "[01]", "0.5", "wanted two numbers"),
    "series": (["1,2,3", "2,3,4", "3,4,5"], r"-|(-?[\d.e-]+ ?){4}", "1,x,3", "b is 'x', wanted a number"),
}

Micrornn = Callable[..., tuple[int, str, str]]


def same(one: str, two: str) -> None:
    (a, first), (b, second) = load(f"{one}/last.ckpt"), load(f"{two}/last.ckpt")
    assert a.keys() == b.keys() and first["updates"] == second["updates"]
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], name)


def answers(task: str, micrornn: Micrornn) -> None:
    """The run `whole` answers to new input, as text, table and JSON; what is none is told with its line."""
    lines, form, wrong, words = INPUT[task]
    Path("new.txt").write_text("\n".join(lines) + "\n")
    code, out, err = micrornn("predict", "whole", "new.txt")
    assert code == 0 and len(out.splitlines()) == len(lines), err
    assert all(re.fullmatch(form, line) for line in out.splitlines())
    code, _, err = micrornn("predict", "whole", "new.txt", "--proba")
    told = [] if code else ["--proba"]
    assert code == (0 if task not in ("adding", "sine", "series") else Exit.USAGE), err
    assert told or f"the task {task} answers has no probabilities; leave --proba out" in err
    rows = [json.loads(line) for line in micrornn("predict", "whole", "new.txt", "--json", *told)[1].splitlines()]
    assert [row["line"] for row in rows] == list(range(1, len(lines) + 1))
    assert [str(row["answer"])[:5] for row in rows] == [line[:5] for line in out.splitlines()]
    table = list(csv.reader(micrornn("predict", "whole", "new.txt", "--csv")[1].splitlines()))
    assert table[0][:2] == ["line", "answer"] and [row[1][:5] for row in table[1:]] == [
        line[:5] for line in out.splitlines()
    ]
    code, out, err = micrornn("predict", "whole", "new.txt", "--beam", 2)
    searches = hasattr(tasks.find(task).Settings(), "beam")
    assert code == 0 if searches else f"--beam is no setting of the task {task}; leave it out" in err
    Path("new.txt").write_text("\n".join([*lines, wrong]))
    code, out, err = micrornn("predict", "whole", "new.txt")
    assert code == Exit.DATA and len(out.splitlines()) == len(lines)
    assert f"new.txt:{len(lines) + 1}: " in err and words in err and len(err.splitlines()) < 3


def inspected(task: str, micrornn: Micrornn) -> bool:
    """Every measure that means anything to the task looks at the run `whole`, in the task's own words. Whether its
    windows are cut out of longer sequences."""
    code, out, err = micrornn("inspect", "all", "whole", "--windows", 2, "--json")
    if "cell" in tasks.find(task).unused:
        assert code == Exit.USAGE and "has no recurrent layer: no gradient flows through time in it" in err
        return False
    assert code == 0 and "Traceback" not in err, err
    found = json.loads(out)
    unit = found["flow"]["subject"]["unit"]
    assert unit and tasks.find(task).metrics[0].unit in (unit, "")  # a task may know it only with its data
    assert {"flow", "weights", "credit", "jacobian", "noise", "nonfinite"} <= found.keys() and "states" not in found
    assert ("truncation" in found) == found["flow"]["subject"]["cut"]
    for name, measure in found.items():
        assert all(f"{unit}; " in verdict["words"] for verdict in measure["verdicts"]), name  # beside the baseline
        assert "nonfinite" not in {verdict["kind"] for verdict in measure["verdicts"]}, name
        assert measure["subject"]["unit"] == unit
        assert "token" in unit or not any("token" in verdict["words"] for verdict in measure["verdicts"]), name
    for name, arrays in (("flow", ("dh", "dh_last", "dgates")), ("credit", ("profile",))):
        for array in arrays:
            values = np.array(found[name]["arrays"][array]["values"], float)
            assert np.isfinite(values).all() and values.max() > 0, array
    for name in ("states", *([] if "truncation" in found else ["truncation"])):
        code, _, err = micrornn("inspect", name, "whole")
        assert code == Exit.USAGE and len(err.splitlines()) == 1 and "this run's task has none" in err, err
    return bool(found["flow"]["subject"]["cut"])


def advised(task: str, micrornn: Micrornn, cut: bool, given: list[object]) -> None:
    """Of a task that cuts long sequences into windows, advise measures a run, or trains briefly by itself; any other
    one is told why not."""
    for command, start in ((["whole"], f"--config {Path('whole/config.toml')} --batch-size"), ([task, *given], "")):
        code, out, err = micrornn("advise", *command, "--minutes", 0.001, "--json")
        assert "Traceback" not in err
        if cut:
            assert code == 0 and json.loads(out)["numbers"]["num_steps"]["value"] >= 2, err
            assert start in json.loads(out)["command"]
        else:
            told = f"the task {task} reads each as a whole"
            assert code == Exit.USAGE and len(err.splitlines()) == 1 and told in err, err


def killed(command: list[object], after: int) -> None:
    """A process that runs the command and gets SIGKILL in the middle of an update, when so many are made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that threads are not forked: kernels/cpu/forks.py sees to its own
        process = os.fork()
    if not process:
        try:
            step = Optimizer.update

            def update(self: Optimizer, *given: object) -> None:
                if self.updates == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                step(self, *given)  # type: ignore[arg-type]

            Optimizer.update = update  # type: ignore[method-assign]
            main(list(map(str, command)))
        finally:
            os._exit(1)
    assert os.waitpid(process, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("task", MADE)
def test_train_resume_eval(task: str, micrornn: Micrornn) -> None:
    given = [*(WHOLE if "num_steps" in tasks.find(task).unused else SMALL), *MADE[task]]
    for name, content in FILES_OF.get(task, {}).items():
        Path(name).write_text(content)
    command = ["train", task, *given, "--num-updates", 13, "--out"]
    code, _, err = micrornn(*command, "whole")
    assert code == 0, err
    assert tasks.find(task).about in " ".join(err.split()) and "micrornn eval whole" in err and "sample" not in err
    killed([*command, "parts"], after=7)
    assert load("parts/last.ckpt")[1]["updates"] == 6  # the last validation before that
    assert micrornn("train", "--resume", "parts")[0] == 0
    same("whole", "parts")

    found = json.loads(micrornn("eval", "whole", "--json")[1])
    assert {metric.name for metric in tasks.find(task).metrics} < found.keys() and found["task"] == task
    assert found["loss"] == pytest.approx(load("whole/best.ckpt")[1]["best_val_loss"])
    told = micrornn("eval", "whole")[1]
    assert "loss" in found["baselines"]
    assert all(f"{value:.4g}" in told for value in found["baselines"].values())
    answers(task, micrornn)
    cell = [] if "cell" in tasks.find(task).unused else ["--cell", "rnn"]
    for command in (["whole"], ["--task", task, *cell, "--samples", 3]):
        code, out, _ = micrornn("gradcheck", *command, "--granularity", "sequence", "--json")
        assert code == 0 and json.loads(out)["passed"]

    Path("text.txt").write_text("some text")
    own = [value for name, value in zip([None, *MADE[task]], MADE[task]) if name == "--set" and "=" in str(value)]
    flags = [part for pair in own for part in (f"--{pair.partition('=')[0].replace('_', '-')}", pair.partition("=")[2])]
    advised(task, micrornn, inspected(task, micrornn), [*FILES_OF.get(task, ()), *flags])
    for command in (["sample", "whole"], ["inspect", "flow", "whole", "--text", "text.txt"]):
        code, _, err = micrornn(*command)
        assert code and "Traceback" not in err and len(err.splitlines()) < 4, err
    config = Path("whole/config.toml").read_text()
    assert f'task = "{task}"' in config
    given = ["--init-from", "whole/last.ckpt", "--num-updates", 1, "--lr", 1e-9, "--out", "from"]
    code, _, err = micrornn("train", "--config", "whole/config.toml", *given)
    assert code == 0 and "whole/last.ckptatupdate13:" in "".join(err.split()), err
    one, two = (load(f"{run}/last.ckpt")[0] for run in ("whole", "from"))
    for name in (name for name in one if name.startswith("parameter/")):
        np.testing.assert_allclose(one[name], two[name], atol=1e-6, err_msg=name)


SMALLEST = {"copy": {"symbols": 1}, "reversal": {"digits": 3, "examples": 20}, "dates": {"examples": 20},
            "sine": {"high": 2.0}, "digits": {"size": 5}, "series": {"target": "b"}}  # fmt: skip


@pytest.mark.parametrize("task", MADE)
def test_gradient_of_a_task(task: str, tmp_path: Path) -> None:
    kind = tasks.find(task)
    files = [tmp_path / name for name in FILES_OF.get(task, ())]
    for path in files:
        path.write_text(FILES_OF[task][path.name])
    length = {} if "num_steps" in kind.unused else {"num_steps": 4}
    config = kind.Settings(hidden_size=3, batch_size=2, dtype="float64", **length, **SMALLEST.get(task, {}))
    made = kind.prepare(config, files)
    model, (inputs, targets, state) = made.network(), made.batches.next()
    model.draw_dropout(1)
    found = gradcheck(lambda: model.loss(inputs, targets, state)[0], list(model.flat.parameters.values()), samples=20)
    assert min(check.decimals for check in found) >= 7
    primitive = model.copy(granularity="primitive")
    primitive.draw_dropout(1)
    plain = primitive.loss(inputs, targets, state)[0].item()
    assert plain == pytest.approx(model.loss(inputs, targets, state)[0].item())


def test_what_the_batches_hold() -> None:
    adding = tasks.find("adding")
    for markers, before in (("halves", 10), ("ends", 2)):
        made = adding.prepare(adding.Settings(num_steps=20, batch_size=50, markers=markers))
        inputs, sums, _ = made.batches.next()
        t, lane = np.nonzero(inputs[:, :, 1])
        assert np.array_equal(np.bincount(lane), [2] * 50)
        assert np.all(t[:50] < before) and np.all(t[50:] >= 10)
        assert sums[:, 0] == pytest.approx((inputs[:, :, 0] * inputs[:, :, 1]).sum(axis=0), rel=1e-6)
        assert made.baseline[1] == pytest.approx(1 / 6, rel=0.2)
    echo = tasks.find("echo")
    made = echo.prepare(echo.Settings(num_steps=10, batch_size=3, echo=4, length=300))
    windows = [made.batches.next()[:2] for _ in range(10)]
    bits, heard = (np.concatenate([window[n] for window in windows]) for n in (0, 1))
    assert np.array_equal(heard[4:], bits[:-4]) and not heard[:4].any() and set(bits.ravel()) == {0, 1}


def test_copy_waits_and_is_judged_by_what_it_recalls(micrornn: Micrornn) -> None:
    copy = tasks.find("copy")
    made = copy.prepare(copy.Settings(num_steps=12, batch_size=5, symbols=3, alphabet=4))
    inputs, targets, _ = made.batches.next()
    heard = inputs.argmax(axis=2)
    assert np.all(inputs.sum(axis=2) == 1) and np.array_equal(heard[:3], targets[-3:]) and heard[:3].max() < 4
    assert np.all(targets[:-3] == 4) and np.all(heard[8] == 5) and np.all(heard[3:8] == 4) and np.all(heard[9:] == 4)
    given = ["--cell", "lstm", "--num-steps", 6, "--symbols", 2, "--alphabet", 3, "--lr", 0.02, "--num-updates", 300]
    code, _, err = micrornn("train", "copy", *given, "--hidden-size", 24, "--out", "run")
    assert code == 0, err
    found = json.loads(micrornn("eval", "run", "--json")[1])
    assert found["recalled"] > 0.99 and found["loss"] < 0.1 * found["baseline"]
    assert found["baseline"] == pytest.approx(2 * np.log(3) / 6)


def test_echo_is_learned_and_only_through_the_carried_state(micrornn: Micrornn) -> None:
    for state, low, high in (("carried", 0, 0.05), ("fresh", 0.1, 0.4)):  # 3 of 6 bits of a fresh window are unknown
        given = ["--state", state, "--num-steps", 6, "--num-updates", 400, "--lr", 0.02, "--out", state, "--json"]
        code, out, err = micrornn("train", "echo", *given)
        assert code == 0, err
        assert low <= json.loads(out.splitlines()[-1])["best_val_loss"] < high


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


def test_a_decoder_with_fewer_time_steps_than_its_encoder_is_watched_and_inspected(micrornn: Micrornn) -> None:
    Path("long.tsv").write_text("".join(f"{'abcdefghijkl'[n % 5 :]}{n}\t{'xyz'[n % 3]}\n" for n in range(20)))
    given = ["--hidden-size", 6, "--batch-size", 4, "--watch-gradients", 3, "--num-updates", 6, "--out", "run"]
    assert micrornn("train", "pairs", "long.tsv", *given)[0] == 0
    code, out, err = micrornn("inspect", "flow", "run", "--json")
    assert code == 0, err
    found = json.loads(out)
    seen = {
        name: (found if name == "flow" else found[name])["subject"]["seq_len"] for name in ("flow", "flow_of_encoder")
    }
    assert seen["flow"] == found["flow_over_training"]["subject"]["seq_len"] == 2 < 10 < seen["flow_of_encoder"]
    assert found["flow_over_training"]["axes"]["layer"]["places"] == found["axes"]["layer"]["places"]
