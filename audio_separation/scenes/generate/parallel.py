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


@contextmanager
def run_tasks(tasks: list[tuple], jobs: int, backend: str) -> Iterator[Iterator[Any]]:
    """Runs tasks (function, argument, ...) in parallel; gives their results in order, as they are ready.

    On leaving by an exception (Ctrl-C among them) the worker processes are ended at once.
    """
    from joblib import Parallel, delayed, parallel_config

    calls = (delayed(_quietly_interruptible)(os.getpid(), *task) for task in tasks)
    if backend == "ray":
        from ray.util.joblib import register_ray

        register_ray()
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
