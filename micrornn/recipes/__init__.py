"""Recipes: a task with all its settings, where they come from, and the result to expect.

names()        those of this package: a file NAME.toml each
find(name)     a recipe by name, or from a TOML file of one's own
Recipe         what such a file says; `jobs` are the runs that it takes
Expectation    a number of a run, and the band in which it is to lie (expected.py looks)
play           (playing.py) trains a job, or goes on with it
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from micrornn import tasks
from micrornn.checkpoint.files import read_file
from micrornn.checkpoint.toml import MOST_BYTES, toml_loads
from micrornn.config import Config
from micrornn.errors import CheckpointError, ConfigError, DataError, counted, instead, named, quoted
from micrornn.schema import Rule, check_table
from micrornn.tasks.task import Task

__all__ = ["Expectation", "Job", "Recipe", "find", "names", "read"]

HERE = Path(__file__).parent
_AT = re.compile(r"(end|best|update [0-9]{1,9}|epoch [0-9]{1,9})")
WHILE_TRAINING = ("loss", "smoothed_loss", "val_loss")  # are in metrics.jsonl; all else is measured by the task
KEPT_OUT = ("seed", "threads", "device", "init_from")  # are chosen where a recipe is run


def _row(kind: type, default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """A field that a recipe's file sets, of this kind and within these limits; it may be missing if there is a
    default."""
    limits = {"optional": default is not dataclasses.MISSING} | limits
    return field(default=default, metadata={"rule": Rule(kind, **limits)})


def _rules(of: type) -> dict[str, Rule]:
    """What may stand in the file, by its name there."""
    rows = {row.name: row.metadata["rule"] for row in dataclasses.fields(of) if "rule" in row.metadata}
    return {"from" if name == "origin" else name: rule for name, rule in rows.items()}


TEXTS = Rule(str)


@dataclass(frozen=True)
class Expectation:
    """A number of a run, and the band in which it is to lie.

    what        loss (of training: the mean over the epoch or the `over` updates that end there), smoothed_loss,
                val_loss, or a metric of the task
    at          end, best (by validation), update N or epoch N
    low, high   the band; one side may be open
    origin      whether the band is from the source, or was measured here
    why         where the band comes from, in words
    variants    of which variants it is expected
    times       the number is multiplied by this, such as the time steps that a loss is summed over
    unit        bits: of a loss in nats; perplexity: e to the loss
    data        a role of the recipe's data that a metric is measured on; "": what the run holds out
    batch_size, num_steps   how a text is read for that; 0: as in training
    """

    what: str = _row(str, most=2000)
    at: str = _row(str, most=2000)
    origin: str = _row(str, choices=("source", "measured"))
    why: str = _row(str, most=2000)
    variants: tuple[str, ...] = _row(list, (), items=TEXTS)
    low: float | None = _row(float, None, finite=True)
    high: float | None = _row(float, None, finite=True)
    times: float = _row(float, 1.0, above=0, finite=True)
    unit: str = _row(str, "", choices=("", "bits", "perplexity"))
    over: int = _row(int, 100, low=1)
    data: str = _row(str, "")
    batch_size: int = _row(int, 0, low=1)
    num_steps: int = _row(int, 0, low=1)

    def holds(self, seen: float | None) -> bool:
        """Whether a number lies in the band; NaN does not."""
        return (
            seen is not None
            and seen == seen
            and (self.low is None or seen >= self.low)
            and (self.high is None or seen <= self.high)
        )

    @property
    def measured(self) -> bool:
        """Whether a checkpoint is measured; all else stands in metrics.jsonl."""
        return self.what not in WHILE_TRAINING or bool(self.data or self.batch_size or self.num_steps)

    @property
    def band(self) -> str:
        """The band in words."""
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"{self.low:g} to {self.high:g}"

    @property
    def title(self) -> str:
        """What is measured, and where, in words."""
        what = self.what.replace("_", " ")
        what = re.sub(r"loss$", self.unit, what) if self.unit else what
        return what + (f" on {self.data}" if self.data else "") + f", {self.at}"


@dataclass(frozen=True)
class Job:
    """One run of a recipe."""

    recipe: Recipe
    variant: str
    seed: int

    @property
    def name(self) -> str:
        """What it is called, and its folder."""
        return "-".join(filter(None, [self.variant, f"seed{self.seed}"]))

    def settings(self, roles: Mapping[str, str]) -> dict[str, Any]:
        """What the recipe says of this run; {ROLE} in a text becomes the path of that role's data."""
        values = self.recipe.settings | self.recipe.variants[self.variant] | {"seed": self.seed}
        return {name: value.format_map(roles) if isinstance(value, str) else value for name, value in values.items()}

    def config(self, roles: Mapping[str, str], **more: Any) -> Any:
        """All settings of this run, in the task's own type."""
        return self.recipe.kind.Settings.from_dict(self.settings(roles) | more, self.recipe.where)


@dataclass(frozen=True)
class Recipe:
    """A task with all its settings, and the result to expect.

    about, source    what is learned, and where the constants come from, each in a line
    minutes          how long all its runs take, about, on two cores with nothing else to do
    settings         of the task, by the names that config.toml has
    variants         name -> settings that differ; by default one, which has no name
    seeds            one run of each variant for each of these
    data             roles of the files that must be given, in order: what is learned from, what a setting names as
                     {ROLE}, and what an expectation is measured on
    files            a name or a glob for each of them: where it lies in a folder that is given in their place
    notes            what differs from the source, and what the numbers were seen to be
    """

    name: str
    where: str
    about: str = _row(str, most=2000)
    source: str = _row(str, most=2000)
    task: str = _row(str, most=2000)
    minutes: float = _row(float, low=0, finite=True)
    settings: dict[str, Any] = _row(dict)  # noqa: RUF009
    expect: tuple[Expectation, ...] = _row(list, items=Rule(dict))
    data: tuple[str, ...] = _row(list, items=TEXTS)
    variants: dict[str, dict[str, Any]] = _row(dict, items=Rule(dict), optional=True)  # noqa: RUF009
    seeds: tuple[int, ...] = _row(list, (0,), items=Rule(int, low=0))
    files: tuple[str, ...] = _row(list, (), items=TEXTS)
    notes: str = _row(str, "", most=20_000)

    @cached_property
    def kind(self) -> type[Task]:
        return tasks.find(self.task, "" if self.task in tasks.names() else self.where)

    def jobs(self, variants: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Job]:
        """The runs, in order; of some variants or other seeds only. ConfigError where there is no such variant."""
        for name in variants:
            if name not in self.variants:
                there = ", ".join(self.variants) if any(self.variants) else "none"
                raise ConfigError(f"recipe {self.name} has no variant {quoted(name)}; it has: {there}")
        return [Job(self, name, seed) for name in variants or self.variants for seed in seeds or self.seeds]

    def roles(self, paths: Sequence[str]) -> dict[str, str]:
        """Role -> path of the data. ConfigError where there are too few or too many."""
        if self.files and len(paths) == 1 and os.path.isdir(paths[0]):
            paths = self._inside(paths[0])
        if len(paths) != len(self.data):
            if not self.data:
                raise ConfigError(f"recipe {self.name} makes its own data; leave {quoted(paths[0])} out")
            files = counted(len(self.data), "data file")
            folder = f" or a folder with {', '.join(self.files)}" if self.files else ""
            raise ConfigError(f"recipe {self.name} wants {files} ({', '.join(self.data)}){folder}, not {len(paths)}")
        return dict(zip(self.data, paths))

    def _inside(self, folder: str) -> list[str]:
        """The paths of all data in a folder. DataError where one is not there."""
        for name in self.files:
            if not glob.glob(os.path.join(glob.escape(folder), name)):
                wanted = f"recipe {self.name} wants {', '.join(self.files)}"
                raise DataError(f"{named(folder)}: there is no {name} in this folder; {wanted}")
        return [str(Path(glob.escape(folder) if glob.has_magic(name) else folder, name)) for name in self.files]

    def learned(self, paths: Sequence[str]) -> list[str]:
        """What of the data is learned from: all that no setting asks for, and that is not for measuring."""
        texts = [value for part in (self.settings, *self.variants.values()) for value in part.values()]
        asked = {role for role in self.data if any(f"{{{role}}}" in text for text in texts if isinstance(text, str))}
        asked |= {expected.data for expected in self.expect}
        return [path for role, path in self.roles(paths).items() if role not in asked]


def names() -> list[str]:
    """Of all recipes of this package, in the order of the alphabet."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def find(name: str) -> Recipe:
    """The recipe of this name, or in this TOML file. ConfigError with the nearest names, or with what is wrong."""
    own = name.endswith(".toml") or "/" in name
    if not own and name not in names():
        near = instead(name, names(), "there are")
        more = "; `micrornn recipe list` tells what there is" if "\n" in near else near
        raise ConfigError(f"there is no recipe {quoted(name)}{more}")
    path = Path(name) if own else HERE / f"{name}.toml"
    where = named(path) if own else f"recipe {name}"
    try:
        values = toml_loads(read_file(path, MOST_BYTES))
    except CheckpointError as error:
        raise DataError(str(error)) from None
    except ValueError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None
    return read(values, path.stem, where)


def _checked(values: Mapping[str, Any], of: type, where: str) -> dict[str, Any]:
    """What a table of a recipe's file says, as the fields of a Recipe or an Expectation. ConfigError: what is wrong."""
    rules = _rules(of)
    for name in values:
        if name not in rules:
            raise ConfigError(f"{where}: {quoted(name)} means nothing in a recipe{instead(name, rules, 'there are')}")
    table = check_table(values, rules, where, ConfigError)
    named = {"origin" if name == "from" else name: value for name, value in table.items()}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in named.items()}


def read(values: Mapping[str, Any], name: str, where: str) -> Recipe:
    """A recipe from what its file says, `where`. ConfigError names the first thing that is missing or wrong."""
    table = _checked(values, Recipe, where)
    table["variants"] = table.get("variants") or {"": {}}
    table["notes"] = table.get("notes", "").strip()
    rows = [_checked(given, Expectation, f"{where}: expectation {n}") for n, given in enumerate(table["expect"], 1)]
    table["expect"] = tuple(Expectation(**({"variants": tuple(table["variants"])} | row)) for row in rows)
    recipe = Recipe(name, where, **table)
    _check(recipe)
    return recipe


def require_metrics(recipe: Recipe, task: Task) -> None:
    """ConfigError where something is expected that the task, with its data, does not measure."""
    known = [*WHILE_TRAINING, *(metric.name for metric in task.metrics if metric.name not in WHILE_TRAINING)]
    for n, expected in enumerate(recipe.expect, 1):
        if expected.what not in known:
            where = f"{recipe.where}: expectation {n}"
            raise ConfigError(f"{where}: there is no {quoted(expected.what)}{instead(expected.what, known)}")


def _check(recipe: Recipe) -> None:
    where = recipe.where
    roles = {role: role for role in recipe.data}
    try:
        for job in recipe.jobs():
            for name in KEPT_OUT:
                if name in recipe.settings | recipe.variants[job.variant]:
                    raise ConfigError(f"{where}: {name} is no constant of a recipe; leave it out")
            config = job.config(roles)
            recipe.kind.require_used(config)
            if not (config.num_updates or config.epochs or config.patience) or config.max_minutes:
                raise ConfigError(f"{where}: num_updates, epochs or patience must say where it ends, and not the clock")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}: {{...}} in a setting must be one of the data's roles: {error}") from None
    except ConfigError as error:
        told = str(error)
        raise ConfigError(told if told.startswith(where) else f"{where}: {told}") from None
    if not recipe.expect:
        raise ConfigError(f"{where}: it expects nothing; say at least one [[expect]]")
    if recipe.files and len(recipe.files) != len(recipe.data):
        raise ConfigError(
            f"{where}: files has {counted(len(recipe.files), 'name')}, and data {counted(len(recipe.data), 'role')}"
        )
    if not recipe.seeds:
        raise ConfigError(f"{where}: seeds is empty; leave it out")
    for n, expected in enumerate(recipe.expect, 1):
        at = f"{where}: expectation {n}"
        if not _AT.fullmatch(expected.at):
            raise ConfigError(f"{at}: at is {quoted(expected.at)}; write end, best, update N or epoch N")
        if expected.low is None and expected.high is None:
            raise ConfigError(f"{at}: it has neither low nor high")
        if expected.low is not None and expected.high is not None and expected.low > expected.high:
            raise ConfigError(f"{at}: low {expected.low:g} is above high {expected.high:g}")
        for variant in expected.variants:
            if variant not in recipe.variants:
                raise ConfigError(f"{at}: there is no variant {quoted(variant)}")
        if expected.data and expected.data not in recipe.data:
            raise ConfigError(f"{at}: there is no data {quoted(expected.data)}")
        measured = expected.measured
        if measured and expected.at not in ("end", "best"):
            raise ConfigError(f"{at}: a checkpoint is measured, so at must be end or best, not {quoted(expected.at)}")


def __dir__() -> list[str]:
    return __all__
