"""Workers, one process for each framework, and taking turns: A B C A B C ..., so that a machine that slows down slows
down for all.

A peer is named by its framework; on a graphics card, where there are products in two precisions, "torch tf32" is one
and "torch" is the same in float32. Each is compared with micrornn in its own precision.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.bench.cases import Layer, Model, to_message
from micrornn.bench.timing import summary

OWN = "micrornn"
PEERS = (OWN, "torch", "jax")
ON_CARD = (OWN, "torch")
ROOT = Path(__file__).parents[1]

Case = Layer | Model | str | None


def label(framework: str, precision: str) -> str:
    """The name of a peer."""
    return framework if precision == "float32" else f"{framework} {precision}"


def framework(peer: str) -> str:
    return peer.split()[0]


def precision(peer: str) -> str:
    return (peer.split()[1:] or ["float32"])[0]


def own(peer: str) -> str:
    """micrornn in the peer's precision."""
    return label(OWN, precision(peer))


def others(peers: Sequence[str]) -> list[str]:
    """Those that micrornn is compared with."""
    return [peer for peer in peers if framework(peer) != OWN]


@dataclass(frozen=True)
class How:
    """peers: whom to run, micrornn first. python: the Python that has the others. rounds: how often each has its turn.
    seconds: how long a turn takes. device: where."""

    peers: tuple[str, ...] = PEERS
    python: str = sys.executable
    rounds: int = 5
    seconds: float = 0.2
    device: str = "cpu"


class GaveUp(RuntimeError):
    """A worker has ended, and what it said last."""


class Worker:
    """A process that runs one framework. `started` seconds after its start it has imported it, and woken the card if it
    is to run there."""

    def __init__(self, peer: str, threads: int, python: str, environment: Mapping[str, str] | None = None,
                 device: str = "cpu"):  # fmt: skip
        # micrornn is what runs this; the others may live in an environment of their own
        command = [sys.executable if framework(peer) == OWN else python, "-m", "benchmarks.worker", framework(peer),
                   str(threads), device, precision(peer)]  # fmt: skip
        self.peer, self.errors = peer, tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in close()
        self.start = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            text=True,
        )  # fmt: skip
        hello = self._answer()
        self.started = self.age()
        self.version, self.memory = hello["version"], hello["memory"]["now"]

    def age(self) -> float:
        """Seconds since it was started."""
        return time.perf_counter() - self.start

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise GaveUp(f"{self.peer} gave up: {self.errors.read().strip()[-500:]}")
        return json.loads(line)

    def ask(self, what: str, case: Case, **limit: float) -> dict[str, Any]:
        """What the worker answers; see worker.py."""
        assert self.process.stdin is not None
        message = to_message(case) if isinstance(case, Layer | Model) else case
        self.process.stdin.write(json.dumps({"what": what, "case": message, **limit}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@contextmanager
def workers(how: How, threads: int) -> Iterator[list[Worker]]:
    """A worker for each peer."""
    found: list[Worker] = []
    try:
        for peer in how.peers:
            found.append(Worker(peer, threads, how.python, device=how.device))
        yield found
    finally:
        for worker in found:
            worker.close()


def turns(together: Sequence[Worker], what: str, case: Case, how: How) -> dict[str, Any]:
    """{"median", "least"} seconds by peer, and "faster": how many times, than each of the others, micrornn is. Where
    the clock tells the time of the card, also "wall" and "faster_wall", by medians of what the caller sees."""
    kinds: dict[str, dict[str, list[float]]] = {"times": defaultdict(list), "wall": defaultdict(list)}
    for _ in range(how.rounds):
        for worker in together:
            answer = worker.ask(what, case, seconds=how.seconds)
            for kind, times in kinds.items():
                times[worker.peer] += answer.get(kind, [])
    found = {kind: {p: summary(values) for p, values in times.items() if values} for kind, times in kinds.items()}
    row: dict[str, Any] = {name: {p: both[name] for p, both in found["times"].items()} for name in ("median", "least")}
    row["faster"] = faster(row["median"])
    if found["wall"]:
        row["wall"] = {peer: both["median"] for peer, both in found["wall"].items()}
        row["faster_wall"] = faster(row["wall"])
    return row


def faster(seconds: Mapping[str, float]) -> dict[str, float]:
    """How many times faster than each of the others micrornn is in their precision."""
    return {peer: seconds[peer] / seconds[own(peer)] for peer in others(list(seconds)) if own(peer) in seconds}


def cold(folder: str) -> dict[str, str]:
    """An environment in which nothing is compiled yet."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return environment | {"MICRORNN_CACHE": folder, "CUDA_CACHE_PATH": folder}  # the second is the driver's
