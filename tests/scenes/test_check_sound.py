"""The data check finds nothing in sound trees of every published form, and what follows from a fault elsewhere."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from old_packed import write_version_1
from published import broken_rirs, make_published_tree
from tiny import NUM_NODES, SCENES, scene_rirs, write_wav_tree

from audio_separation.audio.packed_writer import write_packed
from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import KINDS, Finding, cure_of
from audio_separation.scenes.check.report import size, text
from audio_separation.scenes.check.run import Options, Report, check_tree
from audio_separation.scenes.check.views import judge_depth
from audio_separation.scenes.layout import DatasetPaths

SERIAL = Options(jobs=1)


def kinds_of(report: Report) -> set[str]:
    return {finding.kind for finding in report.findings}


@pytest.fixture
def homes(tiny: DatasetPaths, tmp_path: Path) -> DatasetPaths:
    """The tiny dataset, with meshes, in a copy that may be changed."""
    root = tmp_path / "homes"
    shutil.copytree(tiny.data_root.parent, root)
    paths = DatasetPaths(root / "data", root / "sound_spaces")
    for names in SCENES.values():
        for name in names:
            paths.mesh(name).parent.mkdir(parents=True)
            paths.mesh(name).touch()
    return paths


@pytest.mark.parametrize(
    "form",
    [
        {"dataset": "mp3d"},
        {"dataset": "mp3d", "separator": "-"},
        {"dataset": "mp3d", "family": "move2hear"},
        {"dataset": "replica"},
    ],
    ids=lambda form: "-".join(form.values()),
)
def test_published_trees_are_sound(form: dict, tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, meshes=True, image_size=8, **form)
    report = check_tree(paths, SERIAL)
    assert report.findings == []
    assert [scene.split for scene in sorted(report.scenes, key=lambda s: s.split)] == ["test", "train", "val"]
    rate = {"mp3d": 16000, "replica": 44100}[paths.dataset]
    assert all(scene.rates == {rate: 144} for scene in report.scenes)
    in_metres = {scene.split: scene.scan.views.depth_in_metres for scene in report.scenes}
    assert in_metres == {"train": False, "val": True, "test": False}


def test_homes_are_sound(homes: DatasetPaths) -> None:
    report = check_tree(homes, SERIAL)
    assert report.findings == [] and report.sound
    scene = report.scenes[0]
    assert (scene.scan.scene, scene.scan.nodes, scene.scan.edges) == ("tiny_000", NUM_NODES, 5)
    assert scene.scan.packed is not None and scene.scan.packed.rows == 4 * NUM_NODES**2
    assert "no faults, 0 notes" in text(report)


def test_the_broken_responses_of_the_published_archive(tmp_path: Path) -> None:
    paths = make_published_tree(tmp_path, broken=True, image_size=8)
    report = check_tree(paths, SERIAL._replace(scenes=["pa4otMbVnkk"]))  # no datapoints use this one
    found = {str(Path(f.where) / item) for f in report.findings for item in f.items if f.severity == "fault"}
    assert found == {str(path) for path in broken_rirs(paths) if "pa4otMbVnkk" in str(path)}
    assert kinds_of(report) == {"rir-empty", "rir-truncated", "mesh-missing"}


def test_homes_with_few_sources_are_sound_and_others_are_missed(homes: DatasetPaths) -> None:
    # responses from nodes 0, 1 and 2 only, as homes are made with --sources 3
    few = [(pair, rir) for pair, rir in scene_rirs("tiny_000") if pair[2] < 3]
    write_packed(homes.rirs_root / "tiny_000.safetensors", few, 16000)
    report = check_tree(homes, SERIAL)
    # no pair is missing, but the episodes and datapoints were drawn for all nodes
    assert kinds_of(report) == {"episode-rir", "passive-rir"}
    (episodes,) = [f for f in report.findings if f.kind == "episode-rir"]
    tree = report.scenes[0].scan.episodes[0].source_nodes["tiny_000"]
    wanted = {f"episode {name}" for node, names in tree.items() if node >= 3 for name in names}
    assert set(episodes.items) == wanted and episodes.count == len(wanted)
    (points,) = [f for f in report.findings if f.kind == "passive-rir"]
    drawn = pickle.loads((homes.passive("train") / "tiny_000.pkl").read_bytes())["tiny_000"]
    assert points.items == tuple(f"datapoint {i}" for i, p in enumerate(drawn) if max(p["all_s"]) >= 3)
    # the same from home.json: what it promises is missing
    record = homes.metadata("tiny_000") / "home.json"
    record.write_text(json.dumps({"source_nodes": [0, 1, 2, 4]}))
    report = check_tree(homes, SERIAL)
    (missing,) = [f for f in report.findings if f.kind == "packed-missing"]
    assert missing.items == tuple(f"{a}/{r}_4" for a in (0, 90, 180, 270) for r in range(NUM_NODES))
    record.write_text("{}")
    (malformed,) = [f for f in check_tree(homes, SERIAL).findings if f.kind == "home-malformed"]
    assert malformed.where == str(record)


def test_a_dataset_of_ones_own_has_the_rate_of_most(homes: DatasetPaths) -> None:
    own = homes.sound_spaces_root
    for part in ("metadata", "binaural_rirs", "scene_observations"):
        (own / part / "homes").rename(own / part / "own")
    (homes.data_root / "scene_datasets" / "homes").rename(homes.data_root / "scene_datasets" / "own")
    paths = DatasetPaths(homes.data_root, own, "own")
    for file in paths.rirs_root.glob("*.safetensors"):
        file.unlink()
    for names in SCENES.values():
        write_wav_tree(paths.rirs_root, names[0])
    report = check_tree(paths, SERIAL)
    assert report.findings == [] and report.scenes[0].rates == {16000: 144}
    file = paths.rirs_root / "tiny_000" / "0" / "0_0.wav"
    data = bytearray(file.read_bytes())
    data[24:28] = (48000).to_bytes(4, "little")
    file.write_bytes(data)
    (found,) = check_tree(paths, SERIAL).findings
    assert (found.kind, found.items, found.what) == ("rir-rate", ("0_0.wav",), "48000 Hz, expected 16000 Hz")


def test_what_a_splits_json_lists_should_be_there(homes: DatasetPaths) -> None:
    path = homes.metadata_root / "splits.json"
    splits = json.loads(path.read_text())
    splits["test"].append("tiny_009")
    path.write_text(json.dumps(splits))
    report = check_tree(homes, SERIAL)
    assert {(f.kind, f.scene) for f in report.findings} == {
        (kind, "tiny_009")
        for kind in ("metadata-missing", "rirs-absent", "views-absent", "mesh-missing", "passive-missing")
    }


def test_only_the_scenes_that_were_asked_for(homes: DatasetPaths) -> None:
    for scene in ("tiny_000", "tiny_001"):
        homes.mesh(scene).unlink()
    report = check_tree(homes, SERIAL._replace(scenes=["tiny_001"]))
    assert [scene.scan.scene for scene in report.scenes] == ["tiny_001"]
    assert [(f.kind, f.scene) for f in report.findings] == [("mesh-missing", "tiny_001")]
    with pytest.raises(
        UserError, match=r"--scenes tiny_7: .* of homes; there are tiny_000, tiny_001, tiny_002"
    ):
        check_tree(homes, SERIAL._replace(scenes=["tiny_7"]))


def test_nothing_of_the_dataset(homes: DatasetPaths, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no folder; --data names the folder"):
        check_tree(DatasetPaths(tmp_path / "none", homes.sound_spaces_root), SERIAL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"nothing of dataset replica is below"):
        check_tree(DatasetPaths(tmp_path / "empty", tmp_path / "empty", "replica"), SERIAL)


def test_old_packed_files_are_noted(homes: DatasetPaths) -> None:
    rirs = {pair: np.asarray(rir) for pair, rir in scene_rirs("tiny_000")}
    write_version_1(homes.rirs_root / "tiny_000.safetensors", rirs)
    assert kinds_of(check_tree(homes, SERIAL)) == {"packed-old"}
    rirs[90, 1, 2] = np.full((2, 5), np.nan, np.float32)
    write_version_1(homes.rirs_root / "tiny_000.safetensors", rirs)
    report = check_tree(homes, SERIAL)
    (bad,) = [f for f in report.findings if f.kind == "packed-samples"]
    assert bad.items == ("90/1_2",)


def test_depth_is_metres_where_most_views_exceed_1() -> None:
    def judge(*highest: float) -> tuple[bool, list[str]]:
        extremes = {(node, 0): (0.0, high) for node, high in enumerate(highest)}
        in_metres, found = judge_depth(extremes, Path("views.pkl"), "scene")
        return in_metres, [item for finding in found for item in finding.items]

    assert judge(0.5, 1.0, 0.9) == (False, [])
    assert judge(3.0, 4.0, 0.9) == (True, [])
    assert judge(3.0, 14.0, 0.9, 0.8) == (False, ["node 0 rotation 0", "node 1 rotation 0"])
    # what is no depth at all does not vote
    assert judge(3.0, float("nan"), float("inf")) == (True, ["node 1 rotation 0", "node 2 rotation 0"])
    assert judge_depth({(0, 0): (-0.1, 0.5)}, Path("v"), "s")[1][0].what == "negative or not finite"


@pytest.mark.parametrize("dataset", ["homes", "mp3d", "mine"])
def test_every_kind_has_a_cure(dataset: str) -> None:
    paths = DatasetPaths(Path("d/data"), Path("s"), dataset, "sounds")
    for kind, (severity, meaning, _) in KINDS.items():
        cure = cure_of(kind, paths)
        assert severity in ("fault", "note") and meaning
        assert len(cure) > 20 and "{" not in cure.replace('{"classes"', "")
    assert ("generate_homes.py --out d " in cure_of("graph-missing", paths)) == (dataset == "homes")


def test_a_finding_counts_its_items() -> None:
    assert Finding("rir-empty", "x", "y").count == 1
    assert Finding("rir-empty", "x", "y").severity == "fault"
    assert [size(n) for n in (0, 999, 1000, 1.5e6, 999.6e6, 867e9, 4.3e12)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1.5 MB",
        "1 GB",
        "867 GB",
        "4.3 TB",
    ]


def test_tiny_dataset_lacks_meshes_only(tiny: DatasetPaths) -> None:
    assert kinds_of(check_tree(tiny, SERIAL)) == {"mesh-missing"}
