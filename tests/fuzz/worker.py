"""Runs cases in this process, one after the other, each in a folder of its own, and tells how they ended.

    python -m fuzz.worker FIRST STEP COUNT

A line of JSON for each: its number and kind, and what was wrong with it, if anything. What must hold: no exception but
SystemExit, an exit code from the table (none of 0 where the input cannot be good), no warning of Python's, a message of
a few lines, an end within SECONDS and within so many bytes of memory more than at the start.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS, BYTES = 20, 1500 << 20
MOST_TOLD, MOST_LINE = 3000, 700  # characters of all that is on stderr, and of one line of a message
CODES = {0, 2, 3, 4, 5, 6}


class Hang(BaseException):
    """It took longer than SECONDS."""


def main() -> None:
    first, step, count = map(int, sys.argv[1:])
    home = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    signal.signal(signal.SIGALRM, _ring)
    try:
        os.chdir(home)
        _prepare(home)
        for number in range(first, first + step * count, step):
            print(json.dumps(_tried(number, home)), flush=True)
    finally:
        os.chdir("/")
        shutil.rmtree(home, ignore_errors=True)


def _ring(*_: Any) -> None:
    raise Hang


def _prepare(home: Path) -> None:
    """A run to damage; and all kernels compiled, before the memory is limited and the cache is one of our own."""
    from fuzz import cases, files

    (home / "base").mkdir()
    with contextlib.chdir(home / "base"):
        Path("text.txt").write_text(files.TEXT)
        more = ["tape", "--json"], ["inspect", "states", "run", "--seq-len=40", "--json"]
        word = ["train", "text.txt", "--level=word", *cases.TINY, *cases.SHORT]
        for arguments in (cases.TRAIN, *cases.USES, *cases.RARE, *more, word):
            shutil.rmtree("new", ignore_errors=True)
            code, _, err = _run(arguments)
            assert code == 0, (arguments, code, err)
        shutil.rmtree("run"), shutil.rmtree("new")
        assert _run(cases.TRAIN)[0] == 0
    os.environ["MICRORNN_CACHE"] = str(home / "cache")
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, resource.RLIM_INFINITY))


def _run(arguments: list[str]) -> tuple[Any, str, str]:
    """(exit code or traceback, stdout, stderr) of a command."""
    from micrornn_cli.main import main

    out, err = _Stream(), _Stream()
    code: Any = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code or 0
        except Hang:
            code = f"no end within {SECONDS} s"
        except BaseException:
            code = traceback.format_exc(limit=-3)[-600:]
    return code, out.text(), err.text()


class _Stream(io.TextIOWrapper):
    """A stream as a pipe would be: one that takes bytes, and encodes."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), "utf-8", errors="replace", write_through=True)

    def text(self) -> str:
        return self.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]


@contextlib.contextmanager
def _folder(home: Path) -> Iterator[None]:
    shutil.copytree(home / "base", home / "case")
    config = home / "case" / "run" / "config.toml"
    config.write_text(config.read_text().replace(str(home / "base"), str(home / "case")))
    os.chdir(home / "case")
    try:
        yield
    finally:
        os.chdir(home)
        shutil.rmtree(home / "case", ignore_errors=True)


def _tried(number: int, home: Path) -> dict[str, Any]:
    from fuzz.cases import case

    with _folder(home):
        made = case(number)
        os.environ.update(made.variables)
        signal.alarm(SECONDS)
        code, _, err = _run(made.arguments)
        signal.alarm(0)
        for name in made.variables:
            del os.environ[name]
    return {"number": number, "kind": made.kind, "wrong": wrong(made, code, err), "code": code,
            "arguments": [one[:80] for one in made.arguments], "told": err[-600:]}  # fmt: skip


def wrong(made: Any, code: Any, err: str) -> str:
    """What was wrong with the end of a case; empty if nothing was."""
    if isinstance(code, str):
        return code
    message = err[err.index("Error: ") :] if "Error: " in err else ""
    if code == 0 and made.fails:
        return "exit code 0, and it cannot have been right"
    if code not in CODES:
        return f"exit code {code}"
    if code and not message:
        return f"exit code {code} without a word"
    if "Traceback" in err or "Warning:" in err:
        return "a traceback or a warning of Python's on stderr"
    if (
        len(err) > MOST_TOLD
        or len(message.splitlines()) > 5
        or any(len(line) > MOST_LINE for line in message.splitlines())
    ):
        return f"a message of {len(err):,} characters"
    if made.small and "not enough memory" in err:
        return "out of memory"
    return ""


if __name__ == "__main__":
    main()
