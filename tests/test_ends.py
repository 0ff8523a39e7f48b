"""How a command ends: by whatever comes from outside or goes wrong inside, with the exit code that says so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from made_up_runs import made_up
from notices import without_compiling

from micrornn import checkpoint
from micrornn_cli import main as program
from micrornn_cli.exits import Exit
from micrornn_cli.main import main

COMMAND = [sys.executable, "-m", "micrornn_cli"]
SMALL = ["--hidden-size", "8", "--batch-size", "2", "--num-steps", "8", "--threads", "1"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and descriptors are those of POSIX")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(made_up("healthy", tmp_path_factory.mktemp("run")).path)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} bottles\n" for n in range(400)))
    return path


# --- a fault inside -------------------------------------------------------------------------------------------------


def _deep() -> None:
    _deep()


@pytest.mark.parametrize(
    "fault, words",
    [
        (EOFError("Ran out of input"), "EOFError: Ran out of input"),
        (KeyError("weights"), "KeyError: 'weights'"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (RecursionError(), "RecursionError"),
        (AssertionError("x" * 5000), "AssertionError: xxx"),
        (StopIteration(), "StopIteration"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
    ],
)
def test_a_fault_is_a_line_that_asks_for_a_report(fault: Exception, words: str, capfd: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    @click.command()
    def broken() -> None:
        raise fault

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: broken)
    for wanted in ("", "1"):
        monkeypatch.setenv("MICRORNN_TRACEBACK", wanted)
        with pytest.raises(SystemExit) as end:
            main(["sample"])
        told = capfd.readouterr().err
        assert end.value.code == Exit.FAULT and words in told and "Please report" in told and "test_ends.py" in told
        assert ("Traceback" in told) == bool(wanted)
        assert wanted or (told.startswith("Error: ") and told.count("\n") == 2 and len(told) < 600)


@pytest.mark.parametrize(
    "error, code",
    [(BrokenPipeError(32, "Broken pipe"), Exit.UNREAD), (OSError(28, "No space left on device"), Exit.CHECKPOINT),
     (PermissionError(13, "Permission denied", "there"), Exit.CHECKPOINT), (KeyboardInterrupt(), Exit.INTERRUPTED),
     (MemoryError(), Exit.USAGE)],
)  # fmt: skip
def test_codes_that_click_would_change(error: BaseException, code: Exit, capfd: pytest.CaptureFixture[str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(program.Commands, "get_command", lambda *_: broken)
    with pytest.raises(SystemExit) as end:
        main(["sample"])
    told = capfd.readouterr().err.strip()
    assert end.value.code == code and bool(told) == (code in (Exit.CHECKPOINT, Exit.USAGE)), told


# --- readers that are gone, streams that were closed -----------------------------------------------------------------


def unread(arguments: list[Any], until: bytes = b"", both: bool = False) -> tuple[int, str]:
    """Run a command whose stdout (or both streams) is closed after the first line that has `until` in it; its exit code
    and what it told."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT if both else subprocess.PIPE
    )
    assert process.stdout is not None
    while until and until not in process.stdout.readline():
        pass
    process.stdout.close()
    told = b"" if both else process.communicate(timeout=60)[1]
    return process.wait(timeout=60), without_compiling(told.decode())


@POSIX
def test_sample_into_head(run: Path) -> None:
    assert unread(["sample", run, "--length", 30_000], b"\n") == (Exit.OK, "")


@POSIX
@pytest.mark.parametrize("words", ["info", "inspect flow RUN", "tape", "eval RUN --json"])
def test_other_commands_into_a_pipe_that_nobody_reads(words: str, run: Path) -> None:
    assert unread([run if word == "RUN" else word for word in words.split()]) == (Exit.UNREAD, "")


@POSIX
@pytest.mark.parametrize("both", [False, True])
def test_training_ends_well_when_nobody_reads_on(both: bool, text: Path, tmp_path: Path) -> None:
    more = ["--out", tmp_path / "run", "--num-updates", 1_000_000] + ([] if both else ["--json"])
    code, told = unread(["train", text, *SMALL, *more], b"first update" if both else b"loss", both)
    assert code == Exit.UNREAD
    updates = checkpoint.load(tmp_path / "run" / "last.ckpt")[1]["updates"]
    assert both or (f"stopped after update {updates:,}" in told and "train --resume" in told and "nobody reads" in told)


@POSIX
@pytest.mark.parametrize("closed", ["1", "2", "0 1 2"])
def test_streams_that_were_closed(closed: str, run: Path, text: Path, tmp_path: Path) -> None:
    descriptors = [int(number) for number in closed.split()]

    def close() -> None:
        for number in descriptors:
            os.close(number)

    def call(*arguments: Any) -> subprocess.CompletedProcess[str]:
        pipes: dict[str, Any] = {name: None if number in descriptors else subprocess.PIPE
                                 for number, name in ((1, "stdout"), (2, "stderr"))}  # fmt: skip
        return subprocess.run([*COMMAND, *map(str, arguments)], preexec_fn=close, text=True, timeout=60, **pipes)

    done = call("sample", run, "--length", 5)
    assert done.returncode == 0 and not done.stderr
    done = call("sample", tmp_path / "nowhere")
    assert done.returncode == Exit.CHECKPOINT and "Traceback" not in (done.stderr or "")
    done = call("train", text, *SMALL, "--num-updates", 2, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for name in ("last.ckpt", "config.toml"):  # nothing was printed into a file that took the stream's number
        assert b"update" not in (tmp_path / "run" / name).read_bytes()[:6]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_stdout(run: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, "sample", str(run), "--length", "5"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == Exit.CHECKPOINT and "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


# --- signals ---------------------------------------------------------------------------------------------------------


def disposition(number: int, what: Any) -> Callable[[], Any]:
    """For a process to be started: ignore a signal, or take it as usual, whatever these tests were started with."""
    return lambda: signal.signal(number, what)


def training(text: Path, out: Path, number: int, what: Any) -> subprocess.Popen[str]:
    """A run that goes on for ever and has made some updates."""
    process = subprocess.Popen(
        [*COMMAND, "train", str(text), *SMALL, "--out", str(out), "--num-updates", "1000000"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, preexec_fn=disposition(number, what),
    )  # fmt: skip
    wait_for(out, 3)
    return process


def wait_for(out: Path, lines: int) -> None:
    """Until so many updates are in metrics.jsonl."""
    metrics, end = out / "metrics.jsonl", time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < lines:
        assert time.monotonic() < end
        time.sleep(0.02)


@POSIX
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_a_signal_that_ends_a_run_leaves_its_last_update(name: str, text: Path, tmp_path: Path) -> None:
    number = getattr(signal, name)
    process = training(text, tmp_path / "run", number, signal.SIG_DFL)
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == Exit.INTERRUPTED and "train --resume" in told
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().count("\n")
    assert checkpoint.load(tmp_path / "run" / "last.ckpt")[1]["updates"] == rows


@POSIX
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_a_signal_that_is_ignored_stays_ignored(name: str, text: Path, tmp_path: Path) -> None:
    """nohup, and a job that a script puts into the background."""
    number = getattr(signal, name)
    process = training(text, tmp_path / "run", number, signal.SIG_IGN)
    process.send_signal(number)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes().count(b"\n")
    wait_for(tmp_path / "run", before + 50)
    assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == Exit.INTERRUPTED


@POSIX
def test_a_terminal_that_is_closed(text: Path, tmp_path: Path) -> None:
    """The shell's end: SIGHUP comes, and each write to the terminal fails from then on."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "train", str(text), *SMALL, "--out", str(out), "--num-updates", "1000000"],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    end = time.monotonic() + 60
    while not (out / "metrics.jsonl").exists() or (out / "metrics.jsonl").read_bytes().count(b"\n") < 3:
        assert time.monotonic() < end
        os.read(master, 65536)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) in (Exit.INTERRUPTED, Exit.UNREAD)
    rows = (out / "metrics.jsonl").read_text().count("\n")
    assert checkpoint.load(out / "last.ckpt")[1]["updates"] == rows


@POSIX
def test_ctrl_c_at_any_moment_is_no_traceback(run: Path) -> None:
    """From the first line of micrornn on, through imports, until the interpreter ends; some more tries where
    MICRORNN_TEST_KILLS asks for them."""
    program = (  # says so as soon as start() has taken the signal into its hands
        "import signal; from micrornn_cli import start; set, told = signal.signal, []\n"
        "def tell(*words):\n  before = set(*words)\n  told or print('now', flush=True)\n"
        "  told.append(1)\n  return before\n"
        "signal.signal = tell; start.start()"
    )
    command = [sys.executable, "-m", "micrornn_cli", "sample", str(run), "--length", "2"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)  # compiles what it needs, once
    random.seed(8)
    for _ in range(int(os.environ.get("MICRORNN_TEST_KILLS", "5"))):
        process = subprocess.Popen(
            [sys.executable, "-c", program, "sample", str(run), "--length", "200000"], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=disposition(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        assert process.stdout is not None and process.stdout.readline()
        time.sleep(random.uniform(0.003, 0.5))
        process.send_signal(signal.SIGINT)
        told = without_compiling(process.communicate(timeout=60)[1])
        assert process.returncode in (-signal.SIGINT, Exit.INTERRUPTED) and not told.strip(), told


@POSIX
def test_a_ctrl_c_in_a_callback_of_c_is_not_lost() -> None:
    """Python ignores what is raised there, as while the compiler says that it has found a kernel."""
    program = (
        "import ctypes, signal, time; from micrornn_cli import main, start\n"
        "def callback():\n    signal.raise_signal(signal.SIGINT); time.sleep(0)\n"
        "def run():\n    ctypes.CFUNCTYPE(None)(callback)(); time.sleep(30); print('went on')\n"
        "main.main = run; start.start()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        preexec_fn=disposition(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert done.returncode == Exit.INTERRUPTED and not done.stdout and not done.stderr


@POSIX
def test_a_terminated_command_cleans_up(run: Path, tmp_path: Path) -> None:
    """Its private cache, which it has where no other can be trusted, is removed."""
    temporary, home = tmp_path / "tmp", tmp_path / "file"
    temporary.mkdir()
    home.touch()
    (temporary / f"micrornn-{os.getuid()}").mkdir()
    (temporary / f"micrornn-{os.getuid()}").chmod(0o777)
    chosen = ("MICRORNN_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    program = (
        "import time; from micrornn_cli.main import cli, main; from micrornn.folders import cache_home; import click\n"
        "@cli.command()\ndef wait():\n    print(cache_home(), flush=True); time.sleep(60)\n"
        "cli.get_command = lambda *_: wait; main(['wait'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
        env=environment | {"TMPDIR": str(temporary), "HOME": str(home / "x")},
    )  # fmt: skip
    assert process.stdout is not None
    private = Path(process.stdout.readline().strip())
    assert private.parent == temporary and private.exists()
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM and not private.exists()
