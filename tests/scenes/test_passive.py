from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.scenes.draw import make_passive_points
from audio_separation.scenes.graph import NavGraph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.passive import (
    PassivePoint,
    concatenate,
    load_passive,
    save_passive,
)


@pytest.fixture
def graph(tiny: DatasetPaths) -> NavGraph:
    return load_graph(tiny.metadata("tiny_000"))


def published(scene: str, count: int = 3) -> dict:
    return {scene: [{"r": 10 + i, "azimuth": 90 * (i % 4), "all_s": [i, i + 1]} for i in range(count)]}


def write(tmp_path: Path, scene: str, tree: object) -> None:
    (tmp_path / "train").mkdir(exist_ok=True)
    (tmp_path / "train" / f"{scene}.pkl").write_bytes(pickle.dumps(tree))


def test_published_file(tmp_path: Path) -> None:
    write(tmp_path, "b", published("b"))
    write(tmp_path, "a", published("a", 2))
    points = load_passive(tmp_path, "train")
    assert len(points) == 5
    assert points[0] == PassivePoint("a", 10, 0, (0, 1))
    assert points[-1] == PassivePoint("b", 12, 180, (2, 3))
    assert [p.scene for p in points] == ["a", "a", "b", "b", "b"]
    assert points[1:3].sources.tolist() == [[1, 2], [0, 1]]
    assert [p.scene for p in load_passive(tmp_path, "train", ["b"], limit_per_scene=2)] == ["b", "b"]


def test_save_and_load_again(tmp_path: Path, graph: NavGraph) -> None:
    rng = np.random.default_rng(0)
    parts = [make_passive_points(graph, None, 7, rng, scene) for scene in ("y", "x")]
    save_passive(tmp_path, "val", concatenate(parts))
    loaded = load_passive(tmp_path, "val")
    assert list(loaded) == [*parts[1], *parts[0]]  # scenes in order of name
    stored = pickle.loads((tmp_path / "val" / "y.pkl").read_bytes())["y"][0]
    assert stored == {
        "r": parts[0][0].receiver,
        "azimuth": parts[0][0].azimuth,
        "all_s": list(parts[0][0].sources),
    }
    assert type(stored["r"]) is int


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda d: d[1].pop("r"), r"a\.pkl: a datapoint lacks the key 'r'"),
        (lambda d: d[1].update(all_s=[1]), r"the same number of sources in all"),
        (lambda d: d[1].update(azimuth="north"), r"every datapoint should give"),
        (lambda d: d[1].update(azimuth=90.5), r"every datapoint should give"),
        (lambda d: d[1].update(azimuth=[0, 90]), r"every datapoint should give"),
        (lambda d: d[1].update(r=float("inf")), r"every datapoint should give"),
        (lambda d: d[1].update(r=10**30), r"every datapoint should give"),
        (lambda d: d[1].update(azimuth=45), r"'azimuth' should be 0, 90, 180 or 270 degrees, found 45"),
        (lambda d: [p.update(all_s=[]) for p in d], r"at least one"),
        (lambda d: d.clear(), r"should hold \{'a': \[datapoint, ...\]\}"),
    ],
)
def test_faulty_points(tmp_path: Path, break_it: Callable, message: str) -> None:
    tree = published("a")
    break_it(tree["a"])
    write(tmp_path, "a", tree)
    with pytest.raises(UserError, match=message):
        load_passive(tmp_path, "train")


def test_file_of_another_scene(tmp_path: Path) -> None:
    write(tmp_path, "a", published("b"))
    with pytest.raises(UserError, match=r"a\.pkl should hold"):
        load_passive(tmp_path, "train")


def test_scenes_with_different_numbers_of_sources(tmp_path: Path) -> None:
    write(tmp_path, "a", published("a"))
    write(tmp_path, "b", {"b": [{"r": 1, "azimuth": 0, "all_s": [1, 2, 3]}]})
    with pytest.raises(UserError, match=r"b\.pkl: its datapoints have 3 sources, those of a 2"):
        load_passive(tmp_path, "train")


def test_missing_folder_or_scene_names_the_command(tmp_path: Path) -> None:
    for scenes in (None, ["a"]):
        with pytest.raises(UserError, match=r"python scripts/generate_homes\.py"):
            load_passive(tmp_path, "train", scenes)


def test_hostile_points(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    write(tmp_path, "a", {"a": Attack()})
    with pytest.raises(UserError, match=r"asks for (posix|nt)\.mkdir"):
        load_passive(tmp_path, "train")
    assert not (tmp_path / "ran").exists()
