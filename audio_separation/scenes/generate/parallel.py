"""Tasks over processes or a cluster, results in order, and a clean end on Ctrl-C.

Worker processes import this module and that of the task, and nothing else of the package.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from audio_separation.errors import UserError


def connect(backend: str) -> None:
    """Connects to the cluster of a backend: DASK_SCHEDULER_ADDRESS or RAY_ADDRESS, else one of this machine.

    Raises:
        UserError: the backend's package is not installed, or nothing answers at the address.
    """
    try:
        if backend == "dask":
            from distributed import Client

            Client(os.environ.get("DASK_SCHEDULER_ADDRESS"))
        elif backend == "ray":
            import ray
            from ray.util.joblib import register_ray

            ray.init(ignore_reinit_error=True)
            register_ray()
    except ImportError as error:
        wanted = {"dask": "dask[distributed]", "ray": "ray"}[backend]
        raise UserError(f"--backend {backend}: {error}; pip install '{wanted}', or use loky.") from error
    except (OSError, ConnectionError) as error:
        raise UserError(f"--backend {backend}: cannot connect to the cluster ({error}).") from error


@contextmanager
def run_tasks(tasks: list[tuple], jobs: int, backend: str) -> Iterator[Iterator[Any]]:
    """Runs tasks (function, argument, ...) in parallel; gives their results in order, as they are ready.

    On leaving by an exception (Ctrl-C among them) the worker processes are ended at once.
    """
    from joblib import Parallel, delayed, parallel_config

    calls = (delayed(_quietly_interruptible)(os.getpid(), *task) for task in tasks)
    connect(backend)
    # Ray's backend has no generators: it hands everything over at the end
    mode = "list" if backend == "ray" else "generator"
    try:
        with parallel_config(
            backend=backend, n_jobs=jobs, inner_max_num_threads=1 if backend == "loky" else None
        ):
            yield iter(Parallel(return_as=mode, max_nbytes=None)(calls))
    except BaseException:
        if backend == "loky":
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


def _quietly_interruptible(main_pid: int, function: Callable, *arguments: Any) -> Any:
    """Runs a task; in a worker process Ctrl-C is left to the main process, which ends the workers."""
    if os.getpid() != main_pid and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return function(*arguments)
