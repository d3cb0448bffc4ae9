"""What the tests of the command line share."""

from __future__ import annotations

import signal

import pytest
from small_config import REPO


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Relative paths of the commands, and signal handlers put back."""
    monkeypatch.chdir(REPO)
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before):
        signal.signal(number, handler)
