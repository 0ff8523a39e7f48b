"""One framework in one process: reads a request per line, answers with seconds per call, lives on for the next.

python -m benchmarks.worker PEER THREADS

A request is {"what": "layer" | "model" | "sample", "case": ...} with either {"calls": n}, exactly so many from the very
first, or {"seconds": s}, for so long after a few that do not count.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

from micrornn.bench.cases import from_message
from micrornn.bench.timing import memory, times


def answers(module: Any, requests: Any) -> Any:
    """The answer to each request in turn."""
    made: dict[str, Any] = {}
    for request in requests:
        make = getattr(module, request["what"], None)
        if make is None:
            yield {"missing": True}
            continue
        key = json.dumps([request["what"], request["case"]])
        if key not in made:
            made.clear()  # one case at a time: nobody's memory is in another's way
            made[key] = make(from_message(request["case"]))
            if "seconds" in request:
                times(made[key], 0.0)
        answer: dict[str, Any] = {"times": []}
        if "calls" in request:
            answer["values"] = []
            for _ in range(request["calls"]):
                start = time.perf_counter()
                answer["values"].append(made[key]())
                answer["times"].append(time.perf_counter() - start)
        else:
            time.sleep(0.01)  # the threads of the framework before may still be spinning
            answer["times"] = times(made[key], request["seconds"])
        yield answer | {"memory": memory()}


def main() -> None:
    peer, threads = sys.argv[1], int(sys.argv[2])
    out = os.fdopen(os.dup(1), "w")  # whatever a framework prints must not get between the answers
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):  # the only way to tell JAX how many threads; fair to the others too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    module = importlib.import_module(f"benchmarks.peers.{peer}_peer")
    module.threads(threads)
    print(json.dumps({"version": str(module.version), "memory": memory()}), file=out, flush=True)
    for answer in answers(module, (json.loads(line) for line in sys.stdin)):
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
