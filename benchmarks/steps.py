"""`python -m benchmarks.steps`: what each step from NumPy to the fast LSTM gains. docs/faster.md tells of them.

One layer, forward and backward with all gradients, told in all the ways of tellings.py and changed.py. They run in
turn, in one process, so that a machine that slows down slows down for all; before it is timed, each is held against the
reference.

    python -m benchmarks.steps                          prints the tables
    python -m benchmarks.steps --write docs/faster.md   also puts them where the page has room for them
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import llvmlite.binding as llvm
import numpy as np

from benchmarks.changed import LARGEST, meeting, tried, without
from benchmarks.tellings import Telling, walk, whole, whole_vjp
from micrornn.kernels import cpu
from micrornn.kernels.about import about
from micrornn.kernels.cpu.jit import VECTOR
from micrornn.kernels.cpu.limit import fma_limit

SHAPE = (32, 50, 128, 128)  # batch_size, seq_len, input_size, hidden_size
VOCABULARY = (400, 10_000)  # rows and columns of a softmax


class Layer:
    """The arrays of one LSTM layer, and a run over them."""

    def __init__(self, batch_size: int, seq_len: int, input_size: int, hidden_size: int):
        T, B, D, H = seq_len, batch_size, input_size, hidden_size
        rng = np.random.default_rng(0)

        def draw(*shape: int, std: float = 1) -> np.ndarray:
            return rng.normal(0, std, shape).astype(np.float32)

        def room(*shape: int) -> np.ndarray:
            return np.zeros(shape, np.float32)

        self.x, self.dy, self.biases = draw(T, B, D), draw(T, B, H), (draw(4 * H), draw(4 * H))
        self.weight_ih, self.weight_hh = draw(4 * H, D, std=D**-0.5), draw(4 * H, H, std=H**-0.5)
        self.h, self.c, self.dh, self.dc = (room(T + 1, B, H) for _ in range(4))
        self.gates, self.dgates = room(T, B, 4 * H), room(T, B, 4 * H)
        self.dx, self.dweight_ih, self.dweight_hh = room(T * B, D), room(4 * H, D), room(4 * H, H)
        self.dbias, self.mask = room(1, 4 * H), np.ones((0, 0), bool)
        self.flops = 3 * 2.0 * T * B * 4 * H * (D + H)  # of the products: forward once, backward twice

    def run(self, told: Telling) -> tuple[float, float, float]:
        """Seconds of the loop forward, of the loop backward, and of the gradients behind it."""
        rows = self.dgates.reshape(-1, self.dgates.shape[2])
        start = time.perf_counter()
        told.forward(self.h, self.c, self.gates, self.x, self.weight_ih, self.weight_hh, *self.biases, self.mask, False)
        forward = time.perf_counter()
        self.dh[0], self.dh[1:], self.dc[-1] = 0, self.dy, 0
        told.backward(self.dgates, self.dh, self.dc, self.gates, self.c, self.weight_hh, self.mask, False, 0.0)
        backward = time.perf_counter()
        told.matmul(self.dx, rows, self.weight_ih, False)
        told.matmul(self.dweight_ih, rows, self.x.reshape(len(rows), -1), True)
        told.matmul(self.dweight_hh, rows, self.h[:-1].reshape(len(rows), -1), True)
        told.sum(self.dbias, rows[None], False)
        return forward - start, backward - forward, time.perf_counter() - backward

    def error(self, told: Telling) -> float:
        """How far any result of a telling is from the reference's, as a part of the largest number."""
        results = (self.gates, self.h, self.c, self.dgates, self.dh, self.dc, self.dx, self.dbias, self.dweight_ih,
                   self.dweight_hh)  # fmt: skip
        self.run(walk()["reference"])
        wanted = [result.copy() for result in results]
        for result in results:
            result[1 if result is self.h or result is self.c else 0 :] = np.nan  # row 0 holds the initial states
        self.run(told)
        return float(np.max([np.abs(got - meant).max() / np.abs(meant).max() for got, meant in zip(results, wanted)]))


def check(layer: Layer, tellings: dict[str, Telling]) -> None:
    """Hold each telling against the reference."""
    for key, told in tellings.items():
        error = layer.error(told)
        if not error < 1e-4:
            raise click.ClickException(f"{key} ({told.words}) is {error:.1e} away from the reference")


def measure(kind: str, rounds: int) -> dict[str, Any]:
    """Seconds of each telling in each round, in a process whose environment fits: "one" or "two" threads, or "half",
    one thread with vectors of half the width."""
    threads, kernels = 2 if kind == "two" else 1, {"kernel": Telling("")}
    cpu.set_threads(threads)
    if kind == "one":
        tellings = walk() | without() | tried()
    elif kind == "two":
        meet = Telling("", meeting(whole(cpu.cell_sequence)), meeting(whole_vjp(cpu.cell_sequence_vjp)))
        tellings = {"reference": walk()["reference"], "meet": meet} | kernels
    else:
        tellings = kernels
    layer, most = Layer(*SHAPE), np.zeros(VOCABULARY[0], np.float32)
    logits = np.random.default_rng(0).normal(size=VOCABULARY).astype(np.float32)
    check(layer, tellings)
    limit = fma_limit(threads)
    times: dict[str, list[tuple[float, ...]]] = {key: [] for key in [*tellings, *LARGEST]}
    order = random.Random(0)
    for _ in range(rounds):
        for key in order.sample([*tellings], len(tellings)):  # so that no telling always runs behind the same one
            times[key].append(layer.run(tellings[key]))
        for key, function in LARGEST.items():
            start = time.perf_counter()
            function(most, logits)
            times[key].append((time.perf_counter() - start,))
    return {"limit": max(limit, fma_limit(threads)), "times": times}


# --- telling ------------------------------------------------------------------------------------------------------

Times = dict[str, np.ndarray]  # of each telling: a row for each round, in milliseconds


def _row(words: str, times: np.ndarray, *more: str) -> str:
    parts = [f"{value:.2f}" for value in np.median(times, axis=0)]
    together = f"{np.median(times.sum(axis=1)):.2f} ({_least(times):.2f})"
    return f"| {' | '.join([words, *parts, together, *more])} |"


def _head(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _least(times: np.ndarray) -> float:
    """The least of each part, added up: whatever else runs on a machine can only make a part slower."""
    return float(times.min(axis=0).sum())


def pages(one: dict[str, Any], two: dict[str, Any], half: dict[str, Any] | None) -> dict[str, str]:
    """What docs/faster.md has room for, by name."""
    t: Times = {key: 1000 * np.array(rounds) for key, rounds in one["times"].items()}
    t2: Times = {key: 1000 * np.array(rounds) for key, rounds in two["times"].items()}
    flops, steps, plain = Layer(*SHAPE).flops, walk(), _least(t["plain"])
    columns = ("forward", "backward", "gradients", "together")
    said = {
        "machine": f"{os.cpu_count()} cores ({about()['processor']}), vectors of {8 * VECTOR} bits, float32; limit "
        f"{one['limit']:.0f} GFLOP/s on one core, {two['limit']:.0f} on two; {len(t['plain'])} rounds."
    }

    def share(time: float, limit: float) -> str:
        return f"{flops / time / 1e4 / limit:.0f} %"

    lines, before = _head("", *columns, "than the line before", "than plain loops", "of the limit"), ""
    for key, told in steps.items():
        now = _least(t[key])
        gain = f"{_least(t[before]) / now:.2f}" if before else ""
        lines.append(_row(told.words, t[key], gain, f"{plain / now:.2f}", share(now, one["limit"])))
        if before:
            both = zip(columns, t[before].min(axis=0), t[key].min(axis=0))
            parts = (f"{name} {was:.1f} → {new:.1f}" for name, was, new in both)
            said[key] = (
                f"**Measured:** {_least(t[before]):.1f} → {now:.1f} ms ({', '.join(parts)}): **{gain} times** as fast"
                + ("." if key == "plain" else f", {plain / now:.1f} times as fast as the plain loops.")
            )
        before = key
    said["walk"] = "\n".join(lines)

    finished = _least(t["kernel"])
    if half:
        t["half"] = 1000 * np.array(half["times"]["kernel"])
    for name, tellings in {"without": without(), "tried": tried()}.items():
        words = {key: told.words for key, told in tellings.items()}
        if half and name == "without":
            words["half"] = "vectors of half the width"
        lines = _head("the kernel, but with", *columns, "time taken")
        lines += [_row(words[key], t[key], f"{100 * (_least(t[key]) / finished - 1):+.0f} %") for key in words]
        said[name] = "\n".join(lines)

    said["two"] = "\n".join([
        *_head("on two cores", *columns, "than on one core", "of the limit"),
        *(_row(words, t2[key], f"{_least(t[base]) / _least(t2[key]):.2f}", share(_least(t2[key]), two["limit"]))
          for key, base, words in (("reference", "reference", "NumPy, the reference"),
                                   ("meet", "kernel", "the cores meet at each time step"),
                                   ("kernel", "kernel", "each core walks alone with its lanes"))),
    ])  # fmt: skip
    slow, fast = _least(t["compared"]), _least(t["largest"])
    said["largest"] = f"**Measured** on {VOCABULARY[0]} rows of {VOCABULARY[1]:,}: {slow:.2f} → {fast:.2f} ms."
    return said


def put(page: Path, said: dict[str, str]) -> None:
    """Write what was measured between the marks of a page that wait for it."""
    mark = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- /measured -->)", re.DOTALL)
    text = page.read_text("utf-8")
    page.write_text(mark.sub(lambda found: f"{found[1]}{said[found[2]]}\n{found[3]}", text), "utf-8")


def _process(kind: str, rounds: int) -> dict[str, Any]:
    """`measure` in a process of its own: BLAS reads its number of threads, and LLVM its vectors, at the start."""
    threads = "2" if kind == "two" else "1"
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    if kind == "half":
        environment |= {"NUMBA_CPU_NAME": llvm.get_host_cpu_name(),
                        "NUMBA_CPU_FEATURES": llvm.get_host_cpu_features().flatten()}  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.steps", "--process", kind, "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.returncode)  # it has said why
    return json.loads(done.stdout)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--rounds", type=click.IntRange(1), default=100, help="How often each telling has its turn.")
@click.option("--write", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Put the figures into this page.")  # fmt: skip
@click.option("--check", "only_check", is_flag=True, help="Time nothing; see whether all tellings say the same.")
@click.option("--process", hidden=True)
def main(rounds: int, write: Path | None, only_check: bool, process: str | None) -> None:
    """From NumPy to the fast LSTM: what each step gains. Some minutes, most of them for compiling.

    \b
    Example:
      python -m benchmarks.steps --write docs/faster.md
    """
    if only_check:
        check(Layer(13, 2, 3, 5), walk() | without() | tried())
        return click.echo("all well")
    if process:
        return click.echo(json.dumps(measure(process, rounds)))
    half = _process("half", rounds) if VECTOR == 64 else None  # elsewhere LLVM takes the whole width by itself
    said = pages(_process("one", rounds), _process("two", rounds), half)
    for part in ("machine", "walk", "two", "without", "tried", "largest"):
        click.echo(f"{said[part]}\n")
    if write:
        put(write, said)


if __name__ == "__main__":
    main()
