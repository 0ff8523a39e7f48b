"""`micrornn learn`: the course, page by page, and the checks of its exercises."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import click

from micrornn_cli import console
from micrornn_cli.arguments import PATH, Group
from micrornn_cli.exits import Exit
from micrornn_cli.options import AS_JSON

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)  # a block of code: its language, and the code


def _pages() -> list[str]:
    from micrornn.learn import PAGES

    return [str(page.number) for page in PAGES]


@click.group(
    cls=Group,
    shows=_pages,
    invoke_without_command=True,
    short_help="A course: autograd, time, gradients, in six pages.",
)
@AS_JSON
@click.pass_context
def learn(context: click.Context, as_json: bool) -> None:
    """A course in six pages of about 15 minutes: how a gradient is computed, how it travels through time, and how that
    is made fast. Without a command, the list of the pages.

    Each page ends in three exercises. Write the answers into a Python file of your own; `check` says which are right.

    \b
    Examples:
      micrornn learn
      micrornn learn show 1
      micrornn learn check 1 answers.py
    """
    if context.invoked_subcommand is None:
        _list(as_json)


def _list(as_json: bool) -> None:
    from micrornn.learn import PAGES

    Text, out, program = console.Text, console.out, console.program()
    if as_json:
        console.write_json({"pages": [_about(page) for page in PAGES]})
        return
    for page in PAGES:
        row = console.Table.grid(padding=(0, 2))
        row.add_row(Text(str(page.number), "bold"), Text(page.title, "bold"))
        row.add_row("", Text(f"Afterwards you can {page.afterwards}."))
        out.print(row)
        out.print(Text(f"   {_short(page.path)}", "dim"), soft_wrap=True)
    out.print(Text(f"\nPrint a page:        {program} learn show 1"), soft_wrap=True)
    out.print(Text(f"Check your answers:  {program} learn check 1 FILE.py"), soft_wrap=True)


class _WithExample(click.Command):
    """Whoever leaves an argument out is shown the example."""

    def __init__(self, *given: Any, example: str, **options: Any):
        super().__init__(*given, **options)
        self.example = example

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(context, args)
        except click.MissingParameter as error:
            message = f"For example: {console.program()} learn {self.example}"
            raise click.MissingParameter(message, context, error.param) from None


@learn.command(cls=_WithExample, example="show 1", short_help="Print a page in the terminal.")
@click.argument("number")
def show(number: str) -> None:
    """Print page NUMBER in the terminal."""
    from rich.markdown import Markdown
    from rich.syntax import Syntax

    from micrornn.learn import find

    out, parts = console.out, FENCE.split(find(number).path.read_text("utf-8"))
    for prose, language, code in zip(parts[::3], [*parts[1::3], ""], [*parts[2::3], ""]):
        if prose.strip():
            out.print(Markdown(prose, hyperlinks=False))
        if code:  # neither broken nor indented, so that it can be pasted
            out.print()
            out.print(Syntax(code, language, theme="ansi_dark").highlight(code), soft_wrap=True)


@learn.command(
    cls=_WithExample, example="check 1 answers.py", short_help="Check your answers to the exercises of a page."
)
@click.argument("number")
@click.argument("file", type=PATH, metavar="FILE.py")
@AS_JSON
def check(number: str, file: str, as_json: bool) -> None:
    """Run FILE.py, your own file, and check what it says to the three exercises of page NUMBER. Exit code 1 if one of
    them is not right yet.

    The file is code, and is run. It defines what the exercises name; one file may hold the answers to all pages.
    """
    from micrornn.learn import check as checked
    from micrornn.learn import find

    Text, out, page = console.Text, console.out, find(number)
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():  # what the file prints
        report = checked(page, file)
    if as_json:
        results: list[dict[str, Any]] = [{"name": r.name, "passed": r.passed, "said": r.said} for r in report.results]
        console.write_json(
            {"page": page.number, "passed": report.passed, "broken": report.broken, "exercises": results}
        )
    elif report.broken:
        out.print(Text(report.broken, "bold red"), soft_wrap=True)
    else:
        table = console.Table.grid(padding=(0, 2))
        for result in report.results:
            mark = Text("right", "green") if result.passed else Text("not yet", "bold red")
            table.add_row(mark, Text(result.name, "bold"), Text(result.said, overflow="fold"))
        out.print(table)
        count = sum(result.passed for result in report.results)
        out.print(f"page {page.number}: {count} of {len(report.results)} right", style="green" if report.passed else "")
    if not report.passed:
        raise SystemExit(int(Exit.FAILED))


def _about(page: Any) -> dict[str, Any]:
    return {"number": page.number, "title": page.title, "afterwards": page.afterwards, "path": str(page.path)}


def _short(path: Path) -> str:
    """From the working folder, if it is below it."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
