"""Work on the parts of a batch in threads: SciPy's and torch's operations release the interpreter's lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterable, TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(work: Callable[[Part], Result], parts: Iterable[Part], device: torch.device) -> list[Result]:
    """Return ``[work(part) for part in parts]``, on a CPU done in as many threads as torch has.

    Inside, each thread's operations have that thread alone: parts that fit a processor's cache gain more from
    running side by side than their small operations from being split.
    """
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads > 1:
        parts = list(parts)
        threads = min(threads, len(parts))
    if threads <= 1:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, parts))
