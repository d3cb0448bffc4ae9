from __future__ import annotations

import json
from pathlib import Path

import pytest

from audio_separation.config.default import get_config
from audio_separation.errors import UserError
from audio_separation.scenes.layout import DatasetPaths, paths_from_config, write_atomic
from audio_separation.scenes.splits import read_splits, scene_split, scenes_of_split, write_splits


def paths(root: Path, dataset: str = "homes") -> DatasetPaths:
    return DatasetPaths(root / "data", root / "sound_spaces", dataset)


def test_published_layout() -> None:
    p = paths(Path("r"), "mp3d")
    assert p.metadata("s") == Path("r/sound_spaces/metadata/mp3d/s")
    assert p.rirs_root == Path("r/sound_spaces/binaural_rirs/mp3d")
    assert p.observations("s") == Path("r/sound_spaces/scene_observations/mp3d/s.pkl")
    assert p.corpus_root == Path("r/data/audio_data/synthetic")
    assert p.passive("val") == Path("r/data/passive_datasets/homes_v1/val")
    assert p.active("valHeard") == Path("r/data/active_datasets/homes_near_v1/valHeard")
    assert p.scene_glb("s") == Path("r/data/scene_datasets/mp3d/s/s.glb")


def test_paths_of_the_config() -> None:
    overrides = [
        "DATASET",
        "mp3d",
        "DATA.ROOT",
        "/d",
        "DATA.CORPUS",
        "libri",
        "DATA.ACTIVE_VERSION",
        "near_v1",
    ]
    p = paths_from_config(get_config(overrides=overrides))
    assert p == DatasetPaths(Path("/d"), Path("sound_spaces"), "mp3d", "libri", "homes_v1", "near_v1")


def test_missing_folder_names_the_command(tmp_path: Path) -> None:
    p = paths(tmp_path)
    with pytest.raises(UserError) as caught:
        p.require(p.metadata("home_000"), "metadata of scene home_000")
    assert str(caught.value) == (
        f"metadata of scene home_000 not found at {tmp_path}/sound_spaces/metadata/homes/home_000; "
        f"make it with: python scripts/generate_homes.py --preset mini --out {tmp_path}"
    )
    with pytest.raises(UserError, match=r"sound_spaces/README\.md"):
        paths(tmp_path, "mp3d").require(tmp_path / "x", "RIRs")
    with pytest.raises(UserError, match=r"x; run this$"):
        p.require(tmp_path / "x", "clips", "run this")
    assert p.require(tmp_path, "root") == tmp_path


def test_atomic_write_replaces_and_leaves_nothing(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a" / "b", b"1")
    write_atomic(tmp_path / "a" / "b", b"2")
    assert (tmp_path / "a" / "b").read_bytes() == b"2"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_splits_of_homes(tmp_path: Path) -> None:
    p = paths(tmp_path)
    write_splits(p.metadata_root, {"train": ["b", "a"], "val": ["c"], "test": []})
    assert scenes_of_split(p, "train") == ["a", "b"]
    assert scenes_of_split(p, "valUnheard") == ["c"]
    assert scenes_of_split(p, "testHeard") == []


def test_splits_of_published_data_follow_its_files(tmp_path: Path) -> None:
    p = paths(tmp_path, "mp3d")
    for file in ("train/b.pkl", "train/a.pkl", "val/c.pkl"):
        write_atomic(p.passive_root / file, b"")
    write_atomic(p.active("testUnheard") / "content" / "d.json.gz", b"")
    write_atomic(p.active("train") / "content" / "e.json.gz", b"")
    assert scenes_of_split(p, "train") == ["a", "b", "e"]
    assert scenes_of_split(p, "valHeard") == ["c"]
    assert scenes_of_split(p, "testHeard") == ["d"]


def test_no_scenes_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no scene of split 'val' found: .*splits\.json is missing"):
        scenes_of_split(paths(tmp_path), "val")


def test_unknown_split() -> None:
    assert scene_split("testUnheard") == "test"
    with pytest.raises(UserError, match="split 'dev' should begin with train, val or test"):
        scene_split("dev")


@pytest.mark.parametrize(
    "text", ["{", "[]", json.dumps({"train": ["a"], "val": []}), '{"train": 1, "val": 1, "test": 1}']
)
def test_malformed_splits(tmp_path: Path, text: str) -> None:
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(UserError, match=r"splits\.json should hold"):
        read_splits(tmp_path)


def test_scene_in_two_splits(tmp_path: Path) -> None:
    write_splits(tmp_path, {"train": ["a"], "val": ["b", "a"], "test": []})
    with pytest.raises(UserError, match="lists scene a in train and in val"):
        read_splits(tmp_path)
