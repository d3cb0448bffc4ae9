"""Work on the parts of a batch in threads: SciPy's and torch's operations release the interpreter's lock."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Callable, Iterable, TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


@lru_cache(maxsize=4)
def _pool(threads: int, pid: int) -> ThreadPoolExecutor:
    """Threads that stay, as starting them costs as much as a small batch; threads do not survive a fork."""
    return ThreadPoolExecutor(threads, "parts", initializer=torch.set_num_threads, initargs=(1,))


def in_threads(work: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> list[Result]:
    """Return ``[work(part) for part in parts]``, on a CPU done in as many threads as torch has.

    Inside, each thread's operations have that thread alone: small operations gain more from running side by side
    than from being split. ``work`` must not call this function itself.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads > 1:
        parts = list(parts)
    if threads == 1 or len(parts) == 1:  # type: ignore[arg-type]
        return [work(part) for part in parts]
    return list(_pool(threads, os.getpid()).map(work, parts))
