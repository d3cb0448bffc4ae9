"""Fixtures of the scripts that write a dataset's views and episodes; each has tests in two files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cache_worlds import add_scene

from audio_separation.envs import observation_cache
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.training import run_dir


@pytest.fixture
def without_habitat_sim(monkeypatch: pytest.MonkeyPatch) -> None:
    """--renderer auto is the ray caster, also where habitat-sim is installed."""
    monkeypatch.setattr(observation_cache, "installed", lambda: False)


@pytest.fixture
def rooms(tmp_path: Path) -> DatasetPaths:
    """Two scenes, a and b, of graph and mesh, and no views yet."""
    found = DatasetPaths(tmp_path / "data", tmp_path / "sound_spaces", "own")
    add_scene(found, "a")
    add_scene(found, "b", width=3.5)
    return found


@pytest.fixture
def commit_abc(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made is recorded as made with commit abc."""
    monkeypatch.setattr(run_dir, "commit_id", lambda: "abc")


@pytest.fixture
def own_data(tiny: DatasetPaths, tmp_path: Path) -> DatasetPaths:
    """A data folder of one's own over the tiny scenes and sounds."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "audio_data").symlink_to(tiny.data_root / "audio_data")
    return DatasetPaths(
        tmp_path / "data", tiny.sound_spaces_root, "homes", "synthetic", "points_v1", "mine_v1"
    )
