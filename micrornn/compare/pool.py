"""Many runs at once: in processes of this machine, or wherever another backend of joblib brings them.

BACKENDS        loky (processes of this machine), dask, ray; each may be followed by where its cluster is
require         MissingError, ConfigError, before anything is trained, where a backend cannot be had
outcomes(...)   the outcome of each job, as they end

A process that dies (no memory left, kill -9) ends all that joblib has under way. What was under way is then gone on
with from its checkpoints, each run alone in a process: one that dies again is the one that failed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from micrornn import device
from micrornn.compare.folder import Outcome
from micrornn.compare.worker import Job, train
from micrornn.errors import ConfigError, MissingError, quoted

BACKENDS = {"loky": ("joblib", "compare"), "dask": ("distributed", "compare-dask"), "ray": ("ray", "compare-ray")}
GRACE = 20.0  # seconds to write a checkpoint
TICK = 0.2  # seconds after which it is said that nothing has happened

Ended = tuple[Job, Outcome]


def require(backend: str) -> None:
    """Whether this backend can be had."""
    name, _, address = backend.partition(":")
    if name not in BACKENDS:
        raise ConfigError(
            f"`backend`: there is no {quoted(backend)}; choose loky (processes of this machine), dask or ray, as in "
            "dask:tcp://HOST:8786"
        )
    if name == "loky" and address:
        raise ConfigError(f"`backend={quoted(backend)}`: loky starts processes of this machine and has no address")
    for package, extra in (BACKENDS["loky"], BACKENDS[name]):
        if importlib.util.find_spec(package) is None:
            raise MissingError(
                f"`backend={name}` needs {package}, which is not installed\n  pip install 'micrornn[{extra}]'"
            )


def has_joblib() -> bool:
    """Whether several processes can be had at all."""
    return importlib.util.find_spec("joblib") is not None


def usual_jobs(threads: int, on: str) -> int:
    """How many runs at once, where nobody says: as many as there are cores for; one on a graphics card."""
    return 1 if on == "cuda" or not has_joblib() else max(1, device.default_threads() // max(1, threads))


def outcomes(jobs: Sequence[Job], backend: str = "loky", workers: int = 1,
             stop: Callable[[], None] = lambda: None) -> Iterator[Ended | None]:  # fmt: skip
    """The outcome of each job as it ends, in whatever order; None now and then while nothing does. Left by an
    exception, or closed, it calls `stop`, which is to end the jobs, and gives them some time for that.

    With one worker of this machine they are trained one after the other in this process.
    """
    ends: queue.Queue[Ended | BaseException | None] = queue.Queue()

    def work() -> None:
        try:
            if backend == "loky" and (workers == 1 or len(jobs) == 1):
                for job in jobs:
                    ends.put((job, train(job)))
            else:
                with _cluster(backend, workers) as how:
                    _parallel(list(jobs), how, backend, ends)
        except BaseException as error:
            ends.put(error)
        ends.put(None)

    thread = threading.Thread(target=work, name="compare", daemon=True)
    thread.start()
    try:
        while True:
            try:
                found = ends.get(timeout=TICK)
            except queue.Empty:
                yield None
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                break
            yield found
    finally:
        if thread.is_alive():
            stop()
            thread.join(GRACE)


def _parallel(jobs: list[Job], how: dict[str, Any], backend: str, ends: queue.Queue[Any]) -> None:
    from joblib import Parallel, delayed, parallel_config
    from joblib.parallel import get_active_backend

    while jobs:
        left = dict(enumerate(jobs))
        try:
            with parallel_config(**how):
                tasks = (delayed(_numbered)(n, job) for n, job in enumerate(jobs))
                as_they_end = getattr(get_active_backend()[0], "supports_return_generator", False)
                kind = "generator_unordered" if as_they_end else "list"  # ray tells all of them at the end
                for n, outcome in Parallel(return_as=kind, batch_size=1)(tasks):
                    ends.put((left.pop(n), outcome))
            return
        except Exception as error:
            if not left or not _died(error):
                raise
            begun = [job for job in left.values() if os.path.exists(job.path)] or list(left.values())[:1]
            for job in begun:  # one of these it was
                ends.put((job, _alone(job, backend, error)))
            jobs = [job for job in left.values() if job not in begun]


def _numbered(n: int, job: Job) -> tuple[int, Outcome]:
    return n, train(job, detached=True)


def _died(error: Exception) -> bool:
    """Whether a process has died, in the words of any of the backends."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(
        names & {"BrokenProcessPool", "TerminatedWorkerError", "KilledWorker", "WorkerCrashedError", "RayActorError"}
    )


def _alone(job: Job, backend: str, before: Exception) -> Outcome:
    """The run once more, alone in a process."""
    from joblib.externals.loky import ProcessPoolExecutor

    if os.path.exists(job.stop):
        return Outcome("stopped")
    if backend.startswith("dask"):  # which has tried it several times, each time elsewhere
        return Outcome("failed", f"the process that trained it died: {_first_line(before)}")
    with ProcessPoolExecutor(max_workers=1) as executor:
        try:
            return executor.submit(train, job, True).result()
        except Exception as error:
            if not _died(error):
                raise
            return Outcome("failed", f"the process that trained it died, twice: {_exit_code(error)}")


def _exit_code(error: Exception) -> str:
    """How it ended, as loky has it: SIGKILL(-9) is what a machine without memory does."""
    words = str(error)
    code = words.rpartition("{")[2].partition("}")[0] if "{" in words else ""
    told = f"exit code {code}" if code else _first_line(error)
    return f"{told} (no memory left?)" if "SIGKILL" in told else told


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _reached(backend: str, connect: Callable[..., Any], **how: Any) -> Any:
    """A cluster that answers, or one of this machine that has started; ConfigError where there is none."""
    try:
        return connect(**how)
    except (OSError, ValueError) as error:
        what = "no cluster answers there" if "address" in how else "no cluster could be started here"
        raise ConfigError(f"`backend={quoted(backend)}`: {what}: {_first_line(error)}") from None


@contextlib.contextmanager
def _cluster(backend: str, workers: int) -> Iterator[dict[str, Any]]:
    """What joblib is told; a cluster of this machine is closed behind it."""
    name, _, address = backend.partition(":")
    if name == "loky":
        yield {"backend": "loky", "n_jobs": workers, "inner_max_num_threads": 1}
    elif name == "dask":
        from distributed import Client

        how: dict[str, Any] = {"address": address} if address else {
            "n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None,
        }  # fmt: skip
        with _reached(backend, Client, **how, set_as_default=True) as client:
            yield {"backend": "dask", "n_jobs": -1, "client": client}
    else:
        import ray
        from ray.util.joblib import register_ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
        where = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        _reached(backend, ray.init, **quiet, **where)
        register_ray()
        try:
            yield {"backend": "ray", "n_jobs": -1 if address else workers}
        finally:
            ray.shutdown()
