"""Kills and signals a run at random moments until it ends, and compares what it leaves with one that was left alone.

python -m fuzz.kills [COUNT [SEED]]      1,000 kills and signals

One process imports everything and compiles the kernels, on one thread; the victims are forked from it, so that a life
is short and most of it is training. What must be equal in the end: parameters and optimizer to the bit, the history,
metrics.jsonl and gradients.jsonl but for times, best.ckpt.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from micrornn.checkpoint import RunFolder, load

TIMES = ("seconds", "tokens_per_second")  # what no two runs have in common
TEXT = "a big black bear sat on a big black rug. " * 30
START = ["train", "text.txt", "--cell=gru", "--hidden-size=6", "--embedding-size=4", "--batch-size=2", "--num-steps=6",
         "--threads=1", "--dropout=0.1", "--num-updates=150", "--val-every=5", "--watch-gradients=7",
         "--val-fraction=0.4", "--schedule=warmup:5+cosine:0.1", "--out"]  # fmt: skip
SIGNALS = [signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
LIFE, PATIENCE = 0.25, 60  # seconds: the longest life of a victim; what is a hang


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def left(path: Path) -> dict[str, Any]:
    """Everything that a run leaves, but for the time it took."""
    folder = RunFolder.open(path)
    found: dict[str, Any] = {"metrics": timeless(folder.metrics()), "gradients": folder.gradients.read()}
    for name in ("last", "best"):
        arrays, meta = load(getattr(folder, name))
        assert meta["pending"] is None
        found[name] = {key: array.tobytes() for key, array in arrays.items()}
        kept = {key: value for key, value in meta.items() if key not in TIMES}
        found[f"{name} meta"] = kept | {"history": timeless(meta["history"])}
    return found


def fork(path: str) -> int:
    """A process that begins the run or goes on with it; what it tells goes to PATH.err."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # none before the victim can take it
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return child
    code, begun = 70, False
    try:
        with open(f"{path}.err", "w") as err, open(os.devnull, "w") as out:
            os.dup2(err.fileno(), 2), os.dup2(out.fileno(), 1)
        from micrornn_cli.main import main
        from micrornn_cli.start import _heard

        sys.unraisablehook = _heard  # as where the command begins
        arguments = ["train", "--resume", path] if os.path.exists(f"{path}/config.toml") else [*START, path]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        begun = True
        main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    except KeyboardInterrupt:  # as where the command begins
        code = 130
    except BaseException:
        if begun:
            traceback.print_exc()
        else:  # a signal, before there was anything to interrupt
            code = 130
    finally:
        sys.stderr.flush()
        os._exit(code)


def end_of(child: int, path: str) -> int:
    """How a process ended: its exit code, or less than 0 for a signal."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            told = Path(f"{path}.err").read_text(errors="replace") if os.path.exists(f"{path}.err") else ""
            assert "Traceback" not in told and "a fault of" not in told, told[-2000:]
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"{path}: no end within {PATIENCE} s")


def trial(path: str, most: int, rng: Random, ends: Counter[str]) -> int:
    """One run, killed up to `most` times and then left to end; how often it was hit while it lived."""
    hits = 0
    for _ in range(most):
        child = fork(path)
        time.sleep(rng.uniform(0, LIFE))
        number = rng.choice(SIGNALS)
        os.kill(child, number)
        if number != signal.SIGKILL and rng.random() < 0.3:  # impatient: once more, which ends it at once
            time.sleep(rng.uniform(0, 0.02))
            os.kill(child, number)
        code = end_of(child, path)
        assert code in (0, 130, 128 + number, -number), (path, number, code, Path(f"{path}.err").read_text()[-900:])
        ends[f"{number.name} {code}"] += 1
        hits += code != 0
    assert end_of(fork(path), path) == 0, Path(f"{path}.err").read_text()
    return hits


def main() -> int:
    count, seed = (*map(int, sys.argv[1:]), *(1000, 1)[len(sys.argv) - 1 :])
    home = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    os.chdir(home.name)
    Path("text.txt").write_text(TEXT)
    began, ends, rng = time.monotonic(), Counter[str](), Random(seed)
    _warm_up()
    assert end_of(fork("undisturbed"), "undisturbed") == 0, Path("undisturbed.err").read_text()
    undisturbed, hits, runs, wrong = left(Path("undisturbed")), 0, 0, 0
    while hits < count:
        path = f"run{runs}"
        hits += trial(path, min(rng.randint(1, 8), count - hits), rng, ends)
        runs += 1
        found = left(Path(path))
        for name, value in undisturbed.items():
            if found[name] != value:
                wrong += 1
                print(f"{path}: {name} is not what it would have been without the kills", flush=True)
    print(f"{hits:,} kills and signals in {runs:,} runs, {time.monotonic() - began:.0f} s: {dict(ends)}")
    print(f"{wrong} differences" if wrong else "each ends in the same bits")
    home.cleanup()
    return int(bool(wrong))


def _warm_up() -> None:
    """Everything imported and compiled before the first victim."""
    import contextlib
    import io

    from micrornn_cli.main import main

    told = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        main([*START, "warm"])


if __name__ == "__main__":
    sys.exit(main())
