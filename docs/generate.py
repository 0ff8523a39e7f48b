"""Writes what the documents show and nobody should have to type twice.

    python docs/generate.py             docs/commands.md, and lists in README.md, docs/design.md and docs/inspect.md
    python docs/generate.py --picture   docs/train.svg as well, from a real `micrornn train` (1.5 minutes)

`make docs` runs the first; tests/test_docs.py compares its output with what is committed.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import tempfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

from click import Context, Group
from click.testing import CliRunner

from micrornn.inspect.register import about, names
from micrornn_cli.exits import Exit
from micrornn_cli.main import COMMANDS, cli, main

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
CLICK = ".".join(version("click").split(".")[:2])

# --- docs/commands.md ---------------------------------------------------------------------------------------


def commands() -> str:
    """The command reference: what is said about all commands, then the --help of each."""
    names: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        names.append((name,))
        command = cli.get_command(Context(cli), name)
        if isinstance(command, Group):
            names += [(name, below) for below in command.list_commands(Context(command))]
    heads = ["#" * (2 + (len(name) > 1)) + " " + " ".join(("micrornn", *name)) for name in names]
    codes = re.findall(r"= (\d+)(?:  # (.*))?\n", inspect.getsource(Exit))
    return "\n".join(
        [
            f"<!-- Written by docs/generate.py with click {CLICK}. Do not edit: run `make docs`. -->",
            ABOUT.replace("EXIT_CODES", "\n".join(f"| {n} | {what or 'done'} |" for n, what in codes)),
            *(f"{head}\n\n```text\n{_help(*name).rstrip()}\n```\n" for head, name in zip(heads, names)),
        ]
    )


def _help(*arguments: str) -> str:
    """What `micrornn ... --help` prints on a wide terminal."""
    result = CliRunner().invoke(
        cli, [*arguments, "--help"], prog_name="micrornn", terminal_width=WIDTH, max_content_width=WIDTH
    )
    if result.exception:
        raise result.exception
    return result.output


ABOUT = """\
# Commands

Results go to stdout; progress, announcements and errors go to stderr. So `micrornn sample RUN > text.txt`
writes the text and nothing else. Where a program may want to read a result, there is `--json`.

**Settings.** Each flag of `micrornn train` that describes the run can also be set in a TOML file (`--config`)
and in the environment: `MICRORNN_` and the flag's name in capitals, as in `MICRORNN_HIDDEN_SIZE=128`. A flag
is stronger than the environment, the environment is stronger than the file. What was decided is written into
the run's folder as `config.toml`, which can be given to `--config` again.

```toml
cell = "gru"
hidden_size = 128
optimizer = "rmsprop:decay=0.95"
max_minutes = 5
```

**A run's folder** holds `config.toml`; `metrics.jsonl`, one line for each update; `last.ckpt`, from which the
run is resumed to the bit; and `best.ckpt`, the best by validation. With `--keep-every N` there are also `update-N.ckpt`
and so on, each to be used by its path. A `diverged.txt` says why a run ended; with it there, `--resume` takes a lower
`--lr`.

**Caches.** Compiled kernels and tokenized texts lie in `$MICRORNN_CACHE`, else `$XDG_CACHE_HOME/micrornn`, else
`~/.cache/micrornn`. What lies there is executed, so the folder must be yours (or root's) and writable by you alone: a
new one is made so. Where it is not, or cannot be written, a folder of yours among the temporary files takes its place,
and `micrornn info` says why. What is damaged there is made anew, and a full disk stops no command. It may be deleted at
any time. With `NUMBA_CACHE_DIR` the kernels go there.

**Texts and paths** are taken as they are typed. `-` is standard input, of which a run keeps a copy, so that it can
be resumed; a file of that name is `./-`. What exists is taken literally, whatever signs are in its name, before it
is taken for a glob. `~` is a home folder on the command line, in the environment and in TOML files. An empty word,
which an unset shell variable leaves behind, is an error.

**Ends.** Ctrl-C, SIGTERM and SIGHUP (a closed terminal) let a run finish the update at hand and write its
checkpoint; a second one ends it at once. Under `nohup` SIGHUP is ignored. A run whose output nobody reads any more
(`| head`) stops in the same way. An error that is a fault of micrornn's own says so; `MICRORNN_TRACEBACK=1` shows
all of it.

**Completion.** Put one of these lines into the start-up file of your shell:

| shell | file | line |
|---|---|---|
| bash | `~/.bashrc` | `eval "$(_MICRORNN_COMPLETE=bash_source micrornn)"` |
| zsh, after `compinit` | `~/.zshrc` | `eval "$(_MICRORNN_COMPLETE=zsh_source micrornn)"` |
| fish | `~/.config/fish/config.fish` | `_MICRORNN_COMPLETE=fish_source micrornn \\| source` |

`micrornn` must be on the `PATH`: after `make train`, that is `source .venv/bin/activate`.

**Exit codes**

| code | meaning |
|---|---|
EXIT_CODES
"""


# --- README.md, docs/design.md, docs/inspect.md ---------------------------------------------------------------


def readme(text: str) -> str:
    """README.md with its table of commands written anew."""
    rows = [f"| `micrornn {name}` | {line} |" for name, line in COMMANDS.items()]
    return _between(text, "commands", "\n".join(["| command | what it does |", "|---|---|", *rows]))


def inspect_page(text: str) -> str:
    """docs/inspect.md with its table of measures written anew; a row leads to the section that its question heads."""
    heads = {_anchor(head) for head in re.findall(r"^## (.*)$", text, re.MULTILINE)}
    asked = [("is all well, and if not, what first?", "inspect RUN")]
    asked += [(about(name).asks, f"inspect {name} RUN") for name in names()]
    asked += [("so which sizes?", "advise FILES")]
    rows = []
    for question, command in asked:
        anchor = next((_anchor(part) for part in (question, question.partition(",")[0]) if _anchor(part) in heads), "")
        rows.append(f"| {question} | `micrornn {command}` | {f'[below](#{anchor})' if anchor else ''} |")
    return _between(text, "measures", "\n".join(["| you wonder | ask | |", "|---|---|---|", *rows]))


def _anchor(head: str) -> str:
    return re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")


def design(text: str) -> str:
    """docs/design.md with its list of files written anew."""
    return _between(text, "house", "```text\n" + "\n".join(house()) + "\n```")


def _between(text: str, name: str, new: str) -> str:
    """The text with what stands between `<!-- name ... -->` and `<!-- /name -->` replaced."""
    start, end = rf"(?s)(<!-- {name}[^>]*-->\n).*?(\n<!-- /{name} -->)", rf"\g<1>{_quoted(new)}\g<2>"
    replaced, times = re.subn(start, end, text)
    if times != 1:
        raise ValueError(f"expected one pair of marks for {name!r}, found {times}")
    return replaced


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\")


def house() -> list[str]:
    """One line per file, from bottom to top: its name, and the first sentence of its docstring."""
    lines, order = [], _order()
    for package in (ROOT / "micrornn", ROOT / "cli" / "micrornn_cli"):
        lines.append(f"{package.relative_to(ROOT)}/")
        floors = order if package.name == "micrornn" else {}
        inner = [path.relative_to(package) for path in package.rglob("*.py")]
        for inside in sorted(inner, key=lambda inside: _place(inside, floors)):
            path = package / inside
            if said := ast.get_docstring(ast.parse(path.read_text("utf-8"))):
                depth, shown = len(inside.parts), inside.name
                if inside.name == "__init__.py" and depth > 1:
                    depth, shown = depth - 1, inside.parent.name + "/"
                sentence = re.split(r"(?<=[.?!])\s", " ".join(said.split("\n\n")[0].split()))[0]
                lines.append(f"{'  ' * depth + shown + ' ':<22}{sentence}")
    return lines


def _order() -> dict[str, int]:
    """Which part of micrornn/ stands above which: the table by which tests/test_layering.py judges."""
    for node in ast.parse((ROOT / "tests" / "test_layering.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOUSE":
            return {name: n for n, name in enumerate(ast.literal_eval(node.value))}
    raise ValueError("there is no HOUSE in tests/test_layering.py")


def _place(inside: Path, floors: dict[str, int]) -> tuple[int, list[tuple[bool, str]]]:
    """By floor, then by name; a folder's own __init__ before what lies in it."""
    floor = inside.parts[0].removesuffix(".py")
    return floors.get(floor, 999), [(part != "__init__.py", part) for part in inside.parts]


# --- docs/train.svg -----------------------------------------------------------------------------------------

COLUMNS = 80  # into which all lines fit
MOST_UPDATES = 6  # lines of progress that the picture shows


def picture() -> str:
    """The screen of a real run as SVG. Only lines of progress in the middle are left out."""
    from rich.console import Console

    from micrornn_cli import console

    screen = Console(
        record=True,
        width=COLUMNS,
        file=sys.stderr,
        color_system="truecolor",
        force_terminal=False,
        highlight=False,
    )
    console.err = console.out = screen
    screen.print("[bold]$ micrornn train[/]\n")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        try:
            main(["train"])
        except SystemExit as end:
            if end.code:
                raise
    return svg(screen.export_text(styles=True))


def svg(screen: str) -> str:
    """Text with terminal colours as an SVG that needs no font from elsewhere."""
    import io

    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    lines = [line.rstrip() for line in screen.rstrip().split("\n")]
    progress = [n for n, line in enumerate(lines) if re.match(r"update +[\d,]+  ", Text.from_ansi(line).plain)]
    left_out = progress[MOST_UPDATES // 2 : -(MOST_UPDATES // 2)]
    if left_out:
        lines[left_out[0] : left_out[-1] + 1] = ["  ⋮"]
    paper = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    for line in lines:
        text = Text.from_ansi(line)
        text.highlight_regex("⋮", "dim")  # a run of its own, at its own place: not every font has it as wide
        for row in text.divide(range(COLUMNS, len(text), COLUMNS)):  # as a terminal folds a long line
            paper.print(row, soft_wrap=True)
    return paper.export_svg(
        title="micrornn train", theme=MONOKAI, code_format=SVG, unique_id="micrornn", font_aspect_ratio=0.6
    )


# rich's own template fetches its font from the network; a picture in a README must not, and may not.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="micrornn train">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--picture"]):
        sys.exit(__doc__)
    (ROOT / "docs" / "commands.md").write_text(commands(), "utf-8")
    for page, written in (("README.md", readme), ("docs/design.md", design), ("docs/inspect.md", inspect_page)):
        (ROOT / page).write_text(written((ROOT / page).read_text("utf-8")), "utf-8")
    if sys.argv[1:]:
        (ROOT / "docs" / "train.svg").write_text(picture(), "utf-8")
