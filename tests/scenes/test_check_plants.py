"""The data check finds every planted fault, says where it is, and finds nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import plants_data  # noqa: F401 - each fills PLANTS
import plants_metadata_rirs  # noqa: F401
import plants_views  # noqa: F401
import pytest
from check_plants import PLANTS, TEST, TRAIN, VAL, Expected, Plant, Tree
from published import make_published_tree

from audio_separation.scenes.check import findings, rir_packed, rir_tree
from audio_separation.scenes.check.report import tree as report_tree
from audio_separation.scenes.check.run import Options, Report, check_tree
from audio_separation.scenes.datasets import facts_of
from audio_separation.scenes.layout import DatasetPaths

SERIAL = Options(jobs=1)
OWN = "ZMojNkEp431"  # name of the scene that a plant gets for itself
ONLY_IN_SAMPLES = {  # plants that --quick does not see
    "response_of_unknown_coding",
    "response_not_finite",
    "response_silent",
    "packed_sample_changed",
    "packed_with_a_silent_response",
    "view_depth_not_finite",
    "view_depth_in_metres_among_others",
    "mapped_view_with_depth_beyond_1",
    "clip_silent",
    "clip_in_two_splits",
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> DatasetPaths:
    paths = make_published_tree(tmp_path_factory.mktemp("sound"), meshes=True, image_size=8)
    shutil.rmtree(paths.corpus_root / "1s_chunks")  # which nothing reads
    return paths


@pytest.fixture(scope="module")
def small(sound: DatasetPaths, tmp_path_factory: pytest.TempPathFactory) -> DatasetPaths:
    """The training scene only, for faults of one scene: twice as fast."""
    paths = spoilable(sound, tmp_path_factory.mktemp("small")).paths
    for scene in (VAL, TEST):
        for folder in (paths.metadata(scene), paths.rirs_root / scene):
            shutil.rmtree(folder)
        for file in (paths.observations(scene), *paths.data_root.glob(f"*_datasets/**/{scene}*.*")):
            file.unlink()
    return paths


def spoilable(sound: DatasetPaths, root: Path) -> Tree:
    """A copy of the sound tree that shares its files."""
    old = sound.data_root.parent
    for folder in ("data", "sound_spaces"):
        shutil.copytree(old / folder, root / folder, copy_function=os.link)
    paths = DatasetPaths(
        root / "data",
        root / "sound_spaces",
        sound.dataset,
        sound.corpus,
        sound.passive_version,
        sound.active_version,
    )
    return Tree(paths, root)


def found_in(report: Report, root: Path) -> Expected:
    return {
        (finding.kind, str(Path(finding.where).relative_to(root)), item)
        for finding in report.findings
        for item in finding.items or ("",)
    }


@pytest.mark.parametrize("planted", PLANTS, ids=lambda planted: planted.name)
def test_one_fault(planted: Plant, sound: DatasetPaths, small: DatasetPaths, tmp_path: Path) -> None:
    tree = spoilable(small if planted.own_scene else sound, tmp_path)
    expected = planted.apply(tree.own_scene(OWN) if planted.own_scene else tree)
    report = check_tree(tree.paths, SERIAL)
    assert found_in(report, tmp_path) == expected
    kinds = {findings.KINDS[kind].severity for kind, _, _ in expected}
    assert report.sound == (kinds == {"note"})
    assert not list(tmp_path.glob("boom*"))


def plant_all(sound: DatasetPaths, root: Path) -> tuple[Tree, dict[str, Expected]]:
    tree = spoilable(sound, root)
    splits = facts_of("mp3d").splits
    taken = (TRAIN, "PX4nDJXEHrG", "ULsKaCPVFJR")  # the last two by plants
    names = iter([name for name in (*splits["train"], *splits["val"][1:]) if name not in taken])
    expected = {}
    # datapoints first: they lie in the training split, and so should their scenes
    for planted in sorted(PLANTS, key=lambda planted: not planted.name.startswith("datapoint")):
        if planted.joint:
            expected[planted.name] = planted.apply(tree.own_scene(next(names)) if planted.own_scene else tree)
    return tree, expected


def test_all_faults_at_once(sound: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree, expected = plant_all(sound, tmp_path)
    report = check_tree(tree.paths, SERIAL)
    assert found_in(report, tmp_path) == set().union(*expected.values())
    assert not list(tmp_path.glob("boom*"))
    assert report.count("fault") + report.count("note") == sum(finding.count for finding in report.findings)
    # however the files are divided among tasks
    monkeypatch.setattr(rir_tree, "BATCH", 7)
    monkeypatch.setattr(rir_packed, "BATCH", 11)
    monkeypatch.setattr("audio_separation.scenes.check.run.BATCH", 3)
    again = check_tree(tree.paths, SERIAL)
    assert again.findings == report.findings
    whole, divided = report_tree(report), report_tree(again)
    whole.pop("free_bytes")
    divided.pop("free_bytes")
    assert whole == divided
    # and headers alone tell all but what lies in the samples
    quick = check_tree(tree.paths, SERIAL._replace(quick=True))
    headers = [found for name, found in expected.items() if name not in ONLY_IN_SAMPLES]
    assert found_in(quick, tmp_path) == set().union(*headers)


def test_every_kind_is_planted() -> None:
    """Those that need another tree have tests in test_check_sound.py."""
    elsewhere = {"episode-rir", "packed-old", "home-malformed"}
    names = {name for planted in PLANTS for name in planted.apply.__code__.co_consts if isinstance(name, str)}
    assert set(findings.KINDS) - names == elsewhere
