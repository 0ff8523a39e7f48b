"""Tasks: training, evaluation and checkpoints know them by their interface only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_layering import FILES, ROOT, imports

from micrornn import tasks
from micrornn.errors import ConfigError

# Below these no file imports a task. What is for texts alone, such as sampling and the measures, may import that one.
GENERAL = ("train", "recompute", "runs", "resume", "divergence", "keeping", "snapshot", "checkpoint", "optim")


@pytest.mark.parametrize("path", [path for path in FILES if path.stem in GENERAL], ids=lambda path: path.stem)
def test_the_loop_imports_no_single_task(path: Path) -> None:
    single = {target.partition(":")[0] for target in tasks.REGISTER.values()}
    assert len(single) == len(tasks.REGISTER)
    assert not {name for _, name in imports(path)} & single
    names = "|".join(tasks.names())
    assert not re.search(rf"(==|!=|\bin) *[(\[{{]?[\"']({names})[\"']", path.read_text("utf-8")), (
        "chooses by a task's name"
    )


def test_the_register_is_whole() -> None:
    for name in tasks.names():
        task = tasks.find(name)
        assert task.name == name and task.about and task.metrics
        assert set(task.unused) <= set(task.Settings().to_dict())
    files = {path.stem for path in (ROOT / "micrornn" / "tasks").glob("*.py")} - {"__init__", "task"}
    assert files == {target.partition(":")[0].rpartition(".")[2] for target in tasks.REGISTER.values()}
    with pytest.raises(ConfigError, match=r"no task 'nonsense'; choose one of text"):
        tasks.find("nonsense")
