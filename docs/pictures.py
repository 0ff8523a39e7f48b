"""The pictures of docs/inspect.md, and what its examples print, from one run on one text.

    python docs/pictures.py shakespeare.txt FOLDER            trains into FOLDER/runs/shakespeare unless that is there,
                                                              writes docs/inspect-*.svg, and FOLDER/NAME.txt for each
                                                              measure
    python docs/pictures.py shakespeare.txt FOLDER --timed    the pictures that hold times: inspect-advise.svg,
                                                              inspect-curves.svg, and FOLDER/advise.txt

Training takes 90 seconds on two quiet cores, the rest as long again. The same processor gives the same pictures. With
--timed it takes five minutes, and needs a machine that nobody else uses; what it prints goes into the text of the page
by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from micrornn.checkpoint import RunFolder
from micrornn.inspect.measure import Measure, Verdict
from micrornn.inspect.panels import Curve, Lines
from micrornn.report.figure import figure

DOCS = Path(__file__).resolve().parent
COLUMNS = "100"  # as wide as a line of the page
MODEL = "--num-layers 2 --hidden-size 128"
TRAIN = f"{MODEL} --batch-size 50 --num-steps 50 --num-updates 2746 --schedule constant --val-every 50"
SHOWN = ("nonfinite", "flow", "weights", "credit", "jacobian", "truncation", "noise", "states")
DRAWN = ("weights", "credit", "jacobian", "truncation", "noise")
RACE = {  # what is raced to TARGET, by its name in the picture
    "50 lanes of 50 time steps, lr 0.006": "--batch-size 50 --num-steps 50 --val-every 50",
    "32 lanes of 16 time steps, lr 0.0047": "--batch-size 32 --num-steps 16 --val-every 244 --lr 0.0047",
}
TARGET = 1.60  # nats per character


def call(*words: str, folder: Path) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "micrornn_cli", *words]
    environment = os.environ | {"COLUMNS": COLUMNS, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def measures(text: Path, folder: Path) -> None:
    """Every measure of one run."""
    run = Path("runs", "shakespeare")
    if not (folder / run).exists():
        call("train", str(text), *TRAIN.split(), "--out", str(run), folder=folder)
    (folder / "eval.txt").write_text(call("eval", str(run), folder=folder))
    for name in SHOWN:
        save = ("--save", str(DOCS / f"inspect-{name}.svg")) if name in DRAWN else ()
        (folder / f"{name}.txt").write_text(call("inspect", name, str(run), *save, folder=folder))
        print(folder / f"{name}.txt")


def timed(text: Path, folder: Path) -> None:
    """`advise`, and the validation loss of two runs over their seconds."""
    told = call("advise", str(text), *MODEL.split(), "--save", str(DOCS / "inspect-advise.svg"), folder=folder)
    (folder / "advise.txt").write_text(told)
    curves, reached = [], []
    for n, (name, sizes) in enumerate(RACE.items()):
        run = Path("runs", f"race-{n}")
        words = [*MODEL.split(), *sizes.split(), "--max-minutes", "1.5", "--out", str(run)]
        call("train", str(text), *words, folder=folder)
        rows = [row for row in RunFolder.open(folder / run).metrics() if row["val_loss"] is not None]
        curves.append(Curve(name, *(np.array([row[key] for row in rows]) for key in ("seconds", "val_loss"))))
        first = next(row for row in rows if row["val_loss"] < TARGET)
        reached.append(f"{first['seconds']:.1f} s with {name.partition(',')[0]}")
        print(f"{reached[-1]}: {first['update']:,} updates, {first['tokens'] / 1e6:.2f} million characters")
    ends = np.array([0.0, max(curve.x[-1] for curve in curves)])
    panel = Lines(
        "Validation loss on Shakespeare, LSTM 2 x 128", "seconds of training", "nats per character",
        [*curves, Curve(f"{TARGET:.2f}", ends, np.full(2, TARGET))], limits=(1.45, 2.2),
    )  # fmt: skip
    verdict = Verdict("healthy", f"{TARGET:.2f} is reached after {', after '.join(reached)}.")
    measure = Measure("race", {"text": text.name}, {}, {}, {}, (verdict,))
    (DOCS / "inspect-curves.svg").write_bytes(figure([(measure, [panel])], "svg"))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["--timed"]):
        sys.exit(__doc__)
    (timed if sys.argv[3:] else measures)(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
