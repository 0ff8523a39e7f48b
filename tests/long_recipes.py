"""Checks recipes and writes their results into docs/recipes.md: `make recipes`, or

    python tests/long_recipes.py [NAME ...] [--seeds N]

Data that recipes ask for lies in ../shared/data; a recipe without it is left out, and that is told. What other recipes
came to stays in the page.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from micrornn import recipes
from micrornn.checkpoint import RunFolder
from micrornn.kernels.about import about

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "recipes.md"
SHARED = (ROOT.parent / "shared" / "data").resolve()
BEGIN, END = "<!-- results: written by `make recipes` -->\n", "<!-- end of results -->\n"
ZEN = ROOT / "runs" / "recipes" / "zen.txt"  # any 501 characters will do
CMU = ROOT / "runs" / "recipes" / "cmudict.tsv"
DATA = {  # recipe -> its data, below SHARED
    "atis-tags": [f"tagging_atis/en_atis-ud-{part}.conllu" for part in ("train", "dev", "test")],
    "char-rnn": ["shakespeare/shakespeare.txt"],
    "cmudict": [str(CMU)],
    "co2": ["co2/co2-mm-mlo.csv"],
    "min-char-rnn": ["shakespeare/shakespeare.txt"],
    "recite": [str(ZEN)],
    "sp500-direction": ["sp500/sp500_monthly_shiller.csv"],
    "sunspots": ["sunspots/monthly-sunspots.csv"],
}


def check(name: str, seeds: int) -> list[dict[str, Any]] | None:
    """The rows of `micrornn recipe check NAME --json`; None where its data is not here."""
    paths = [SHARED / path for path in DATA.get(name, ())]
    recipe = recipes.find(name)
    if len(paths) != len(recipe.data) or not all(path.exists() for path in paths):
        print(f"{name}: left out, its data ({', '.join(recipe.data)}) is not in {SHARED}")
        return None
    chosen = [word for seed in range(seeds) for word in ("--seed", str(seed))]
    command = [sys.executable, "-m", "micrornn_cli", "recipe", "check", name, *map(str, paths), *chosen, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise SystemExit(f"{name}: exit code {done.returncode}")
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["rows"]
    return rows


def line(name: str, rows: list[dict[str, Any]]) -> str:
    """A row of the page for each expectation, with what each run came to, and how long all of them trained."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["variant"], row["what"]), []).append(row)
    runs = [RunFolder.open(ROOT / "runs" / "recipes" / name / run) for run in dict.fromkeys(row["run"] for row in rows)]
    took = sum(run.metrics()[-1]["seconds"] for run in runs)
    machine = f"{datetime.date.today()}, {about()['processor']}, {took:.0f} s"
    lines = []
    for (variant, what), same in found.items():
        first = same[0]
        seen = ", ".join("none" if row["seen"] is None else f"{row['seen']:.4g}" for row in same)
        holds = "yes" if all(row["holds"] for row in same) else "**no**"
        label = f"{name} {variant}".strip()
        lines.append(f"| {label} | {what} | {first['band']} | {first['from']} | {seen} | {holds} | {machine} |\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=0, help="Seeds 0 to N - 1 in the place of the recipe's own.")
    given = parser.parse_args()
    page = PAGE.read_text("utf-8")
    ZEN.parent.mkdir(parents=True, exist_ok=True)
    ZEN.write_text(subprocess.check_output([sys.executable, "-c", "import this"], text=True)[:501])
    if (SHARED / "cmudict" / "cmudict.dict").exists():
        lines = (SHARED / "cmudict" / "cmudict.dict").read_text("utf-8").splitlines()
        words = [re.sub(r"^([^ (]+)(\(\d+\))? ", r"\1\t", re.sub(" #.*", "", line)) for line in lines]
        CMU.write_text("".join(word + "\n" for word in words if not word.startswith(";;;")), "utf-8")
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    head, rows = "".join(table.splitlines(True)[:2]), table.splitlines(True)[2:]
    failed = []
    for name in given.names or recipes.names():
        found = check(name, given.seeds)
        if found is None:
            continue
        rows = [row for row in rows if row.split("|")[1].split()[0] != name]
        rows.append(line(name, found))
        table = head + "".join(sorted("".join(rows).splitlines(True)))
        PAGE.write_text(before + BEGIN + table + END + after, "utf-8")
        holds = sum(row["holds"] for row in found)
        print(f"{name}: {holds} of {len(found)} as expected")
        failed += [name] if holds < len(found) else []
    if failed:
        raise SystemExit(f"not as expected: {', '.join(failed)}")


if __name__ == "__main__":
    main()
