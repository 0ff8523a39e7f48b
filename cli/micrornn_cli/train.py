"""`micrornn train`: says what it is about to do, does it, shows progress, and says where the results are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import click

from micrornn.config import changeable, may_change
from micrornn.errors import CheckpointError, ConfigError, DataError, DivergedError, named, quoted, told_at
from micrornn.printable import shell_word
from micrornn_cli import console
from micrornn_cli.arguments import PATH, TEXTS, texts, typed_by_hand
from micrornn_cli.exits import Exit
from micrornn_cli.flags import flag_of, flags
from micrornn_cli.options import own_settings, refuse_unused, require_trusted_cell, resolve, settings
from micrornn_cli.signals import graceful
from micrornn_cli.starting import with_shape
from micrornn_cli.streams import silence_unread, unread
from micrornn_cli.taskflags import TaskCommand, read_asked
from micrornn_cli.waiting import compiling, progress


@click.command(cls=TaskCommand, short_help="Train a recurrent network: on text, or on another task.")
@click.argument("files", nargs=-1, type=TEXTS, metavar="[TASK] [FILES]...")
@settings
@click.option("--out", type=PATH, metavar="FOLDER", envvar="MICRORNN_OUT",
              help="Where the run goes.  [runs/TIME-CELL]")  # fmt: skip
@click.option("--resume", type=PATH, metavar="RUN",
              help="Go on with this run where it stopped; only its limits may change. FILES: where its text lies "
              "now.")  # fmt: skip
@click.option("--config", "config_file", type=PATH, metavar="FILE",
              help="Settings from a TOML file, such as a run's config.toml.")  # fmt: skip
@click.option("--set", "own", multiple=True, metavar="NAME=VALUE",
              help="A setting of the task's own, as its flag gives it; a name that is wrong lists those there are. "
              "May be repeated.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="On stdout: every update and the result as JSON lines.")
def train(files: tuple[str, ...], out: str | None, resume: str | None, config_file: str | None, own: tuple[str, ...],
          as_json: bool, **given: Any) -> None:  # fmt: skip
    """Train a recurrent network to predict the next character (or word) of a text.

    FILES are text files, folders or globs, or - for standard input, which is kept in the run; without any, the Python
    standard library's own sources. TASK is another kind of job, with data of its own or FILES of another form.
    Settings come from --config, from the environment (MICRORNN_HIDDEN_SIZE=64) and from flags, each stronger than
    the one before. Metrics and checkpoints go into the run's folder. Ctrl-C stops after the update at hand.

    \b
    Examples:
      micrornn train
      micrornn train book.txt --cell gru --hidden-size 128 --max-minutes 5
      micrornn train text 'notes/**/*.md' --level word --num-steps 32
      micrornn train adding --cell gru --markers ends
      micrornn train --resume runs/2026-11-20-120000-lstm --num-updates 5000
      micrornn train book.txt --init-from runs/2026-11-20-120000-lstm --lr 0.001
    """
    job = None if resume is None else _Job(resume, as_json)
    if job is None:
        kind, files, out, from_file = read_asked(files, config_file, out)
        if given["cell"]:
            from micrornn.cells import trust

            trust(given["cell"])
        from_file |= own_settings(own, kind)
        refuse_unused(kind, given | from_file)
        given, from_file = with_shape(kind, given, from_file)
        config = resolve(given, from_file, "the settings", kind.Settings)
        job = _Job.new(kind, config, files, out, as_json)
        job.scheduled = given["schedule"] is not None or "schedule" in from_file
    else:
        typed = typed_by_hand()  # MICRORNN_* variables are for new runs: this one has its settings
        given = {name: value for name, value in given.items() if name in typed}
        if config_file or own or "out" in typed:
            raise click.UsageError("--resume goes on with a run's own settings; give no --config, --out or --set")
        if files:
            job.moved = True
            job.read(files)
        job.change_limits(given)
    job.go()


class _Job:
    """One run from the first line on the screen to the last."""

    def __init__(self, resume: str | None, as_json: bool):
        from micrornn import tasks
        from micrornn.checkpoint import RunFolder

        self.as_json = as_json
        self.task = tasks.find()
        self.files: tuple[str, ...] = ()
        self.unread = False  # stdout or stderr, any more
        self.out: str | None = None
        self.mended: dict[str, Any] = {}  # what is changed in a run that diverged, as it was
        self.folder: Any = None  # a RunFolder, once the text is known to be usable
        self.moved = False  # whether FILES say where the text of a resumed run lies now
        self.scheduled = True  # whether the schedule was chosen, or is the usual one
        if resume is not None:
            self.folder = RunFolder.open(resume)
            self.folder.lock()
            self.files = tuple(self.folder.files or ())
            values = {name: value for name, value in self.folder.config.items() if name not in ("task", "files")}
            if "watch_gradients" not in values:  # a run of before that was a setting: it goes on being watched
                values["watch_gradients"] = next((row.get("every", 0) for row in self.folder.gradients.read()[-1:]), 0)
            where = named(self.folder.path / "config.toml")
            try:
                self.task = tasks.find(self.folder.config.get("task", tasks.DEFAULT), where)
                self.config = self.task.Settings.from_dict(values, where)
                require_trusted_cell(self.config.cell, where)
            except ConfigError as error:
                raise CheckpointError(told_at(where, error)) from None

    @classmethod
    def new(cls, task: Any, config: Any, files: tuple[str, ...], out: str | None, as_json: bool) -> _Job:
        job = cls(None, as_json)
        job.task, job.config, job.out = task, config.limits(), out
        job.read(files)
        return job

    def read(self, files: Iterable[str]) -> None:
        """Take these files as the text, with absolute paths: the run must be resumable from any folder."""
        from micrornn import data

        self.files = tuple(data.located(name) for name in texts(files))

    def _keep_streams(self) -> None:
        """Keep a text from standard input in the folder of the run, which could not be resumed without it."""
        from micrornn.data.stream import is_copy, kept

        for n, file in enumerate(self.files):
            if is_copy(file):
                name = f"text{n + 1 if n else ''}.txt"
                self.files = (*self.files[:n], str(kept(file, self.folder.path / name)), *self.files[n + 1 :])

    def _paths(self) -> Any:
        """The files of the text. A resumed run has its own, unless FILES say where they are now."""
        from micrornn.runs import own_files

        if self.folder is None or self.moved:
            return self.task.files_of(self.files)
        try:
            return own_files(self.folder.path)
        except (CheckpointError, DataError) as error:
            raise type(error)(f"{error}\n  If it lies elsewhere: {self._again()} FILES") from None

    def _again(self) -> str:
        """The command that goes on with this run."""
        return f"{console.program()} train --resume {shell_word(str(self.folder.path))}"

    def change_limits(self, given: dict[str, Any]) -> None:
        """Change the settings that a resumed run may change: how long it goes on, and where. All others must stay, or
        it would be another run."""
        from micrornn.train import LIMITS

        changed = {name: value for name, value in given.items() if value is not None}
        free = may_change(self.folder.has_diverged)
        for name, value in changed.items():
            if name not in free and value != getattr(self.config, name):
                may = ", ".join(map(flag_of, free))
                raise ConfigError(
                    f"--resume: {flag_of(name)} was {quoted(getattr(self.config, name))} and cannot become "
                    f"{quoted(value)}; only {may} may change"
                )
        place = {name: value for name, value in changed.items() if name in free and name not in LIMITS}
        if place.get("device") == "cpu":  # which has one precision
            place = {"matmul_precision": "float32"} | place
        self.mended = {name: getattr(self.config, name) for name in changed if name in changeable("mends")}
        self.config = dataclasses.replace(self.config, **place)
        limits = {name: value for name, value in changed.items() if name in LIMITS}
        if limits:
            self.config = dataclasses.replace(
                self.config, **({name: type(getattr(self.config, name))(0) for name in LIMITS} | limits)
            )

    def go(self) -> None:
        from micrornn import device, kernels
        from micrornn.checkpoint import RunFolder, default_run_path
        from micrornn.resume import fit_warmup, resume
        from micrornn.startfrom import start_from
        from micrornn.train import Training

        device.require(self.config.device)
        paths = self._paths()
        # the number itself is kept: with another one a resumed run would not be the same to the bit
        self.config = dataclasses.replace(self.config, threads=self.config.threads or device.default_threads())
        kernels.set_threads(self.config.threads)
        with progress("reading the text", quiet=self.as_json) as tell:
            task = self.task.prepare(self.config, paths, tell)
        training = Training(self.config, task)
        resumed = self.folder is not None
        notes = resume(training, self.folder) if resumed else fit_warmup(training, self.scheduled)
        if resumed and self.moved:
            notes.insert(0, "its text is read from FILES from now on, as its config.toml says")
        self.config = training.config
        started = None
        if not (resumed and self.folder.has_checkpoint) and self.config.init_from:
            started = start_from(training.model, training.task, self.config.init_from)
        if self.folder is None:
            self.folder = RunFolder.create(self.out or default_run_path(self._name()), self._settings())
            self._keep_streams()
            self.folder.write_config(self._settings())
        else:
            self._keep_streams()
            if self.folder.has_diverged:  # until both files have the new settings they may differ
                self.folder.save(*training.snapshot(), best=False)
            self.folder.write_config(self._settings())  # the limits may be others now
            self.folder.set_diverged(None)
        try:
            if not self.as_json:
                from micrornn_cli.screen import announce

                changed = [f"{flag_of(name)} {value}" for name, value in self.mended.items()]
                path = str(self.folder.path) if resumed else None
                announce(training, len(paths), bool(self.files), path, started, changed)
            for note in notes:
                console.err.print(f"Note: {flags(note)}.", soft_wrap=True, highlight=False, markup=False)
            stopped = self._run(training)
        except DivergedError as error:
            raise DivergedError(self._with_commands(str(error))) from None
        finally:
            self.folder.close()
        self._finish(training, stopped)

    def _name(self) -> str:
        """The name of the run's folder, without the time."""
        cell, task = self.config.cell_title.lower(), self.task.name.rpartition(":")[2].lower()
        return cell if "vocab" in self.task.RULES else f"{task}-{cell}"

    def _settings(self) -> dict[str, Any]:
        """What config.toml holds."""
        return self.config.to_dict() | {"task": self.task.name, "files": list(self.files)}

    def _run(self, training: Any) -> bool:
        """Train; True if it was stopped by Ctrl-C or a termination signal."""
        from micrornn.train import run
        from micrornn_cli.progress import Live

        started = time.perf_counter()
        with graceful() as stop, compiling(self.as_json), Live(training, self.as_json) as live:
            for report in run(training, self.folder, stop):
                try:
                    if self.as_json:
                        console.write_json(report.to_dict())
                    if report.update == 1 and not self.as_json:
                        live.print(f"first update after {time.perf_counter() - started:.1f} s", style="dim")
                    live.show(report)
                except OSError as error:
                    if not unread(error):
                        raise
                    self.unread = True
                    silence_unread()
                    stop.ask()
            return stop()

    def _with_commands(self, told: str) -> str:
        """The message of a run that diverged, with the commands that follow its advice."""
        from micrornn.divergence import safe_lr

        run, rate = shell_word(str(self.folder.path)), f"--lr {safe_lr(self.config):.2g}"
        settings, (advice, *first) = shell_word(str(self.folder.path / "config.toml")), told.split("\n")
        anew = f"{console.program()} train --config {settings} --init-from {run} {rate}"
        words = f"{advice}: {self._again()} {rate}, or, as a new run from its best weights, {anew}"
        return "\n".join([words, *first])

    def _finish(self, training: Any, stopped: bool) -> None:
        where, again = str(self.folder.path), self._again()
        if self.unread:
            told = f"nobody reads the output any more: stopped after update {training.updates:,}, and the checkpoint"
            click.echo(f"{told} is written. To go on:\n  {again}", err=True)
            raise SystemExit(int(Exit.UNREAD))
        if self.as_json:
            console.write_json({
                "run": where, "updates": training.updates, "seconds": training.seconds, "stopped": stopped,
                "best_val_loss": training.best_val_loss,
            })  # fmt: skip
        else:
            from micrornn_cli.ending import conclude

            conclude(training, bool(self.files), where, again, stopped)
        if stopped:
            raise SystemExit(int(Exit.INTERRUPTED))
