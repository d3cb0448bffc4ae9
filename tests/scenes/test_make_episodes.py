"""scripts/make_episodes.py: what it writes, and that nothing but its options decides it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import networkx
import numpy as np
import published
import pytest
import torch
from episode_runs import ROOT, SCENES, SCRIPT, active, hashes, run, script
from published import make_published_tree
from small_config import small_config

from audio_separation.audio.clips import ClipLibrary
from audio_separation.envs.build import build_simulator
from audio_separation.envs.simulator import HOLD
from audio_separation.scenes import episode_sets, schema
from audio_separation.scenes.episode_format import Point
from audio_separation.scenes.episodes import Episode, load_episodes, read_episode_file, validate_episodes
from audio_separation.scenes.graph import NavGraph, load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.passive import load_passive
from audio_separation.scenes.unpickle import load_pickle
from audio_separation.training import run_dir

pytestmark = pytest.mark.usefixtures("commit_abc")
PAGE = ROOT / "docs" / "episodes.md"


def distances(graph: NavGraph, episodes: list[Episode]) -> list[float]:
    plain = networkx.Graph()
    for v, others in enumerate(graph.neighbours):
        for other in others:
            length = float(np.linalg.norm(graph.positions[v] - graph.positions[other]))
            plain.add_edge(v, int(other), weight=length)
    ends = [(e.start_node(graph), int(e.source_nodes(graph)[0, 0])) for e in episodes]
    return [networkx.shortest_path_length(plain, a, b, weight="weight") for a, b in ends]


# ---- what is written ------------------------------------------------------------------------------------
def test_near_episodes_of_all_splits(own_data: DatasetPaths) -> None:
    assert active(own_data, "near", "--num", 12, "val=6", "testHeard=3") == 0
    expected = {"train": 12, "valHeard": 6, "valUnheard": 6, "testHeard": 3, "testUnheard": 12}
    for split, count in expected.items():
        kind, sounds = episode_sets.ACTIVE_SPLITS[split]
        graph = load_graph(own_data.metadata(SCENES[kind]))
        clips = ClipLibrary(own_data.corpus_root, sounds)
        episodes = load_episodes(own_data.active_root, split)
        assert len(episodes) == count and {e.scene for e in episodes} == {SCENES[kind]}
        validate_episodes(episodes, clips, {SCENES[kind]: graph})
        assert all(e.start_position == e.source_positions[0] for e in episodes)  # as published
        # the three classes that may be targets, equally often
        assert Counter(e.labels[0] for e in episodes) == dict.fromkeys(range(3), count // 3)
    for path in own_data.active_root.rglob("*.json.gz"):
        assert schema.validate_active(read_episode_file(path)) == []


def test_near_and_far_ranges(own_data: DatasetPaths) -> None:
    graph = load_graph(own_data.metadata("tiny_000"))
    assert active(own_data, "near", "--num", 40, "--splits", "train", "--distance", 1, 2) == 0
    assert set(distances(graph, load_episodes(own_data.active_root, "train"))) == {1, 2}
    far = ("far", "--num", 40, "--splits", "train", "--overwrite")
    assert active(own_data, *far, "--distance", 2, 12) == 0
    # an L of 5 m from end to end: bins of 2 to 3, 3 to 4, and 4 to 5 m
    count = Counter(min(d, 4) for d in distances(graph, load_episodes(own_data.active_root, "train")))
    assert sorted(count.values()) == [13, 13, 14] and sorted(count) == [2, 3, 4]


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
def test_numbers_of_sources(own_data: DatasetPaths, sources: int) -> None:
    options = ("--num", 6, "--sources", sources, "--spacing", 1)
    assert active(own_data, "near", *options) == 0
    for e in load_episodes(own_data.active_root, "testUnheard"):
        assert e.num_sources == sources == len(set(e.source_positions)) == len(set(e.labels))
    assert run(own_data, "--name", "points_v1", "--kind", "passive", *options[:4]) == 0
    assert load_passive(own_data.passive_root, "val").sources.shape == (6, sources)


def test_passive_points(own_data: DatasetPaths) -> None:
    options = ("--name", "points_v1", "--kind", "passive", "--num", 30, "train=200")
    assert run(own_data, *options, "--distance", 1, 1, "--near-fraction", 1) == 0
    for split, scene in SCENES.items():
        points = load_passive(own_data.passive_root, split)
        assert len(points) == (200 if split == "train" else 30) and points.scenes == (scene,)
        graph = load_graph(own_data.metadata(scene))
        assert {float(graph.geodesic[p.receiver, p.sources[0]]) for p in points} == {1.0}
        assert schema.validate_passive(load_pickle(own_data.passive_root / split / f"{scene}.pkl")) == []
    note = json.loads((own_data.passive_root / "made_with.json").read_text())
    assert note["kind"] == "passive" and note["corpus"] is None and note["near_fraction"] == 1


def test_the_record_says_how_it_was_made(own_data: DatasetPaths) -> None:
    moving = ("--moving", "target", "--speed", 0.5, "--pause", 1, 2)
    assert active(own_data, "near", "--seed", 4, "--num", 5, "--splits", "val", *moving) == 0
    note = json.loads((own_data.active_root / "made_with.json").read_text())
    assert note == {
        "script": "make_episodes",
        "format": 1,
        "dataset": "homes",
        "corpus": "synthetic",
        "kind": "near",
        "seed": 4,
        "num_sources": 2,
        "distance_m": [0, 0],
        "spacing_m": 2,
        "near_fraction": 0.7,
        "source_nodes": "rirs",
        "motion": {"who": "target", "steps": 20, "speed": 0.5, "pause": [1, 2]},
        "splits": {
            "valHeard": {"sounds": "train", "per_scene": 5, "scenes": ["tiny_001"], "commit": "abc"},
            "valUnheard": {"sounds": "valUnheard", "per_scene": 5, "scenes": ["tiny_001"], "commit": "abc"},
        },
    }


def test_nodes_without_responses_are_told(own_data: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    own = DatasetPaths(
        own_data.data_root, own_data.data_root / "ss", "own", "synthetic", active_version="mine_v1"
    )
    shutil.copytree(own_data.metadata_root, own.metadata_root)
    for scene in SCENES.values():
        (own.metadata(scene) / "home.json").write_text('{"source_nodes": [0, 1, 3]}')
    assert active(own, "near", "--num", 3) == 0
    assert "in 3 scenes sources stand at some nodes only" in capsys.readouterr().err
    graph = load_graph(own.metadata("tiny_000"))
    for e in load_episodes(own.active_root, "train"):
        assert set(graph.node_ids[e.source_nodes(graph)[:, 0]].tolist()) <= {0, 1, 3}
    assert active(own, "near", "--num", 3, "--source-nodes", "all", "--overwrite") == 0
    assert "some nodes only" not in capsys.readouterr().err


def test_from_the_shell(own_data: DatasetPaths) -> None:
    where = ["--data", str(own_data.data_root), "--sound-spaces", str(own_data.sound_spaces_root)]
    command = [sys.executable, str(SCRIPT), *where, "--dataset", "homes", "--name", "mine_v1"]
    options = ["--kind", "passive", "--num", "3", "--jobs", "1"]
    result = subprocess.run([*command, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("9 datapoints made (9 in all) in ")
    assert result.stdout.endswith("use them with DATASET homes DATA.PASSIVE_VERSION mine_v1\n")


# ---- the same options, the same bytes -------------------------------------------------------------------
def test_same_seed_same_bytes(own_data: DatasetPaths, tmp_path: Path) -> None:
    options = ("far", "--num", 8, "--distance", 1, 4, "--moving", "all", "--steps", 6)
    assert active(own_data, *options) == 0
    first = hashes(own_data.active_root)
    assert len(first) == 11
    assert active(own_data, *options, "--overwrite") == 0
    assert hashes(own_data.active_root) == first
    assert active(own_data, *options, "--overwrite", "--seed", 1) == 0
    other = hashes(own_data.active_root)
    assert all(other[name] != first[name] for name in first if "content" in name or "made" in name)


def test_neither_jobs_nor_a_stop_change_the_bytes(
    own_data: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ("--name", "mine_v1", "--kind", "near", "--num", 4)
    assert run(own_data, *whole) == 0
    expected = hashes(own_data.active_root)
    assert run(own_data, *whole, "--jobs", 2, "--overwrite") == 0
    assert hashes(own_data.active_root) == expected

    made = []

    def stop_at_the_third(*arguments: object) -> episode_sets.Outcome:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        return original(*arguments)

    original = episode_sets.make_scene
    monkeypatch.setattr(episode_sets, "make_scene", stop_at_the_third)
    assert run(own_data, *whole, "--overwrite") == 130
    begun = hashes(own_data.active_root)
    assert len([name for name in begun if "content" in name]) == 2
    monkeypatch.undo()
    times = {p: p.stat().st_mtime_ns for p in own_data.active_root.rglob("content/*")}
    assert run(own_data, *whole) == 0
    assert hashes(own_data.active_root) == expected
    assert {p: p.stat().st_mtime_ns for p in times} == times  # what was there is not made again


def test_splits_may_be_added(own_data: DatasetPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert active(own_data, "near", "--num", 4) == 0
    expected = hashes(own_data.active_root)
    shutil.rmtree(own_data.active_root)
    for split in ("train", "test", "val", "all"):
        monkeypatch.setattr(run_dir, "commit_id", lambda split=split: f"commit of {split}")
        if split == "all":
            assert active(own_data, "near", "--num", 4) == 0
            continue
        assert active(own_data, "near", "--num", 4, "--splits", split) == 0
    added = hashes(own_data.active_root)
    del expected["made_with.json"], added["made_with.json"]  # the order of its splits differs
    assert added == expected
    note = json.loads((own_data.active_root / "made_with.json").read_text())
    commits = {split: plan["commit"] for split, plan in note["splits"].items()}
    assert commits == {split: f"commit of {kind}" for split, (kind, _) in episode_sets.ACTIVE_SPLITS.items()}


def test_targets_balance_over_the_scenes_of_a_split(own_data: DatasetPaths) -> None:
    # three scenes of one episode each: every class is a target once
    dataset = DatasetPaths(
        own_data.data_root, own_data.data_root / "ss", "own", "synthetic", active_version="mine_v1"
    )
    shutil.copytree(own_data.metadata_root, dataset.metadata_root)
    (dataset.metadata_root / "splits.json").unlink()
    options = ("near", "--num", 1, "--splits", "train", "--source-nodes", "all")
    assert active(dataset, *options, "--scenes", *SCENES.values()) == 0
    assert sorted(e.labels[0] for e in load_episodes(dataset.active_root, "train")) == [0, 1, 2]


# ---- published data -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "dataset, separator, family, island",
    [("mp3d", "-", "aavidss", True), ("mp3d", "_", "move2hear", False), ("replica", "_", "aavidss", False)],
)
def test_over_published_scenes_and_sounds(
    tmp_path: Path, dataset: str, separator: str, family: str, island: bool
) -> None:
    tree = make_published_tree(tmp_path, dataset, separator, family, island=island, image_size=4)
    paths = dataclasses.replace(tree, active_version="mine_v1", passive_version="points_v1")
    assert active(paths, "near", "--num", 6, "--distance", 0, 1.5, "--moving", "all") == 0
    assert run(paths, "--name", "points_v1", "--kind", "passive", "--num", 12) == 0
    for split, (kind, sounds) in episode_sets.ACTIVE_SPLITS.items():
        scene = published.SCENES[dataset][kind]
        graph = load_graph(paths.metadata(scene))
        (file,) = paths.active(split).glob("content/*")
        assert read_episode_file(file)["episodes"][0]["scene_id"] == published.scene_id(dataset, scene)
        episodes = load_episodes(paths.active_root, split)
        validate_episodes(episodes, ClipLibrary(paths.corpus_root, sounds), {scene: graph})
        for e in episodes:
            start = graph.node_ids[e.start_node(graph)]
            for node in graph.node_ids[e.source_nodes(graph, 20)].ravel():
                assert published.rir_path(paths, scene, 0, start, node, separator).is_file()
    for kind, scene in published.SCENES[dataset].items():
        for point in load_passive(paths.passive_root, kind):
            for source in point.sources:
                pair = (point.azimuth, point.receiver, source)
                assert published.rir_path(paths, scene, *pair, separator).is_file()


# ---- docs/episodes.md -----------------------------------------------------------------------------------
def test_the_examples_of_the_page_are_read(tmp_path: Path) -> None:
    active_tree, passive_tree = map(json.loads, re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert schema.validate_active(active_tree) == [] and schema.validate_passive(passive_tree) == []
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "train.json.gz").write_bytes(gzip.compress(json.dumps(active_tree).encode()))
    (episode,) = load_episodes(tmp_path, "train")
    assert episode.scene == "17DRP5sb8fy" and episode.start_rotation == 90 and episode.labels == (0, 14)
    assert episode.start_position == episode.source_positions[0] and episode.start_seconds == (4, 0)
    # the page's own words: a distractor stands still for a second and then walks a node
    assert [len(path) for path in episode.source_paths] == [1, 3]
    assert np.linalg.norm(np.diff(episode.source_paths[1], axis=0), axis=1).tolist() == [0, 1]
    distances = active_tree["episodes"][0]["all_geodesic_distances"]["agent_to_sources"]
    assert distances == [0, np.linalg.norm(np.subtract(*episode.source_positions))]
    (tmp_path / "train" / "17DRP5sb8fy.pkl").write_bytes(pickle.dumps(passive_tree))
    (point,) = load_passive(tmp_path, "train")
    assert point == ("17DRP5sb8fy", 12, 270, (12, 40)) and point.azimuth == -episode.start_rotation % 360


def test_the_page_tells_every_option_and_its_commands_parse() -> None:
    text = PAGE.read_text()
    commands = re.findall(r"^python scripts/make_episodes\.py (.*)$", text, re.MULTILINE)
    commands += re.findall(r"^ +python scripts/make_episodes\.py (.*)$", script.__doc__ or "", re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        options = script.parse_arguments(command.split())
        script.recipe_of(options)
    assert all(f"`{option}`" in text for option in (f"--{name.replace('_', '-')}" for name in vars(options)))


# ---- in the simulator -----------------------------------------------------------------------------------
def test_moving_sources_are_heard_from_where_they_are(tiny: DatasetPaths, own_data: DatasetPaths) -> None:
    options = ("--num", 6, "--splits", "train", "--distance", 1, 3, "--moving", "target", "--steps", 9)
    assert active(own_data, "near", *options) == 0
    episodes = load_episodes(own_data.active_root, "train")
    graph = load_graph(own_data.metadata("tiny_000"))
    paths = np.array([e.source_nodes(graph, 9)[0] for e in episodes])
    assert all(len(set(path)) > 2 for path in paths.tolist())
    config = small_config(tiny, TASK__EPISODE_STEPS=8)
    simulator = build_simulator(config, episodes, len(episodes), torch.device("cpu"), True, images=False)

    def heard(some: list[Episode], step: int) -> np.ndarray:
        simulator.reset(some)
        for _ in range(step):
            simulator.move(np.full(len(some), HOLD))
        return simulator.waveforms().target_bin.numpy()

    for t in range(9):
        # as if the target had always been at its place of this step, and not as at the first one
        here = [with_target_at(e, e.source_paths[0][t]) for e in episodes]
        first = [with_target_at(e, e.source_paths[0][0]) for e in episodes]
        moved, at_first = heard(episodes, t), heard(first, t)
        assert simulator.target_distance() == pytest.approx(distances(graph, first))
        assert np.array_equal(moved, heard(here, t))
        assert simulator.target_distance() == pytest.approx(distances(graph, here))
        differs = np.abs(moved - at_first).max(axis=(1, 2)) > 1e-4
        assert differs.tolist() == (paths[:, t] != paths[:, 0]).tolist()
    assert np.abs(moved).max(axis=(1, 2)).min() > 1e-3


def with_target_at(episode: Episode, position: Point) -> Episode:
    return dataclasses.replace(episode, source_paths=((position,), *episode.source_paths[1:]))
