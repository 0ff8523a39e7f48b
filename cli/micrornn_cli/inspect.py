"""`micrornn inspect`: measures on a trained model, shown in the terminal, as a figure, a page, JSON or CSV."""

from __future__ import annotations

import inspect as inspection
import os
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import click

from micrornn.errors import ConfigError, MicrornnError
from micrornn.inspect import register
from micrornn.inspect.kinds import KINDS
from micrornn.owncode import is_own_code
from micrornn.printable import printable, shell_word
from micrornn_cli import console
from micrornn_cli.arguments import PATH, TEXTS, Group, texts
from micrornn_cli.exits import Exit
from micrornn_cli.flags import flags
from micrornn_cli.options import best_or_last, of_text
from micrornn_cli.waiting import compiling, progress

SIZE = click.IntRange(1)
ALL = SimpleNamespace(
    line="All of these, one after the other: what belongs on a page.", words="All measures, one after the other.",
    example="`html=report.html`", windows=None, seq_len=None, batch_size=None, needs="",
)  # fmt: skip

# What `micrornn inspect RUN` gives, and the measures that it looks at: all that take a second or two.
DIAGNOSIS = SimpleNamespace(
    line="One diagnosis: what is well, what is not, what to try first. `micrornn inspect RUN` is short for it.",
    words="Takes the measures that are quick, and says in a paragraph what they find, which of them say so, and how to "
    "see each. The others take longer; --all takes them too.",
    example="", windows=None, seq_len=None, batch_size=None, needs="",
)  # fmt: skip
SEVERAL = {"diagnosis": DIAGNOSIS, "all": ALL}  # which are made of other measures


class Measures(Group):
    """A command for each measure of the register, made when it is needed; for a measure in a user's file; and for the
    diagnosis, which is the default."""

    def list_commands(self, context: click.Context) -> list[str]:
        return ["diagnosis", *register.names(), "all"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in SEVERAL:
            return _command(name, SEVERAL[name])
        if name in register.names():
            return _command(name, register.about(name))
        return _command(name, _own(name)) if is_own_code(name) else None

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """`inspect RUN` and `inspect --json RUN` ask for the diagnosis. If the first word is no path and more words
        follow, it is taken for a misspelt measure."""
        if args and args[0] not in (*self.list_commands(context), "-h", "--help") and not is_own_code(args[0]):
            if args[0].endswith(".py"):
                raise click.UsageError(f"{args[0]}: a measure in a file is named with its class, {args[0]}:CLASS")
            words = [word for word in args if not word.startswith("-")]
            slip = len(words) > 1 and words[0] == args[0] and not os.path.exists(words[0]) and "=" not in words[0]
            if not slip or args[1].startswith("-"):
                args = ["diagnosis", *args]
        return super().parse_args(context, args)


@click.group(cls=Measures, short_help="See where the gradient goes.")
def inspect() -> None:
    """See where the gradient goes: how far back it reaches, what truncation costs, what blew up.

    RUN is a run folder or a checkpoint. What is read is the data that the run learns from, or the --text of a
    language model. Each measure ends with a verdict in words, the numbers behind it, and what to do. `micrornn
    inspect RUN`, without a measure, gives one diagnosis: what is well, what is not, what to try first.

    \b
    Examples:
      micrornn inspect runs/2026-11-20-120000-lstm
      micrornn inspect credit runs/2026-11-20-120000-lstm
      micrornn inspect all runs/... --html report.html
      micrornn inspect flow runs/... --fail-on vanishing,exploding
    """


def _own(name: str) -> Any:
    """What a measure in a user's file says about itself. The file may be run, because its name was typed."""
    kind = register.find(name)
    line, _, words = inspection.cleandoc(kind.__doc__ or f"The measure {kind.name}.").partition("\n")
    facts = {key: getattr(kind, key) for key in ("windows", "seq_len", "batch_size", "needs")}
    return SimpleNamespace(line=line, words=words, example="", **facts)


def _command(name: str, what: Any) -> click.Command:
    """The command of one measure; all have the same flags."""

    def run(**given: Any) -> int:
        return _inspect(name, **given)

    def size(number: int | None) -> str:
        return "" if name in SEVERAL else f"  [{'as in training' if number is None else number}]"

    words = flags(" ".join(what.words.split()))
    options: list[Callable[..., Any]] = [
        click.argument("run", type=PATH),
        click.option("--text", multiple=True, metavar="FILE", type=TEXTS,
                     help="Of a language model: a text file, folder or glob, or -, to read instead; may be given "
                     "several times."),
        *of_text("--text"),
        *([
            click.option("--seq-len", type=SIZE, metavar="T",
                         help="Time steps to read, in one lane from the beginning." + size(what.seq_len)),
        ] if what.needs == "text" else [
            click.option("--windows", type=SIZE, metavar="N",
                         help="Windows to look at, spread evenly over the data." + size(what.windows)),
            click.option("--seq-len", type=SIZE, metavar="T", help="Time steps of a window." + size(what.seq_len)),
            click.option("--batch-size", type=SIZE, metavar="N",
                         help="Lanes, read side by side." + size(what.batch_size)),
        ]),
        best_or_last,
        click.option("--save", type=PATH, metavar="FIG.PNG|SVG", help="Write a figure (extra: plot)."),
        click.option("--html", type=PATH, metavar="FILE",
                     help="Write one page that needs nothing else (extra: report)."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object instead of pictures."),
        *([] if name in SEVERAL else [
            click.option("--csv", "as_csv", is_flag=True, help="All numbers, one a line, instead of pictures.")]),
        *([click.option("--all", "everything", is_flag=True, help="Take all measures, not only the quick ones.")]
          if name == "diagnosis" else []),
        click.option("--fail-on", metavar="KIND,...",
                     help=f"Exit code 1 if there is a verdict of one of these kinds: {', '.join(KINDS)}."),
    ]  # fmt: skip
    for option in reversed(options):
        run = option(run)
    shown = "" if name == "diagnosis" else shell_word(name) + " "
    example = f"micrornn inspect {shown}runs/... {flags(what.example)}".rstrip()
    about = f"{words}\n\n\b\nExample:\n  {example}"
    return click.command(name, short_help=what.line, help=f"{what.line}\n\n{about}")(run)


def _inspect(name: str, run: str, text: tuple[str, ...], seq_len: int | None, which: str, save: str | None,
             html: str | None, as_json: bool, fail_on: str | None, as_csv: bool = False, windows: int | None = None,
             batch_size: int | None = None, everything: bool = False, unseen: str | None = None,
             encoding: str | None = None) -> int:  # fmt: skip
    """Check everything that can be checked; then measure, show, write, and judge. Returns the exit code."""

    from micrornn.inspect.measure import kinds
    from micrornn.inspect.subject import open_subject
    from micrornn.report.run import run_of
    from micrornn.tasks.material import Sizes
    from micrornn_cli.measuring import measured, require_outputs, write_outputs
    from micrornn_cli.panels import brief, view

    if as_json and as_csv:
        raise ConfigError("--json or --csv: one of them")
    if fail_on == "":
        raise click.UsageError("--fail-on is empty (an unset shell variable?); name kinds, or leave it out")
    failing, quiet = set(kinds(fail_on or "")), as_json or as_csv
    require_outputs(save, html)
    with progress("reading the text", quiet) as tell:
        names = texts(text)
        subject = open_subject(run, names, which, tell, unseen=unseen or "", encoding=encoding or "")
        if names != list(text):  # a copy's own name tells nobody anything
            subject.material.words = ", ".join(text)
    found: list[Any] = []
    several = name in SEVERAL
    chosen = [register.find(one) for one in (register.names() if several else [name])]
    if several:
        chosen = [one for one in chosen if not one.why_not(subject)]
    apply = [one.name for one in chosen]
    if name == "diagnosis" and not everything:
        chosen = [one for one in chosen if one.quick]
    if several:
        from micrornn.inspect.window import recurrents_of

        recurrents_of(subject.model)  # what cannot be looked at is told once, and not by each measure
    with compiling(quiet):
        for each in chosen:
            # the sizes of windows say nothing of the one text that some read
            sizes = Sizes() if several and each.needs == "text" else Sizes(windows, seq_len, batch_size)
            try:
                for pair in measured(each, subject, sizes, quiet):
                    found.append(pair)
                    if not quiet and name != "diagnosis":
                        view(*pair, console.out)
                        console.out.print()
            except MicrornnError as error:
                if not several or (each is chosen[-1] and not found):  # of all, the others are worth having
                    raise
                click.echo(printable(flags(f"{each.name} is left out: {error}")), err=True)
    seen = found
    if name == "diagnosis":
        from micrornn_cli.diagnosing import diagnosed, show

        diagnosis, panels = diagnosed(found, subject, run, apply)
        found = [(diagnosis, panels)]
        if not quiet:
            show(diagnosis, panels)
    if as_json and name == "diagnosis":
        from micrornn_cli.diagnosing import as_object

        console.write_json(as_object(diagnosis, panels, seen))
    elif as_json:
        console.write_json(_object(name, found))
    elif as_csv:
        table = found[0][0].to_csv()  # its places may be letters of a text: into a file they go as they are
        click.echo(printable(table) if sys.stdout.isatty() else table, nl=False)
    elif name == "all":
        brief([measure for measure, _ in found], console.out)
    write_outputs(found, save, html, lambda: run_of(subject, console.typed_command()))
    return _judge(seen, failing) or _finite(seen, subject, Sizes(windows, seq_len, batch_size))


def _object(name: str, found: Sequence[Any]) -> dict[str, Any]:
    """For JSON: one measure with those that come with it; or, for `all`, all measures by name."""
    objects = {measure.what: measure.to_dict() for measure, _ in found}
    return objects if name == "all" else objects.pop(found[0][0].what) | objects


def _judge(found: Sequence[Any], failing: set[str]) -> int:
    """The exit code for --fail-on; stderr says which verdict it is for."""
    bad = [verdict.kind for measure, _ in found for verdict in measure.verdicts if verdict.kind in failing]
    if bad:
        click.echo(f"--fail-on: {', '.join(dict.fromkeys(bad))}", err=True)
    return Exit.FAILED if bad else Exit.OK


def _finite(found: Sequence[Any], subject: Any, sizes: Any) -> int:
    """Exit code 6 if a measure met NaN or infinity; stderr says what blew up first."""
    from micrornn.evaluate import require_finite
    from micrornn.finite import require_finite_parameters
    from micrornn_cli.measuring import measured

    broken = [measure.what for measure, _ in found if any(v.kind == "nonfinite" for v in measure.verdicts)]
    try:
        require_finite_parameters(subject.model)
        if not broken:
            return Exit.OK
        if subject.material.tokens is not None:
            require_finite(subject.model, subject.material.tokens)
        first, _ = next(measured(register.find("nonfinite"), subject, sizes, quiet=True))
        words = first.verdicts[0].words
    except MicrornnError as error:
        words = str(error)
    click.echo(printable(flags(f"Error: {', '.join(broken) + ': ' if broken else ''}{words}")), err=True)
    return Exit.DIVERGED
