"""Real habitat-lab; where habitat-sim is not installed, over the stand-ins of ``stubs/``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from habitat_setup import has_habitat_lab

HAS_HABITAT_SIM = importlib.util.find_spec("habitat_sim") is not None
if has_habitat_lab():  # elsewhere the tests of other folders must meet nothing of this
    if not HAS_HABITAT_SIM:
        sys.path.append(str(Path(__file__).parent / "stubs"))
    os.environ.setdefault("HABITAT_LAB_LOG", "30")  # warnings only
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of worker processes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, in words, what needs the real habitat-sim."""
    why = pytest.mark.skip(
        reason="habitat-sim is not installed (conda only: environment.yml); the other tests of "
        "tests/habitat_adapter run without it"
    )
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and item.get_closest_marker("habitat") and not HAS_HABITAT_SIM:
            item.add_marker(why)
