"""Tasks over processes or a cluster, results in order, and a clean end on Ctrl-C.

Worker processes import this module and that of the task, and nothing else of the package.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

from audio_separation.errors import UserError

BACKENDS = ("loky", "dask")
CONNECT_S, WORKERS_S = 20, 120  # how long a scheduler and its first worker are waited for


@contextmanager
def connected(backend: str, jobs: int) -> Iterator[None]:
    """Joined to the cluster of a backend: for dask that at DASK_SCHEDULER_ADDRESS, else one of this machine.

    Args:
        backend: one of ``BACKENDS``; loky needs no cluster.
        jobs: processes of a cluster of this machine (-1: one a core); one elsewhere has its own number.

    Raises:
        UserError: dask is not installed, nothing answers at the address, there are no workers, or they cannot
            import this package.
    """
    if backend != "dask":
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(f"--backend dask: {error}; pip install 'dask[distributed]', or use loky.") from error
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    where = address or "this machine"
    try:
        client = Client(address, timeout=CONNECT_S) if address else Client(**_local_cluster(jobs))
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise UserError(f"--backend dask: cannot connect to the cluster at {where} ({error}).") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
            client.run(importlib.import_module, __name__)
        except (OSError, asyncio.TimeoutError):
            raise UserError(
                f"--backend dask: the cluster at {where} has no workers; start some: dask worker {where}"
            ) from None
        except ImportError as error:
            raise UserError(
                f"--backend dask: the workers at {where} lack something ({error}); start them in the same "
                "environment, with PYTHONPATH naming this repository."
            ) from None
        yield


def _local_cluster(jobs: int) -> dict[str, Any]:
    from joblib import effective_n_jobs

    # tasks keep a core busy and are not written for threads; the dashboard would open a port
    return {
        "n_workers": effective_n_jobs(jobs),
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
    }


@contextmanager
def run_tasks(tasks: list[tuple], jobs: int, backend: str) -> Iterator[Iterator[Any]]:
    """Runs tasks (function, argument, ...) in parallel; gives their results in order, as they are ready.

    On leaving by an exception (Ctrl-C among them) the worker processes of this machine are ended at once.
    """
    from joblib import Parallel, delayed, parallel_config

    calls = (delayed(_quietly_interruptible)(os.getpid(), *task) for task in tasks)
    threads = 1 if backend == "loky" else None
    try:
        with connected(backend, jobs), parallel_config(backend, n_jobs=jobs, inner_max_num_threads=threads):
            yield iter(Parallel(return_as="generator", max_nbytes=None)(calls))
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
