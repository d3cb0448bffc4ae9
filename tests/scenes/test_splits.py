"""Facts of the datasets, and which scenes a split has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published import SCENES

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import PUBLISHED, facts_of
from audio_separation.scenes.episode_format import scene_of
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.splits import (
    check_scene_splits,
    read_splits,
    scene_split,
    scenes_of_split,
    select_scenes,
    write_splits,
)


def paths(root: Path, dataset: str = "homes") -> DatasetPaths:
    return DatasetPaths(root / "data", root / "sound_spaces", dataset)


# ---- facts ---------------------------------------------------------------------------------------------
def test_published_splits_share_no_scene_and_have_their_sizes() -> None:
    sizes = {name: {k: len(v) for k, v in facts.splits.items()} for name, facts in PUBLISHED.items()}
    assert sizes["mp3d"] == {"train": 59, "val": 11, "test": 15}  # the 85 scenes of SoundSpaces
    assert sum(sizes["replica"].values()) == 18
    for name, facts in PUBLISHED.items():
        scenes = [scene for split in facts.splits.values() for scene in split]
        assert len(set(scenes)) == len(scenes)
        for split, scene in SCENES[name].items():
            assert scene in facts.splits[split]
    assert "HxpKQynjfin" in facts_of("mp3d").splits["train"]  # AAViDSS leaves it out, SoundSpaces does not


@pytest.mark.parametrize("dataset", ["homes", "mp3d", "replica", "my_flats"])
def test_the_scene_id_of_a_dataset_is_read_back(dataset: str) -> None:
    assert scene_of(facts_of(dataset).scene_id("apartment_0")) == "apartment_0"


def test_facts_of_a_name_that_nobody_published() -> None:
    facts = facts_of("my_flats")
    assert (facts.name, facts.mic_height_m, facts.rir_rate_hz, dict(facts.splits)) == (
        "my_flats",
        1.5,
        None,
        {},
    )


# ---- scenes of a split -----------------------------------------------------------------------------------
def test_splits_of_homes(tmp_path: Path) -> None:
    p = paths(tmp_path)
    write_splits(p.metadata_root, {"train": ["b", "a"], "val": ["c"], "test": []})
    assert scenes_of_split(p, "train") == ["a", "b"]
    assert scenes_of_split(p, "valUnheard") == ["c"]
    assert scenes_of_split(p, "testHeard") == []


def test_splits_of_published_data_are_what_is_there_of_the_published_table(tmp_path: Path) -> None:
    p = paths(tmp_path, "mp3d")
    with pytest.raises(UserError, match="none of its 11 published scenes is in .*metadata/mp3d.*README"):
        scenes_of_split(p, "val_100episodes")
    for scene in ("QUCTc6BB5sX", "2azQ1b91cZZ", "sT4fr6TAbpF", "mine"):
        p.metadata(scene).mkdir(parents=True)
    assert scenes_of_split(p, "val_100episodes") == ["2azQ1b91cZZ", "QUCTc6BB5sX"]
    assert scenes_of_split(p, "train_731243episodes") == ["sT4fr6TAbpF"]
    write_splits(p.metadata_root, {"train": ["QUCTc6BB5sX"], "val": ["mine"], "test": []})
    assert scenes_of_split(p, "val") == ["mine"]  # the user's own word counts more


def test_splits_of_other_data_follow_its_files(tmp_path: Path) -> None:
    p = paths(tmp_path, "my_flats")
    for file in ("train/b.pkl", "train/a.pkl", "val/c.pkl"):
        write_atomic(p.passive_root / file, b"")
    write_atomic(p.active("testUnheard") / "content" / "d.json.gz", b"")
    write_atomic(p.active("train") / "content" / "e.json.gz", b"")
    assert scenes_of_split(p, "train") == ["a", "b", "e"]
    assert scenes_of_split(p, "valHeard") == ["c"]
    assert scenes_of_split(p, "testHeard") == ["d"]


def test_no_scenes_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no scene of split 'val' .*found: .*splits\.json is missing"):
        scenes_of_split(paths(tmp_path), "val")


def test_a_scene_of_another_split_is_refused(tmp_path: Path) -> None:
    p, where = paths(tmp_path, "mp3d"), tmp_path / "episodes"
    check_scene_splits(p, "val_100episodes", ["x8F5xyUWy9e", "2azQ1b91cZZ", "mine"], where)
    check_scene_splits(p, "holdout", ["x8F5xyUWy9e", "sT4fr6TAbpF"], where)
    with pytest.raises(
        UserError,
        match=r"episodes is of split 'val_100episodes', but plays in scene pa4otMbVnkk, "
        r"which the published splits of mp3d put into 'test' \(1 such scenes\)",
    ):
        check_scene_splits(p, "val_100episodes", ["x8F5xyUWy9e", "pa4otMbVnkk"], where)
    write_splits(p.metadata_root, {"train": ["x8F5xyUWy9e"], "val": ["pa4otMbVnkk"], "test": []})
    check_scene_splits(p, "val_100episodes", ["pa4otMbVnkk"], where)
    with pytest.raises(UserError, match=r"x8F5xyUWy9e, which .*splits\.json puts into 'train'"):
        check_scene_splits(p, "val_100episodes", ["x8F5xyUWy9e"], where)


# ---- scenes that are on disk -------------------------------------------------------------------------------
@pytest.fixture
def half(tmp_path: Path) -> DatasetPaths:
    """Three scenes have points; `a` has responses as a tree and views, `b` packed responses, `c` nothing."""
    p = paths(tmp_path, "mp3d")
    for scene in "abc":
        p.metadata(scene).mkdir(parents=True)
    (p.rirs_root / "a").mkdir(parents=True)
    write_atomic(p.rirs_root / "b.safetensors", b"")
    write_atomic(p.observations("a"), b"")
    return p


def test_all_scenes_must_be_there_or_one_sentence_says_what_is_not(half: DatasetPaths) -> None:
    assert select_scenes(half, ["b", "a", "b"], "all", views=False) == ["a", "b"]
    assert select_scenes(half, "cab", "all", responses=False, views=False) == ["a", "b", "c"]
    words = r"2 of 3 scenes lack data on disk, such as b: .*scene_observations/mp3d/b\.pkl not found; .*README\.md"
    with pytest.raises(UserError, match=words + ".*; or give DATA.SCENES present"):
        select_scenes(half, "abc", "all")
    with pytest.raises(UserError, match=r"1 of 3 scenes .* such as c: .*binaural_rirs/mp3d/c not found"):
        select_scenes(half, "abc", "all", views=False)


def test_present_scenes_only(half: DatasetPaths) -> None:
    assert select_scenes(half, "abc", "present") == ["a"]
    assert select_scenes(half, "abc", "present", views=False) == ["a", "b"]
    for which in ("all", "present"):
        with pytest.raises(UserError, match="1 of 1 scenes lack data") as caught:
            select_scenes(half, "c", which)
        assert "DATA.SCENES" not in str(caught.value)  # it would not help


def test_a_misspelt_dataset_is_told_what_there_is(half: DatasetPaths) -> None:
    other = paths(half.data_root.parent, "mpd3")
    with pytest.raises(
        UserError, match="metadata/mpd3/a .* not found; DATASET is mpd3, there is data of mp3d; "
    ):
        select_scenes(other, "ab", "all")


# ---- splits.json -------------------------------------------------------------------------------------------
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
