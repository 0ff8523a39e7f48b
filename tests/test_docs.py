"""The documents are true: every code block runs and prints what it says, every link leads somewhere, and what
is generated is what docs/generate.py would write.

In README.md and docs/*.md
    ```python    is run; the blocks of a page share their names. `# -> text` is a line that it prints
    ```console   is a session: lines that begin with `$ ` are run, the others are what they print
    ```bash      is run; nothing is compared
    ```output    is what the block before it prints
    ```text      is a picture, not code
All blocks of a page run in one empty folder, in their order. `...` in what is printed stands for anything.
`<!-- not run: reason -->` above a block leaves it out.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import io
import math
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from notices import without_compiling

import micrornn.ops  # noqa: F401  fills the table of ops
from micrornn.config import Config
from micrornn.tape import OPS
from micrornn_cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MEND = "run `make docs` and commit what it changes"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Block(NamedTuple):
    kind: str
    text: str
    line: int
    skip: str  # why it is not run


FENCE = re.compile(r"^(?:<!-- not run: ([^>]*) -->\n+)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path) -> list[Block]:
    text = path.read_text("utf-8")
    return [
        Block(found[2], found[3], text.count("\n", 0, found.start(3)) + 1, found[1] or "")
        for found in FENCE.finditer(text)
    ]


# --- running ------------------------------------------------------------------------------------------------

NUMBER = re.compile(r"(-?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)(?=(\s*(?:s\b|min\b|char/s|word/s|:\d\d min))?)")


def same(wanted: str, got: str, least: float = 1e-12) -> bool:
    """Equal but for white space, and for numbers: they may be a thousandth apart (of at least
    `least`), for another processor adds in another order; times and speeds may be anything."""
    ours, theirs = (NUMBER.sub(lambda n: " ~ " if n[2] else " # ", text) for text in (wanted, got))
    checker = doctest.OutputChecker()
    if not checker.check_output(ours, theirs, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE):
        return False
    if "..." in wanted:
        return True
    pairs = zip(*([float(n[1].replace(",", "")) for n in NUMBER.finditer(t) if not n[2]] for t in (wanted, got)))
    return all(abs(a - b) <= 1e-3 * max(least, abs(a)) for a, b in pairs)


def trim(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def check(block: Block, path: Path, wanted: str, got: str, least: float = 1e-12) -> None:
    assert same(trim(wanted), trim(got), least), (
        f"{name(path)}:{block.line} says\n{trim(wanted)}\n--- but it prints\n{trim(got)}"
    )


def run_python(block: Block, path: Path, names: dict[str, Any], output: str | None) -> None:
    """Run it and compare what it prints with `output`, or with its own `# ->` comments."""
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.text, path, "exec")  # so that a traceback names the page's line
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    said = re.findall(r"# -> (.*)", block.text)
    assert not (said and output), f"{name(path)}:{block.line} says twice what it prints"
    check(block, path, "\n".join(said) if output is None else output, printed.getvalue())


SHELLS = re.compile(r"[|&;<>$`*?~(){}#!\n]")  # what a shell does something about, outside of quotes


class Done(NamedTuple):
    returncode: int
    stdout: str  # with what went to stderr


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MICRORNN_") or k == "MICRORNN_CACHE"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUTF8": "1"}


def shell(command: str, folder: Path) -> Done:
    """What a shell makes of it. A plain `micrornn ...` is called in this process, which spares it the imports."""
    if command.startswith("micrornn ") and not SHELLS.search(re.sub(r"'[^']*'|\"[^\"$`]*\"", "", command)):
        return here(shlex.split(command)[1:])
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment(), timeout=120, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    return Done(done.returncode, done.stdout)


def here(arguments: list[str]) -> Done:
    """The command in this process and the folder that it is in."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        for key in os.environ.keys() - environment().keys():
            patch.delenv(key)
        for key, value in environment().items():
            patch.setenv(key, value)
        patch.setattr("sys.stdin", io.StringIO())
        patch.setattr("micrornn_cli.waiting.PLAIN_SECONDS", math.inf)  # no progress, however busy the machine
        with pytest.raises(SystemExit) as end:
            main(arguments)
    return Done(int(end.value.code or 0), without_compiling(told.getvalue()))


def run_console(block: Block, path: Path, folder: Path) -> None:
    """Run each `$ ` line and compare what it prints with the lines below it, if there are any."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, wanted = re.sub(r"\\\n\s*", "", part).partition("\n")
        done = shell(command, folder)
        if wanted.strip():
            check(block, path, wanted, done.stdout, least=1)
        refused = wanted.startswith(("Error:", "Usage:"))
        assert (done.returncode == 0) != refused, f"{name(path)}:{block.line}: {command}\n{done.stdout}"


@pytest.fixture
def table_of_ops() -> Any:
    """A page may add an op; the table must be as it was for the other tests."""
    before = set(OPS)
    yield
    for added in set(OPS) - before:
        del OPS[added]


@pytest.mark.parametrize("path", PAGES, ids=name)
@pytest.mark.usefixtures("table_of_ops")
def test_code_runs_and_prints_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(path)
    for n, block in enumerate(found):
        behind = found[n + 1] if n + 1 < len(found) else None
        output = behind.text if behind is not None and behind.kind == "output" else None
        if block.skip:
            continue
        if block.kind == "python":
            run_python(block, path, names, output)
        elif block.kind == "console":
            run_console(block, path, tmp_path)
        elif block.kind == "bash":
            for command in re.sub(r"\\\n\s*", "", block.text).splitlines():
                done = shell(command, tmp_path)
                assert done.returncode == 0, f"{name(path)}:{block.line}: {command}\n{done.stdout}"
        elif block.kind == "toml":
            Config.from_dict(tomllib.loads(block.text), f"{name(path)}:{block.line}")
        else:
            assert block.kind in ("output", "text"), f"{name(path)}:{block.line}: what is {block.kind!r}?"


def test_only_what_takes_long_or_installs_is_left_out() -> None:
    for path in PAGES:
        for block in blocks(path):
            if block.skip.endswith("is no dependency"):  # another framework's code, to read beside ours
                assert path.stem == "coming-from" and "micrornn" not in block.text
            elif block.skip:
                ours = r"\$ micrornn .*(shakespeare|aclImdb)"
                elsewhere = "micrornn recipe check echo$"  # tests/test_recipes.py
                long = rf"^(make|pip install|micrornn train$|micrornn compare .* --\S+ \d+|{ours}|{elsewhere})"
                assert re.search(long, block.text, re.MULTILINE), f"{name(path)}:{block.line} could be run"


def test_the_test_itself() -> None:
    assert same("loss 3.3251 nats  12 s left", "loss 3.3252  nats 1:05 min left") is False
    assert same("loss 3.3251 nats  12 s left", "loss 3.3252 nats   9.5 s left")
    assert same("update 20  1,234 char/s", "update 20  99,000 char/s")
    assert not same("update 20", "update 21")
    assert not same("loss 3.32", "loss 3.35")
    assert not same("one", "two")
    assert same("first\n...\nlast", "first\n2\n3\nlast")


# --- what is generated --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_reference_is_what_help_says(generate: ModuleType) -> None:
    written, fresh = (ROOT / "docs" / "commands.md").read_text("utf-8"), generate.commands()
    first = written.splitlines()[0]
    if first != fresh.splitlines()[0]:
        pytest.skip(f"click {version('click')} may lay out its help otherwise; {first.strip('<!- >')}")
    assert written == fresh, f"docs/commands.md is not what --help says: {MEND}"


@pytest.mark.parametrize(
    "page, write", [("README.md", "readme"), ("docs/design.md", "design"), ("docs/inspect.md", "inspect_page")]
)
def test_what_is_listed_is_what_the_sources_say(page: str, write: str, generate: ModuleType) -> None:
    written = (ROOT / page).read_text("utf-8")
    assert written == getattr(generate, write)(written), f"{page} does not list what there is: {MEND}"


def test_picture_is_whole() -> None:
    picture = ElementTree.parse(ROOT / "docs" / "train.svg")
    words = " ".join("".join(picture.getroot().itertext()).replace("\xa0", " ").split())
    for part in (
        "$ micrornn train",
        "lane 1",
        "window 2",
        "batch_size",
        "num_steps",
        "validation",
        "The model writes:",
    ):
        assert part in words
    addresses = {value for node in picture.iter() for value in node.attrib.values() if "://" in value}
    assert not addresses and "url(http" not in words, "a picture must not fetch anything"


# --- links --------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """The names that headings get: small letters, no punctuation, dashes for spaces."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text("utf-8"))):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name(path)} links to {target}, which is not there"
        assert not anchor or anchor in anchors(there), f"{name(path)} links to {target}: no such heading"


def test_every_page_is_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for path in (ROOT / "docs").rglob("*.md"):
        page = path.relative_to(ROOT / "docs").as_posix()
        assert page == "index.md" or f"({page})" in index, f"docs/index.md does not name {page}"


def test_every_file_that_is_named_is_there() -> None:
    """`micrornn/tape.py` in a page is a promise too."""
    for path in PAGES:
        for file in re.findall(r"`((?:micrornn|cli|tests|docs)/[\w/]+\.\w+)`", path.read_text("utf-8")):
            assert (ROOT / file).exists(), f"{name(path)} names {file}, which is not there"


def test_every_command_is_explained() -> None:
    reference = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert all(f"## micrornn {command}\n" in reference for command in COMMANDS)


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_works_as_documented(kind: str, tmp_path: Path) -> None:
    assert f"_MICRORNN_COMPLETE={kind}_source micrornn" in (ROOT / "docs" / "commands.md").read_text("utf-8")
    word = "tr" if kind == "fish" else "1"  # what the script of that line asks when TAB is pressed: fish gives the word
    asked = f'COMP_WORDS="micrornn tr" COMP_CWORD={word}'
    done = shell(f"_MICRORNN_COMPLETE={kind}_complete {asked} micrornn", tmp_path)
    assert "train" in re.split(r"\W+", done.stdout) and "tape" not in done.stdout


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_path_of_somebodys_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"(?<![\w.~$])/(home|root|tmp|Users|work)/", text)
