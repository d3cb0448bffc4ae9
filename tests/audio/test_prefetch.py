"""Reading ahead in threads: each key once, few waiting, errors where they belong, forks survived."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest

from audio_separation.audio.prefetch import Prefetcher
from audio_separation.errors import UserError


class _Reads:
    """Counts what is read, and where; key 13 fails."""

    def __init__(self) -> None:
        self.log: list[tuple[int, bool]] = []
        self.gate = threading.Event()

    def __call__(self, key: int) -> int:
        ahead = threading.current_thread() is not threading.main_thread()
        if ahead:
            assert self.gate.wait(30)
        self.log.append((key, ahead))
        if key == 13:
            raise UserError("thirteen")
        return -key


def test_prefetcher_reads_each_key_once_and_keeps_a_bounded_number() -> None:
    read = _Reads()
    ahead: Prefetcher[int, int] = Prefetcher(read, threads=1, max_waiting=4)
    ahead.start([13, 1, 2, 3, 4, 5])  # 4 and 5 would push out 13
    assert ahead.take(3) == -3 and read.log == [(3, False)]  # not begun yet: read here, not waited for
    read.gate.set()
    ahead.start([6, 7])  # five are waiting: the oldest, 13, is let go
    assert [ahead.take(key) for key in (1, 2, 6, 7)] == [-1, -2, -6, -7]
    counts = Counter(key for key, _ in read.log)
    assert max(counts.values()) == 1 and not {4, 5} & set(counts)
    ahead.start([13])
    for _ in range(2):  # from the thread, then read anew
        with pytest.raises(UserError, match="thirteen"):
            ahead.take(13)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_prefetcher_crosses_a_fork() -> None:
    ahead: Prefetcher[int, int] = Prefetcher(abs, threads=1)
    ahead.start([-1, -2])
    pid = os.fork()
    if pid == 0:
        ahead.start([-3])
        os._exit(0 if (ahead.take(-1), ahead.take(-3)) == (1, 3) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ahead.take(-1) == 1
