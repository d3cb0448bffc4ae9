"""Pure Data for the tests of this folder."""

from __future__ import annotations

import pytest
from pd_setup import none_left, program_or_skip


@pytest.fixture(scope="session")
def pd() -> str:
    """The program; the test skips where there is none."""
    return program_or_skip()


_none_left = pytest.fixture(autouse=True)(none_left)
