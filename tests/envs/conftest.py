"""Worlds that the tests of live rendering share (read them, never change them), and a record of simulations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from live_worlds import make_box_world, make_home_world

from audio_separation.envs.audition import acoustics


@pytest.fixture(scope="session")
def home_world(tiny, tmp_path_factory):
    """Paths of a dataset with one generated home, and the home."""
    return make_home_world(tmp_path_factory.mktemp("home") / "world", tiny)


@pytest.fixture(scope="session")
def box_world(tiny, tmp_path_factory):
    """Paths of a dataset with an empty box of 6 x 3 x 4 m."""
    return make_box_world(tmp_path_factory.mktemp("box") / "world", tiny)


@pytest.fixture
def simulated(monkeypatch):
    """The sources of every simulation of an audition room from here on."""
    asked = []
    original = acoustics.simulate_responses

    def record(plan, sources, ears, rate_hz):
        asked.append(list(sources))
        return original(plan, sources, ears, rate_hz)

    monkeypatch.setattr(acoustics, "simulate_responses", record)
    return asked
