"""`micrornn predict`: a trained network answers on new input, line by line as it comes."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

import click

from micrornn.errors import ConfigError, DataError
from micrornn_cli import console
from micrornn_cli.arguments import PATH, TEXTS
from micrornn_cli.options import beam_option, best_or_last
from micrornn_cli.waiting import compiling

BY_WORD = ("probabilities", "others", "unknown")  # lists as long as a line has parts: no columns, a single cell
NUMBERS = ("forecast", "wave")  # parts of an answer that say it number by number
BLOCK = 1 << 16  # bytes that are read at once, at most


@click.command(short_help="Answer on new input, from files or standard input.")
@click.argument("run", type=PATH)
@click.argument("files", nargs=-1, type=TEXTS, metavar="[FILES|-]...")
@click.option("--proba", is_flag=True, help="The probabilities, too.")
@click.option("--horizon", type=click.IntRange(1), metavar="N",
              help="Of a series: the N rows that follow the last one, in place of an answer for each row.")  # fmt: skip
@beam_option
@click.option("--csv", "as_csv", is_flag=True, help="A table with a line for each answer, for spreadsheets.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line, for each answer.")
@click.option("--encoding", default="utf-8", show_default=True, metavar="NAME",
              help="What the input is written in, such as cp1252 or utf-16.")  # fmt: skip
@best_or_last
def predict(run: str, files: tuple[str, ...], proba: bool, horizon: int | None, beam: int | None, as_csv: bool,
            as_json: bool, encoding: str, which: str) -> None:  # fmt: skip
    """Let a trained network answer on new input: an answer for each line, in their order. Of what lies in a file, or is
    there in a pipe, some lines are answered together; none waits for a line that has not come.

    RUN is a run folder, or a checkpoint file; the data it learned from is not needed. FILES are files, or - for
    standard input, which is read where none is named. What a line holds depends on the task; one that
    holds something else is told with the line's number, and with what is wanted.

    \b
    Examples:
      echo "0.3 0.9* 0.2 0.5*" | micrornn predict runs/...-adding-lstm
      micrornn predict runs/... new.txt --proba --json | jq .answer
      micrornn predict runs/... sales.csv --horizon 12
    """
    from micrornn.runs import load_run, task_from

    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two forms of the same; give one of them")
    if proba and horizon is not None:
        raise click.UsageError("--horizon answers without probabilities; leave --proba out")
    with compiling(quiet=as_csv or as_json):
        model, _, meta = load_run(run, which, any_task=True)
        task = task_from(meta, **({} if beam is None else {"beam": beam}))
        show = _csv(len(files) > 1) if as_csv else console.write_json if as_json else _text
        if not files and sys.stdin.isatty():
            click.echo(f"An answer for each line that you type, and Ctrl-D ends. A line: {task.takes}", err=True)
        for name in files or ("-",):
            where = "standard input" if name == "-" else name
            lines = Lines(name, where, encoding)
            if horizon is not None:
                for answer in task.go_on(model, (row for _, row in task.read_inputs(lines, where)), horizon):
                    show({"file": where} | answer)
                continue
            for place, answer in _answers(task, model, lines, where, proba):
                show({"file": where, "line": place} | answer)


def _answers(task: Any, model: Any, lines: Lines, where: str,
             proba: bool) -> Iterator[tuple[int, dict[str, Any]]]:  # fmt: skip
    """(line, answer) of each example. Examples that are there are answered before more are waited for. ConfigError if
    probabilities are asked for and the task has none."""
    places: deque[int] = deque()

    def examples() -> Iterator[Any]:
        for place, example in task.read_inputs(lines, where):
            places.append(place)
            yield example

    for answer in task.predict(model, examples(), proba, lambda: lines.at_hand):
        if proba and not {"probability", "probabilities"} & answer.keys():
            raise ConfigError(f"what the task {task.name} answers has no probabilities; leave --proba out")
        yield places.popleft(), answer


class Lines:
    """The lines of a file or of standard input, as they come, without their line ends. DataError if one cannot be read,
    or is in another encoding.

    at_hand    whether the next line is there without waiting: always in a file; in a pipe, if it was read already
    """

    def __init__(self, name: str, where: str, encoding: str):
        from micrornn.data.encodings import codec

        self.name, self.where, self.encoding = name, where, codec(encoding)
        self.read: deque[str] = deque()
        self.waits = True

    @property
    def at_hand(self) -> bool:
        return bool(self.read) or not self.waits

    def __iter__(self) -> Iterator[str]:
        number = 0
        try:
            for lines in self._pieces():
                self.read.extend(lines)
                while self.read:
                    number += 1
                    yield self.read.popleft()
        except UnicodeError:  # not always a UnicodeDecodeError; found in a block of lines, of which none was answered
            place = f", somewhere after line {number:,}" if number else ""
            raise DataError(
                f"{self.where}: is not {self.encoding}{place}; name the right one with --encoding"
            ) from None
        except OSError as error:
            raise DataError(f"{self.where}: {error.strerror or error}") from None

    def _pieces(self) -> Iterator[list[str]]:
        """The complete lines of each block. A pipe gives what it has, and does not wait until a block is full."""
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
        file: Any
        with contextlib.nullcontext(sys.stdin.buffer) if self.name == "-" else open(self.name, "rb") as file:
            with contextlib.suppress(OSError):  # of what is no file of the system
                self.waits = not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            begun = ""
            while block := file.read1(BLOCK):
                *lines, begun = (begun + decoder.decode(block)).split("\n")
                yield lines
            *lines, begun = (begun + decoder.decode(b"", True)).split("\n")
            yield [*lines, *([begun] if begun else [])]


def _text(answer: dict[str, Any]) -> None:
    """The answer in a line, followed by the probabilities after a tab."""
    told = [_line(answer["answer"])]
    for name in ("probability", "probabilities", "others"):
        if name in answer:
            value = answer[name]
            told.append(_line(list(value.items()) if isinstance(value, dict) else value))
    click.echo("\t".join(told))


def _line(value: Any) -> str:
    """A value as text in one line; characters that would break the line are escaped."""
    if isinstance(value, list | tuple):
        return " ".join(map(_line, value))
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _cells(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The columns that a part of an answer takes, and what stands in them: one number in each."""
    if isinstance(value, dict):
        for label, inner in value.items():
            yield from _cells(f"{name}: {label}", inner)
    elif (
        name == "probabilities" and isinstance(value, list) and value and isinstance(value[0], list)
    ):  # of the likeliest tokens
        for n, (token, share) in enumerate(value, 1):
            yield from ((f"token {n}", _line(token)), (f"probability {n}", share))
    elif isinstance(value, list) and name not in BY_WORD:
        for n, inner in enumerate(value, 1):
            yield f"{name} {n}" if len(value) > 1 else name, inner
    else:
        yield name, _line(value) if isinstance(value, list) else value


def _csv(with_file: bool) -> Any:
    """Writes answers as a table; its columns are those of the first one."""
    columns: list[str] = []

    def write(row: list[Any]) -> None:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerow(row)
        click.echo(out.getvalue(), nl=False)

    def show(answer: dict[str, Any]) -> None:
        parts = {name: dict(_cells(name, told)) for name, told in answer.items() if name != "file" or with_file}
        if any(len(parts.get(name, ())) > 1 for name in NUMBERS):
            del parts["answer"]  # it is all of them in one cell
        flat = {column: value for part in parts.values() for column, value in part.items()}
        if not columns:
            columns.extend(flat)
            write(columns)
        write([flat.get(column, "") for column in columns])

    return show
