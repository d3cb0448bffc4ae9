"""Runs that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_config import small_config, train


@pytest.fixture(scope="session")
def passive_run(tiny, tmp_path_factory) -> Path:
    """Model dir of an uninterrupted pretraining; read only."""
    folder = tmp_path_factory.mktemp("passive") / "run"
    assert (
        train(small_config(tiny, TRAINER="passive", PASSIVE__NUM_STEPS=12, PASSIVE__VAL_EVERY=3), folder) == 0
    )
    return folder


@pytest.fixture(scope="session")
def active_config(tiny, passive_run):
    """Config of the active training that starts from ``passive_run``."""
    return small_config(
        tiny, NUM_PROCESSES=4, NUM_UPDATES=8, TRAIN__SAVE_EVERY=3, TRAIN__PASSIVE_CHECKPOINT=passive_run
    )


@pytest.fixture(scope="session")
def active_run(active_config, tmp_path_factory) -> Path:
    """Model dir of an uninterrupted active training; read only."""
    folder = tmp_path_factory.mktemp("active") / "run"
    assert train(active_config, folder) == 0
    return folder
