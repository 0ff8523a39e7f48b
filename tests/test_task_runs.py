"""Every task is trained, killed, resumed, judged, inspected and asked for answers, by its interface alone."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import Micrornn
from task_rows import ROWS, same

from micrornn import tasks
from micrornn.checkpoint import load
from micrornn.gradcheck import gradcheck
from micrornn.optim import Optimizer
from micrornn_cli.exits import Exit
from micrornn_cli.main import main


def answers(task: str, micrornn: Micrornn) -> None:
    """The run `whole` answers to new input, as text, table and JSON; what is none is told with its line."""
    lines, form, (wrong, words) = ROWS[task].lines, ROWS[task].form, ROWS[task].wrong
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
    if task in ("sine", "series"):  # several numbers an answer, each in a column
        for row, line in zip(table[1:], out.splitlines(), strict=True):
            numbers = [float(word) for word in line.split() if word != "-"]
            assert sorted(float(cell) for cell in row[1:] if cell) == pytest.approx(sorted(numbers), abs=1e-4)
        assert len(table[0]) == 1 + len(numbers)
    else:
        assert table[0][:2] == ["line", "answer"]
        assert [row[1][:5] for row in table[1:]] == [line[:5] for line in out.splitlines()]
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
        warnings.simplefilter("ignore")  # that threads are not forked: kernels/cpu/jit.py sees to its own
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


@pytest.mark.parametrize("task", ROWS)
def test_train_resume_eval(task: str, micrornn: Micrornn) -> None:
    row = ROWS[task]
    files = row.written(Path())
    command = ["train", *row.given(task), "--num-updates", 13, "--out"]
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
    flags = [part for name, _, value in (own.partition("=") for own in row.own.split())
             for part in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
    advised(task, micrornn, inspected(task, micrornn), [*files, *flags])
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


@pytest.mark.parametrize("task", ROWS)
def test_gradient_of_a_task(task: str, tmp_path: Path) -> None:
    kind = tasks.find(task)
    length = {} if "num_steps" in kind.unused else {"num_steps": 4}
    config = kind.Settings(hidden_size=3, batch_size=2, dtype="float64", **length, **ROWS[task].smallest)
    made = kind.prepare(config, ROWS[task].written(tmp_path))
    model, (inputs, targets, state) = made.network(), made.batches.next()
    model.draw_dropout(1)
    found = gradcheck(lambda: model.loss(inputs, targets, state)[0], list(model.flat.parameters.values()), samples=20)
    assert min(check.decimals for check in found) >= 7
    primitive = model.copy(granularity="primitive")
    primitive.draw_dropout(1)
    plain = primitive.loss(inputs, targets, state)[0].item()
    assert plain == pytest.approx(model.loss(inputs, targets, state)[0].item())


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
