"""Tries many cases in a few processes at once.

python -m fuzz [COUNT [WORKERS [FIRST]]]      10,000 cases in 2 processes
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

PATIENCE = 180  # seconds without a word from a process: it compiles at the start, or hangs in a kernel
TOLD = 30  # so many failures are printed


class Share(threading.Thread):
    """Every so manyth case, in a process that is started anew where it hangs or dies."""

    def __init__(self, numbers: range, results: queue.Queue[dict[str, Any]]):
        super().__init__(daemon=True)
        self.numbers, self.results = numbers, results

    def run(self) -> None:
        left, before = self.numbers, None
        while left and left != before:
            before = left
            command = [sys.executable, "-m", "fuzz.worker", *map(str, (left[0], left.step, len(left)))]
            where = Path(__file__).parents[1]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=where) as process:
                assert process.stdout is not None
                while left:
                    guard = threading.Timer(PATIENCE, process.kill)
                    guard.start()
                    line = process.stdout.readline()
                    guard.cancel()
                    if not line:
                        break
                    self.results.put(json.loads(line))
                    left = left[1:]
            if left and left != before:  # it ended in the middle of a case
                self._lost(left[0], process.returncode)
                left = left[1:]
        for number in left:  # it does not even begin
            self._lost(number, None)

    def _lost(self, number: int, code: int | None) -> None:
        end = {"wrong": "the process ended", "code": code, "arguments": [], "told": ""}
        self.results.put({"number": number, "kind": "end"} | end)


def main() -> int:
    count, workers, first = (*map(int, sys.argv[1:]), *(10_000, 2, 0)[len(sys.argv) - 1 :])
    began, results = time.monotonic(), queue.Queue[dict[str, Any]]()
    kinds, codes, failures = Counter[str](), Counter[Any](), []
    for n in range(min(workers, count)):
        Share(range(first + n, first + count, workers), results).start()
    for _ in range(count):
        result = results.get()
        kinds[result["kind"]] += 1
        codes[result["code"] if isinstance(result["code"], int) else "none"] += 1
        if result["wrong"]:
            failures.append(result)
            if len(failures) <= TOLD:
                told = {name: result[name] for name in ("number", "kind", "arguments", "code", "told")}
                print(f"{result['wrong']}\n  {told}\n", flush=True)
    print(f"{count:,} cases in {time.monotonic() - began:.0f} s: {dict(kinds)}; exit codes {dict(codes)}")
    print(f"{len(failures):,} failed: {[result['number'] for result in failures][:200]}" if failures else "all well")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
