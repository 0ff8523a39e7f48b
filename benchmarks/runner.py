"""Workers, one process for each framework, and taking turns: A B C A B C ..., so that a machine that slows down slows
down for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micrornn.bench.cases import Layer, Model, to_message
from micrornn.bench.timing import summary

PEERS = ("micrornn", "torch", "jax")
ROOT = Path(__file__).parents[1]

Case = Layer | Model


@dataclass(frozen=True)
class How:
    """peers: whom to run, micrornn first. python: the Python that has the others. rounds: how often each has its turn.
    seconds: how long a turn takes."""

    peers: tuple[str, ...] = PEERS
    python: str = sys.executable
    rounds: int = 5
    seconds: float = 0.2


class Worker:
    """A process that runs one framework. `started` seconds after its start it has imported it."""

    def __init__(self, peer: str, threads: int, python: str, environment: Mapping[str, str] | None = None):
        # micrornn is what runs this; the others may live in an environment of their own
        command = [sys.executable if peer == "micrornn" else python, "-m", "benchmarks.worker", peer, str(threads)]
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
            raise RuntimeError(f"{self.peer} gave up: {self.errors.read().strip()[-500:]}")
        return json.loads(line)

    def ask(self, what: str, case: Case, **limit: float) -> dict[str, Any]:
        """What the worker answers; see worker.py."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"what": what, "case": to_message(case), **limit}) + "\n")
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
            found.append(Worker(peer, threads, how.python))
        yield found
    finally:
        for worker in found:
            worker.close()


def turns(together: Sequence[Worker], what: str, case: Case, how: How) -> dict[str, Any]:
    """{"median", "least"} seconds by peer, and "faster": how many times, than each of the others, the first one is."""
    times: dict[str, list[float]] = {worker.peer: [] for worker in together}
    for _ in range(how.rounds):
        for worker in together:
            times[worker.peer] += worker.ask(what, case, seconds=how.seconds).get("times", [])
    found = {peer: summary(values) for peer, values in times.items() if values}
    row: dict[str, Any] = {name: {peer: both[name] for peer, both in found.items()} for name in ("median", "least")}
    own = row["median"][how.peers[0]]
    row["faster"] = {peer: seconds / own for peer, seconds in row["median"].items() if peer != how.peers[0]}
    return row


def cold(folder: str) -> dict[str, str]:
    """An environment in which nothing is compiled yet."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return environment | {"MICRORNN_CACHE": folder}
