from __future__ import annotations

from pathlib import Path

import pytest

from audio_separation.config.default import get_config
from audio_separation.errors import UserError
from audio_separation.scenes.layout import DatasetPaths, paths_from_config, write_atomic


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
    assert p.mesh("s") == Path("r/data/scene_datasets/mp3d/s/s.glb")
    replica = paths(Path("r"), "replica")
    assert replica.mesh("s") == Path("r/data/scene_datasets/replica/s/habitat/mesh_semantic.ply")


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
