"""One framework in one process: reads a request per line, answers with seconds per call, lives on for the next.

python -m benchmarks.worker PEER THREADS DEVICE PRECISION

A request is {"what": "layer" | "model" | "sample" | ..., "case": ...} with either {"calls": n}, exactly so many from
the very first, or {"seconds": s}, for so long after a few that do not count. A case is a layer or a model, or else a
name.
THREADS 0 leaves the processor to the framework, as it is where a graphics card does the work.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.clock import Clock
from micrornn.bench.cases import from_message
from micrornn.bench.timing import memory, times


def answers(module: Any, requests: Any, clock: Clock | None = None) -> Any:
    """The answer to each request in turn."""
    clock = clock or Clock()
    made: dict[str, Any] = {}
    for request in requests:
        make, case = getattr(module, request["what"], None), request["case"]
        if make is None:
            yield {"missing": True}
            continue
        key = json.dumps([request["what"], case])
        if key not in made:
            made.clear()  # one case at a time: nobody's memory is in another's way
            made[key] = make(from_message(case) if isinstance(case, dict) else case)
            if "seconds" in request:
                times(made[key], 0.0)
        answer: dict[str, Any] = {}
        if "calls" in request:
            both = [clock(made[key]) for _ in range(request["calls"])]
            answer["values"], found = [value for value, _ in both], [seconds for _, seconds in both]
        else:
            time.sleep(0.01)  # the threads of the framework before may still be spinning
            if clock.warm:
                times(made[key], clock.warm)
            found = times(made[key], request["seconds"], lambda run: clock(run)[1])
        answer |= {kind: [seconds[n] for seconds in found] for n, kind in enumerate(clock.kinds)}
        yield answer | {"memory": memory()}


def main() -> None:
    peer, threads, device, precision = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
    out = os.fdopen(os.dup(1), "w")  # whatever a framework prints must not get between the answers
    os.dup2(2, 1)
    if threads and hasattr(os, "sched_setaffinity"):  # the only way to tell JAX how many; fair to the others too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    module = importlib.import_module(f"benchmarks.peers.{peer}_peer")
    if threads:
        module.threads(threads)
    clock = module.place(device, precision)
    print(json.dumps({"version": str(module.version), "memory": memory()}), file=out, flush=True)
    for answer in answers(module, (json.loads(line) for line in sys.stdin), clock):
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
