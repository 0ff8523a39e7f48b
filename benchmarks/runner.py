"""Sends cases to the workers, in turn: A B C A B C ..., so that a machine that slows down slows down for all."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.cases import Layer, Model, to_message

PEERS = ("micrornn", "torch", "jax")


class Worker:
    """A process that runs one framework."""

    def __init__(self, peer: str, threads: int, python: str):
        # micrornn is what runs this; the peers may live in an environment of their own
        command = [sys.executable if peer == "micrornn" else python, "-m", "benchmarks.worker", peer, str(threads)]
        self.peer = peer
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.version = self._answer().get("version", "")

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            tail = self.process.stderr.read()[-500:]  # type: ignore[union-attr]
            raise RuntimeError(f"{self.peer} gave up: {tail}")
        return json.loads(line)

    def time(self, case: Layer | Model, seconds: float) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"case": to_message(case), "seconds": seconds}) + "\n")  # type: ignore
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def compare(cases: list[Any], threads: int, peers: list[str], rounds: int = 5, seconds: float = 0.2,
            python: str = sys.executable, progress: Any = None) -> list[dict[str, Any]]:  # fmt: skip
    """A row per case: the median seconds of each peer over all rounds, and the ratio to the fastest other."""
    workers = [Worker(peer, threads, python) for peer in peers]
    rows = []
    try:
        for case in cases:
            times: dict[str, list[float]] = {worker.peer: [] for worker in workers}
            for _ in range(rounds):
                for worker in workers:
                    times[worker.peer] += worker.time(case, seconds).get("times", [])
            row: dict[str, Any] = {"case": case.name, "threads": threads}
            row |= {peer: statistics.median(values) for peer, values in times.items() if values}
            others = [row[peer] for peer in peers[1:] if peer in row]
            if others:
                row["ratio"] = min(others) / row[peers[0]]
            if isinstance(case, Layer):
                row["gflops"] = case.flops / row[peers[0]] / 1e9
            else:
                row["tokens_per_second"] = case.batch * case.steps / row[peers[0]]
            rows.append(row)
            if progress:
                progress(row)
    finally:
        for worker in workers:
            worker.close()
    return rows
