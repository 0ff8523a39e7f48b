"""One row per task but `text`: what a small run of it is given, and what it answers to new input.

ROWS                  what test_task_runs.py goes through
SMALL                 flags of a run that takes a moment
same(one, two)        both runs ended with the same state, to the bit
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from micrornn import tasks
from micrornn.checkpoint import load

SMALL = ["--hidden-size", 6, "--batch-size", 4, "--num-steps", 6, "--val-every", 3, "--schedule", "constant"]
WORDS = ("an", "ant", "ate", "a", "tea", "at", "ten", "net", "eat", "neat", "tan", "tie")
PAIRS = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in WORDS)
TAGGED = "".join(
    f"the O\n{a} B-beast\n{b} I-beast\n" + "runs O\n" * n + "\n" for a, b, n in zip("aab", "cbc", (0, 1, 3))
)
RATED = "".join(f"a {'very ' * n}{w} one\t{y}\n" for n, w, y in zip(range(4), "gbgb", "pnpn"))
TABLE = "day,a,b,c\n" + "".join(f"{1900 + n},{n % 4 + n / 9:.3f},{n % 3},{'' if n == 7 else -n}\n" for n in range(60))


class Row(NamedTuple):
    """A task under test.

    own       its own settings, NAME=VALUE each
    general   other flags of its run
    lines     new input
    form      what an answer to a line of it may be
    wrong     a line that is no input, and what is said of it
    file      (name, content) of what it learns from
    smallest  settings of its own for the smallest network that is worth a gradient check
    """

    own: str
    general: str
    lines: list[str]
    form: str
    wrong: tuple[str, str]
    file: tuple[str, str] = ("", "")
    smallest: dict[str, Any] = {}

    def written(self, folder: Path) -> list[Path]:
        """The files that it learns from, now in a folder."""
        if not self.file[0]:
            return []
        (folder / self.file[0]).write_text(self.file[1])
        return [folder / self.file[0]]

    def given(self, task: str) -> list[object]:
        """What `micrornn train` is told, for a small run in a folder with its files."""
        small = [*SMALL[:4], *SMALL[6:]] if "num_steps" in tasks.find(task).unused else SMALL
        own = [part for setting in self.own.split() for part in ("--set", setting)]
        return [task, *[name for name, _ in [self.file] if name], *small, *self.general.split(), *own]


ROWS = {
    "adding": Row("markers=ends num_batches=4", "--bidirectional --dropout 0.2 --num-layers 2",
                  ["0.3 0.9* 0.2 0.5*", "1*,2*"], r"-?\d+\.\d+", ("0.3* x 1*", "'x' is no number")),
    "copy": Row("symbols=2 alphabet=3", "--cell rnn", ["1 0", "2,2"], "[012] [012]",
                ("1 3", "wanted 2 numbers in 0..2"), smallest={"symbols": 1}),
    "echo": Row("echo=2 length=200", "--cell gru", ["1 0 0 1", "0110"], "([01] ){3}[01]", ("10x", "wanted bits")),
    "pairs": Row("target_level=word attention=additive beam=3 teacher_forcing=0.5",
                 "--bidirectional --dropout 0.2 --num-layers 2", ["ant", "eel"], ".*",
                 ("ant\tA N T", "there is a tab in it"), ("pairs.tsv", PAIRS)),
    "reversal": Row("digits=3 examples=60 label_smoothing=0.1", "--cell gru", ["123", "9"], ".*",
                    ("12\t21", "there is a tab in it"), smallest={"digits": 3, "examples": 20}),
    "dates": Row("examples=60 attention=none", "--cell rnn --watch-gradients 5 --embedding-size 0",
                 ["3 May 1999", "June 7, 2021"], ".*", ("\t", "there is a tab in it"), smallest={"examples": 20}),
    "tags": Row("label_smoothing=0.1", "--dropout 0.2 --watch-gradients 4 --embedding-size 0", ["the a", "b b"],
                r"([OBI]\S*) ([OBI]\S*)", (" ", "there is no word; wanted a sentence a line"),
                ("a.conll", TAGGED * 4)),
    "sentiment": Row("pad=left read=mean class_weights=balanced max_len=4 keep=last", "--num-layers 2",
                     ["A very g one!", "zzz"], "[pn]",
                     ("a g one\tp", "it ends in a tab and the class p; wanted"),
                     ("rated.tsv", "text\tlabel\n" + RATED * 4)),
    "sine": Row("high=2.5", "", ["1.5", "2"], r"(-?\d\.\d+ ){5}-?\d\.\d+",
                ("2.7", "wanted a number of periods in 1..2.5"), smallest={"high": 2.0}),
    "parity": Row("at=end", "--cell gru", ["1 0 1 1", "0"], "odd|even", ("1 2", "wanted bits")),
    "digits": Row("step=pixel size=5", "--cell rnn", ["###/..#/" + "." * 19, "0 1" + " 0.5" * 23], r"\d",
                  ("1 0 1", "3 pixels, wanted the 25 pixels"), smallest={"size": 5}),
    "onetoone": Row("data=rings", "--num-layers 3 --dropout 0.1", ["0.5 -0.5", "1,1"], "[01]",
                    ("0.5", "wanted two numbers")),
    "series": Row("target=a,3 inputs=c horizon=2 difference=1 season=4 test_fraction=0 missing=previous", "",
                  ["1,2,3", "2,3,4", "3,4,5"], r"-|(-?[\d.e-]+ ?){4}", ("1,x,3", "b is 'x', wanted a number"),
                  ("table.csv", TABLE), {"target": "b"}),
}  # fmt: skip


def same(one: str, two: str) -> None:
    (a, first), (b, second) = load(f"{one}/last.ckpt"), load(f"{two}/last.ckpt")
    assert a.keys() == b.keys() and first["updates"] == second["updates"]
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], name)
