"""One framework in one process: reads a case per line, answers with seconds per run, lives on for the next.

python -m benchmarks.worker PEER THREADS
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time


def main() -> None:
    peer, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")  # whatever a framework prints must not get between the answers
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):  # the only way to tell JAX how many threads; fair to the others too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    module = importlib.import_module(f"benchmarks.peers.{peer}_peer")
    module.threads(threads)
    from benchmarks.cases import Layer, from_message

    print(json.dumps({"version": str(module.version)}), file=answers, flush=True)
    made = {}
    for line in sys.stdin:
        request = json.loads(line)
        key = json.dumps(request["case"])
        if key not in made:
            made.clear()  # one case at a time: nobody's memory is in another's way
            case = from_message(request["case"])
            make = getattr(module, "layer" if isinstance(case, Layer) else "model", None)
            if make is None:
                print(json.dumps({"missing": True}), file=answers, flush=True)
                continue
            made[key] = make(case)
            for _ in range(3):
                made[key]()
        run, times = made[key], []
        end = time.perf_counter() + request["seconds"]
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(json.dumps({"times": times, "peak": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
