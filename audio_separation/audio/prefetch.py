"""Reading ahead in a few threads, with a bounded number of results waiting to be taken."""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Generic, Hashable, Iterable, Optional, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MAX_WAITING = 256  # results; responses of 1 s take 32 MB


class Prefetcher(Generic[K, V]):
    """Calls ``read(key)`` in threads ahead of the ``take(key)`` that wants the result.

    Args:
        read: what to call; its exceptions are raised by ``take``.
        threads: how many at most; they start with the first key.
        max_waiting: results that are kept until they are taken; the oldest are dropped.

    It may be pickled or cross a fork: the copy starts with nothing read and threads of its own.
    """

    def __init__(self, read: Callable[[K], V], threads: int, max_waiting: int = MAX_WAITING) -> None:
        self._read = read
        self._threads = threads
        self._max_waiting = max_waiting
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_read", "_threads", "_max_waiting")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._pool: Optional[ThreadPoolExecutor] = None
        self._waiting: OrderedDict[K, Future[V]] = OrderedDict()

    def start(self, keys: Iterable[K]) -> None:
        """Begin to read those keys that are not under way; of one call, as many as may wait."""
        if self._pid != os.getpid():
            self._forget()  # threads do not survive a fork
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, "prefetch")
        begun = 0
        for key in keys:
            if key in self._waiting:
                continue
            if begun == self._max_waiting:
                break  # more would push out what this call itself began
            self._waiting[key] = self._pool.submit(self._read, key)
            begun += 1
            if len(self._waiting) > self._max_waiting:
                self._waiting.popitem(last=False)[1].cancel()

    def take(self, key: K) -> V:
        """Return ``read(key)``: the result read ahead, or read now; an error is raised here."""
        future = self._waiting.pop(key, None) if self._pid == os.getpid() else None
        if future is None or future.cancel():  # not asked for, or not begun: waiting for a thread is slower
            return self._read(key)
        return future.result()
