"""The pictures of docs/inspect.md, and what its examples print, from one run on one text.

    python docs/pictures.py shakespeare.txt FOLDER    trains into FOLDER/runs/shakespeare unless that is there, writes
                                                      docs/inspect-*.svg, and FOLDER/NAME.txt for each measure

Training takes 90 seconds on two quiet cores, the rest as long again. The same processor gives the same pictures. The
pictures of `advise` (inspect-advise.svg, inspect-curves.svg) hold times, and need a machine that nobody else uses:

    micrornn advise shakespeare.txt --num-layers 2 --hidden-size 128 --save docs/inspect-advise.svg
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
COLUMNS = "100"  # as wide as a line of the page
SIZES = "--num-layers 2 --hidden-size 128 --batch-size 50 --num-steps 50"
TRAIN = f"{SIZES} --num-updates 2746 --schedule constant --val-every 50"
SHOWN = ("nonfinite", "flow", "weights", "credit", "jacobian", "truncation", "noise", "states")
DRAWN = ("weights", "credit", "jacobian", "truncation", "noise")


def call(*words: str, folder: Path) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "micrornn_cli", *words]
    environment = os.environ | {"COLUMNS": COLUMNS, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main(text: Path, folder: Path) -> None:
    run = Path("runs", "shakespeare")
    if not (folder / run).exists():
        call("train", str(text), *TRAIN.split(), "--out", str(run), folder=folder)
    (folder / "eval.txt").write_text(call("eval", str(run), folder=folder))
    for name in SHOWN:
        save = ("--save", str(DOCS / f"inspect-{name}.svg")) if name in DRAWN else ()
        (folder / f"{name}.txt").write_text(call("inspect", name, str(run), *save, folder=folder))
        print(folder / f"{name}.txt")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
