"""The folder of a comparison: its plan, what became of each run, and the runs themselves, each a run folder.

comparison.json                  the plan, and the outcome of each run that has ended; written whole or not at all
01-hidden-size-64/seed-0/ ...    a run: to be resumed, inspected and sampled from like any other
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.checkpoint import StrPath, write_atomically
from micrornn.checkpoint.files import not_written, read_file
from micrornn.checkpoint.lock import Lock
from micrornn.compare.plan import MOST_RUNS, Plan, Variant
from micrornn.config import MOST
from micrornn.errors import CheckpointError, counted, named, quoted
from micrornn.printable import shell_word
from micrornn.schema import Rule, check_table

NAME, VERSION, MOST_BYTES = "comparison.json", 1, 64 << 20
STOP = ".stop"  # as long as it is there, runs end after the update at hand

_TEXT, _COUNT = Rule(str), Rule(int, low=0, high=MOST)
_PLAN = {
    "task": Rule(str, most=4096), "files": Rule(list, items=_TEXT), "common": Rule(dict),
    "varied": Rule(list, items=_TEXT), "variants": Rule(list, items=Rule(dict), most=MOST_RUNS),
    "seeds": Rule(list, items=Rule(int, low=0), most=MOST_RUNS), "scheduled": Rule(bool), "unit": _TEXT, "loss": _TEXT,
    "texts": Rule(list, items=_TEXT), "baseline": Rule(list, none=True),
    "rungs": Rule(list, items=Rule(float, above=0, high=1)),
    "brackets": Rule(list, items=Rule(int, low=1, high=MOST), optional=True),  # older ones had a single one
}  # fmt: skip
_VARIANT = {
    "name": _TEXT, "settings": Rule(dict), "num_updates": _COUNT, "epochs": Rule(float, low=0), "val_every": _COUNT,
    "tokens": Rule(int, low=0),
}  # fmt: skip
_OUTCOME = {"state": Rule(str, choices=("done", "failed", "dropped")), "why": _TEXT}


@dataclass(frozen=True)
class Outcome:
    """How a run ended. state: done, failed, dropped (by a search), stopped (to be gone on with), or "" (not begun).
    why: of one that failed, in a line or two."""

    state: str = ""
    why: str = ""


class Comparison:
    """Made by `create` or `open`. Only one process at a time goes on with it; several may read."""

    def __init__(self, path: Path, plan: Plan, outcomes: dict[str, Outcome]):
        self.path, self.plan, self.outcomes = path, plan, outcomes
        self._lock: Lock | None = None

    @classmethod
    def create(cls, path: StrPath, plan: Plan) -> Comparison:
        """Make its folder; or open it, if just this comparison lies there. CheckpointError if something else does."""
        path = Path(path)
        if (path / NAME).exists():
            found = cls.open(path)
            if found.plan != plan:
                raise CheckpointError(
                    f"{named(path)}: holds another comparison ({_difference(found.plan, plan)}).\n"
                    f"Choose another `out`, or go on with that one: `resume={shell_word(str(path))}`"
                )
            return found
        try:
            path.mkdir(parents=True, exist_ok=True)
            if {entry.name for entry in path.iterdir()} - {f".{NAME}.tmp"}:
                raise CheckpointError(f"{named(path)}: exists and is not empty.\nChoose another `out`.")
        except (OSError, ValueError) as error:
            raise not_written(path, error) from error
        made = cls(path, plan, {})
        made.write()
        return made

    @classmethod
    def open(cls, path: StrPath) -> Comparison:
        """One that exists. CheckpointError where there is none, or where it cannot be used."""
        path = Path(path)
        file = path / NAME
        if not file.exists():
            what = "no comparison.json in it" if path.is_dir() else "no such folder"
            if (path / "config.toml").exists():
                above = next((folder for folder in path.absolute().parents[:2] if (folder / NAME).exists()), None)
                what = f"it is a run; that of its comparison is {named(above)}" if above else "it is a run of its own"
            raise CheckpointError(f"{named(path)}: not the folder of a comparison, {what}.")
        where = named(file)
        try:
            read = json.loads(read_file(file, MOST_BYTES))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{where}: not valid JSON: {error}. It was changed by hand?") from None
        rules = {"version": Rule(int), "plan": Rule(dict), "outcomes": Rule(dict, items=Rule(dict))}
        read = check_table(read, rules, where, CheckpointError)
        if read["version"] != VERSION:
            raise CheckpointError(
                f"{where}: is of version {read['version']}, and this micrornn knows version {VERSION}"
            )

        def row(entry: Any, rules: dict[str, Rule], name: str) -> dict[str, Any]:
            known = check_table(entry, rules, where + name, CheckpointError)
            return {name: tuple(v) if isinstance(v := known[name], list) else v for name in rules if name in known}

        values = row(read["plan"], _PLAN, "")
        variants = [Variant(**row(v, _VARIANT, f": variants[{n}]")) for n, v in enumerate(values["variants"])]
        plan = Plan(**(values | {"variants": tuple(variants)}))
        if wrong := _wrong(plan):
            raise CheckpointError(f"{where}: {wrong}. It was changed by hand?")
        outcomes = {run: Outcome(**row(o, _OUTCOME, f": outcomes[{run}]")) for run, o in read["outcomes"].items()}
        return cls(path, plan, outcomes)

    def write(self) -> None:
        """comparison.json, with what is known by now."""
        outcomes = {run: {"state": o.state, "why": o.why} for run, o in self.outcomes.items()}
        text = json.dumps({"version": VERSION, "plan": self.plan.to_dict(), "outcomes": outcomes}, indent=1)
        write_atomically(self.path / NAME, [text.encode(errors="surrogateescape"), b"\n"])

    def set(self, variant: int, seed: int, outcome: Outcome) -> None:
        """What became of a run, on disk when this returns."""
        self.outcomes[self.run(variant, seed)] = outcome
        self.write()

    def outcome(self, variant: int, seed: int) -> Outcome:
        """Of a run that was begun and has not ended: stopped."""
        begun = Outcome("stopped") if self.folder(variant, seed).exists() else Outcome()
        return self.outcomes.get(self.run(variant, seed), begun)

    def run(self, variant: int, seed: int) -> str:
        """The path of a run inside of the comparison."""
        words = re.sub(r"[^A-Za-z0-9.=+-]+", "-", self.plan.variants[variant].name).strip("-.")[:40]
        return f"{variant + 1:02d}-{words}/seed-{seed}"

    def folder(self, variant: int, seed: int) -> Path:
        return self.path / self.run(variant, seed)

    def runs(self) -> list[tuple[int, int]]:
        """(variant, seed) of all, in the order in which they are trained: each variant once, then each once more."""
        return [(n, seed) for seed in self.plan.seeds for n in range(len(self.plan.variants))]

    def lock(self) -> None:
        """From now on no other process goes on with it. CheckpointError with its number, if one does."""
        try:
            self._lock = self._lock or Lock(self.path)
        except CheckpointError as error:
            raise CheckpointError(
                str(error).replace("this run is being trained", "this is being gone on with")
            ) from None

    @property
    def stop_file(self) -> Path:
        return self.path / STOP

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Locked, and no order to stop from before is left, before or after."""
        self.lock()
        try:
            with contextlib.suppress(OSError):
                self.stop_file.unlink()
            yield
        finally:
            with contextlib.suppress(OSError):
                self.stop_file.unlink()
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.release()

    def stop(self) -> None:
        """Ask the runs that are under way to end, wherever they run."""
        with contextlib.suppress(OSError):
            os.close(os.open(self.stop_file, os.O_CREAT | os.O_WRONLY, 0o666))


def _wrong(plan: Plan) -> str:
    """What cannot be in a plan that is in order, in words; empty: nothing."""
    if not plan.variants or not plan.seeds or len(set(plan.seeds)) < len(plan.seeds):
        return "there must be variants, and seeds that differ"
    kinds = None if plan.baseline is None else [type(part) for part in plan.baseline]
    if plan.baseline and (kinds != [str, float] or not math.isfinite(plan.baseline[1])):
        return f"the baseline is {quoted(plan.baseline)}, not words and a number"
    if plan.rungs and (list(plan.rungs) != sorted(set(plan.rungs)) or plan.rungs[-1] != 1):
        return f"the rungs are {quoted(plan.rungs)}; they must rise to 1"
    if plan.brackets and (sum(plan.brackets) != len(plan.variants) or len(plan.brackets) > len(plan.rungs)):
        return f"the brackets have {quoted(plan.brackets)} settings, of {len(plan.variants)}"
    return ""


def _difference(old: Plan, new: Plan) -> str:
    """The first thing in which two differ, in words."""
    for name, was in old.common.items():
        if name in new.common and new.common[name] != was:
            return f"its {name.replace('_', '-')} is {was}, not {new.common[name]}"
    if [v.name for v in old.variants] != [v.name for v in new.variants]:
        return f"it compares {' | '.join(v.name for v in old.variants)[:60]}"
    if old.task != new.task or old.files != new.files or old.texts != new.texts:
        return "of another task, or on another text"
    if old.seeds != new.seeds:
        return f"with {counted(len(old.seeds), 'seed')}, not {len(new.seeds)}"
    return "with other limits"
