"""A least-recently-used cache bounded by bytes, used for clips and for RIR spectra."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Hashable, Optional, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteLru(Generic[K, V]):
    """Keep the most recently used values whose sizes add up to at most ``max_bytes``.

    The caller states each value's size. A value larger than the bound is not kept at all, so the bound
    always holds. ``hits`` and ``misses`` count the look-ups.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: K) -> Optional[V]:
        """Return the value and mark it as just used, or None."""
        found = self._items.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._items.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, num_bytes: int) -> None:
        """Insert or replace ``key``; the least recently used values make room."""
        old = self._items.pop(key, None)
        if old is not None:
            self.num_bytes -= old[1]
        if num_bytes > self.max_bytes:
            return
        self._items[key] = (value, num_bytes)
        self.num_bytes += num_bytes
        while self.num_bytes > self.max_bytes:
            _, (_, freed) = self._items.popitem(last=False)
            self.num_bytes -= freed
