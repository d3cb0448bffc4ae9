"""Where the time of an update goes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Iterator

import torch


class Stages:
    """Seconds spent in named stages; a stage inside another is taken out of it, so that they add up.

    Args:
        device: what the stages run on.
        wait: on a GPU, wait for it at both ends of a stage, so that its work is counted where it belongs; else
            a stage's seconds there are those of starting the work, plus waiting for earlier work where a result
            is read.
    """

    def __init__(self, device: torch.device, wait: bool = False):
        self._device = device if wait and device.type == "cuda" else None
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time of the ``with`` block to ``name``."""
        self._count()
        self._running.append(name)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def take(self) -> dict[str, float]:
        """Seconds of each stage since the last call, as ``time/<stage>_s``; counting starts anew."""
        taken = {f"time/{name}_s": seconds for name, seconds in self._seconds.items()}
        self._seconds = {}
        return taken

    def _count(self) -> None:
        if self._device is not None:
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._running:
            name = self._running[-1]
            self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now
