from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError
from audio_separation.scenes.draw import make_active_episodes
from audio_separation.scenes.episode_format import scene_of
from audio_separation.scenes.episodes import (
    Episode,
    load_episodes,
    save_episodes,
    validate_episodes,
)
from audio_separation.scenes.graph import NavGraph, load_graph
from audio_separation.scenes.layout import DatasetPaths


def published_episode() -> dict:
    """An episode as AAViDSS writes it, with keys that we do not use."""
    return {
        "episode_id": "17",
        "scene_id": "sT4fr6TAbpF/sT4fr6TAbpF.glb",
        "start_position": [1.0, 0.1, -2.0],
        "start_rotation": [0.0, 0.7071067811865475, 0.0, 0.7071067811865476],
        "info": [
            {"sound": "8474_x", "start_idx": 3, "target_label": 0},
            {"sound": "esc_y.wav", "start_idx": 0, "target_label": 81},
        ],
        "goals": [{"position": [1.0, 0.1, -2.0], "radius": 1e-5}, {"position": [4.0, 0.1, -2.0]}],
        "all_geodesic_distances": {"a": "1.0"},
        "start_room": None,
        "shortest_paths": None,
    }


def write_json_gz(path: Path, tree: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(tree).encode()))
    return path


def save_one(tmp_path: Path, episode: dict) -> None:
    write_json_gz(tmp_path / "train" / "train.json.gz", {"episodes": [episode]})


@pytest.fixture
def graph(tiny: DatasetPaths) -> NavGraph:
    return load_graph(tiny.metadata("tiny_000"))


@pytest.fixture
def clips(tiny: DatasetPaths) -> ClipLibrary:
    return ClipLibrary(tiny.corpus_root, "train")


def test_published_episode(tmp_path: Path) -> None:
    save_one(tmp_path, published_episode())
    (episode,) = load_episodes(tmp_path, "train")
    assert episode == Episode(
        episode_id="17",
        scene="sT4fr6TAbpF",
        start_position=(1.0, 0.1, -2.0),
        start_rotation=90,
        sounds=("8474_x", "esc_y"),
        start_seconds=(3, 0),
        labels=(0, 81),
        source_paths=(((1.0, 0.1, -2.0),), ((4.0, 0.1, -2.0),)),
    )
    assert episode.source_positions == ((1.0, 0.1, -2.0), (4.0, 0.1, -2.0))
    assert not episode.moving


def test_label_of_a_distractor_may_be_missing(tmp_path: Path) -> None:
    tree = published_episode()
    del tree["info"][1]["target_label"]
    save_one(tmp_path, tree)
    assert load_episodes(tmp_path, "train")[0].labels == (0, -1)


def test_episodes_in_either_file(tmp_path: Path) -> None:
    one, two = published_episode(), {**published_episode(), "scene_id": "b/b.glb"}
    save_one(tmp_path, one)
    write_json_gz(
        tmp_path / "train" / "content" / "b.json.gz", {"episodes": [two, {**two, "episode_id": "18"}]}
    )
    assert [(e.scene, e.episode_id) for e in load_episodes(tmp_path, "train")] == [
        ("sT4fr6TAbpF", "17"),
        ("b", "17"),
        ("b", "18"),
    ]
    assert [e.scene for e in load_episodes(tmp_path, "train", scenes=["b"])] == ["b", "b"]
    assert [e.scene for e in load_episodes(tmp_path, "train", limit=2)] == ["sT4fr6TAbpF", "b"]
    with pytest.raises(UserError, match=r"holds no episode of scene c"):
        load_episodes(tmp_path, "train", scenes=["b", "c"])
    (tmp_path / "train" / "train.json.gz").unlink()
    assert [e.scene for e in load_episodes(tmp_path, "train")] == ["b", "b"]


@pytest.mark.parametrize(
    "scene_id, scene",
    [
        ("home_000/home_000.glb", "home_000"),
        ("data/scene_dataset/mp3d/x8F5xyUWy9e/x8F5xyUWy9e.glb", "x8F5xyUWy9e"),
        ("replica/room_0/habitat/mesh_semantic.ply", "room_0"),
    ],
)
def test_scene_names(scene_id: str, scene: str) -> None:
    assert scene_of(scene_id) == scene


@pytest.mark.parametrize(
    "key", ["episode_id", "scene_id", "start_position", "start_rotation", "info", "goals"]
)
def test_missing_key_names_episode_and_key(tmp_path: Path, key: str) -> None:
    tree = published_episode()
    del tree[key]
    save_one(tmp_path, tree)
    which = "number 0" if key == "episode_id" else "'17'"
    with pytest.raises(UserError, match=rf"train\.json\.gz: episode {which} lacks the key '{key}'"):
        load_episodes(tmp_path, "train")


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda e: e["info"][1].pop("sound"), r"episode '17', info 1, lacks the key 'sound'"),
        (lambda e: e["info"][0].pop("start_idx"), r"info 0, lacks the key 'start_idx'"),
        (lambda e: e["info"][0].pop("target_label"), r"info 0, lacks the key 'target_label'"),
        (lambda e: e["goals"][1].pop("position"), r"goal 1, lacks the key 'position'"),
        (lambda e: e["goals"].pop(), r"as many 'goals' as 'info'"),
        (lambda e: e.update(info=[], goals=[]), r"at least one"),
        (
            lambda e: e["info"][0].update(start_idx=-1),
            r"start_idx should be a whole number of seconds from 0, found -1",
        ),
        (lambda e: e["info"][0].update(start_idx=1.5), r"start_idx .* found 1\.5"),
        (
            lambda e: e["info"][0].update(target_label="8474"),
            r"target_label should be a class index, found '8474'",
        ),
        (lambda e: e.update(start_position=[1, 2]), r"start_position should be a position"),
        (lambda e: e.update(start_position=[10**400, 0, 0]), r"start_position should be a position"),
        (lambda e: e.update(start_rotation=[0, 10**400, 0, 1]), r"a rotation should be a unit quaternion"),
        (lambda e: e["goals"][0].update(position="here"), r"position of goal 0 should be a position"),
        (
            lambda e: e.update(start_rotation=[0, 0.3826834, 0, 0.9238795]),
            r"episode '17': a rotation should be 0, 90",
        ),
    ],
)
def test_faulty_episode(tmp_path: Path, break_it: Callable[[dict], object], message: str) -> None:
    tree = published_episode()
    break_it(tree)
    save_one(tmp_path, tree)
    with pytest.raises(UserError, match=message) as caught:
        load_episodes(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_truncated_at_any_byte(tmp_path: Path) -> None:
    save_one(tmp_path, published_episode())
    path = tmp_path / "train" / "train.json.gz"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"train\.json\.gz is not a readable \.json\.gz"):
            load_episodes(tmp_path, "train")
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])  # one byte of the middle flipped
    with pytest.raises(UserError, match="not a readable"):
        load_episodes(tmp_path, "train")


def test_not_gzip_and_not_episodes(tmp_path: Path) -> None:
    path = write_json_gz(tmp_path / "train" / "train.json.gz", {"episodes": {}})
    with pytest.raises(UserError, match=r"should hold \{'episodes': \[...\]\}"):
        load_episodes(tmp_path, "train")
    path.write_bytes(b"{}")
    with pytest.raises(UserError, match="not a readable"):
        load_episodes(tmp_path, "train")
    write_json_gz(path, {"episodes": []})
    with pytest.raises(UserError, match="holds no episodes"):
        load_episodes(tmp_path, "train")


def test_missing_split_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'valHeard' not found .* python scripts/generate_homes\.py"):
        load_episodes(tmp_path, "valHeard")


def test_save_and_load_again(tmp_path: Path, graph: NavGraph, clips: ClipLibrary) -> None:
    episodes = make_active_episodes(graph, clips, None, 5, np.random.default_rng(3), "tiny_000")
    path = tuple(tuple(graph.positions[v]) for v in (0, 1, 2))
    moving = dataclasses.replace(
        episodes[0], episode_id="m", source_paths=(path, episodes[0].source_paths[1])
    )
    save_episodes(tmp_path, "train", [*episodes, moving], {"tiny_000": graph})
    assert load_episodes(tmp_path, "train") == [*episodes, moving]
    tree = json.loads(gzip.decompress((tmp_path / "train/content/tiny_000.json.gz").read_bytes()))
    first = tree["episodes"][0]
    assert first["scene_id"] == "tiny_000/tiny_000.glb"
    assert set(first["info"][0]) == {"sound", "start_idx", "target_label"}
    start, sources = (
        graph.nearest(first["start_position"]),
        [graph.nearest(g["position"]) for g in first["goals"]],
    )
    assert first["all_geodesic_distances"]["agent_to_sources"] == graph.geodesic[start, sources].tolist()
    assert first["all_geodesic_distances"]["between_sources"][0][1] == graph.geodesic[sources[0], sources[1]]
    # scene by scene gives the same files, and the same bytes
    before = {p.name: p.read_bytes() for p in (tmp_path / "train").rglob("*.gz")}
    save_episodes(tmp_path, "train", [*episodes, moving], {"tiny_000": graph})
    assert {p.name: p.read_bytes() for p in (tmp_path / "train").rglob("*.gz")} == before


def test_moving_source_stays_at_the_end_of_its_path(graph: NavGraph, clips: ClipLibrary) -> None:
    (episode,) = make_active_episodes(graph, clips, None, 1, np.random.default_rng(0), "tiny_000")
    path = tuple(tuple(graph.positions[v]) for v in (0, 1, 2))
    still = graph.nearest(episode.source_positions[1])
    moving = dataclasses.replace(episode, source_paths=(path, episode.source_paths[1]))
    assert moving.moving
    assert moving.source_nodes(graph, 5).tolist() == [[0, 1, 2, 2, 2], [still] * 5]
    assert moving.source_nodes(graph).tolist() == [[0], [still]]


def test_tiny_episodes_are_valid(tiny: DatasetPaths) -> None:
    for split, sounds, scene in (
        ("train", "train", 0),
        ("valUnheard", "valUnheard", 1),
        ("testHeard", "train", 2),
    ):
        graphs = {f"tiny_00{scene}": load_graph(tiny.metadata(f"tiny_00{scene}"))}
        validate_episodes(
            load_episodes(tiny.active_root, split), ClipLibrary(tiny.corpus_root, sounds), graphs
        )


def test_validation_names_what_is_wrong(graph: NavGraph, clips: ClipLibrary) -> None:
    (good,) = make_active_episodes(graph, clips, None, 1, np.random.default_rng(0), "tiny_000")
    off = (good.source_paths[0], ((50.0, 0.0, 0.0),))
    late = (
        (good.source_positions[0], (50.0, 0.0, 0.0)),
        good.source_paths[1],
    )  # a path that leaves the graph
    cases = [
        (
            {"sounds": ("spk00_none", good.sounds[1])},
            r"episode '0' of scene tiny_000 plays the sound 'spk00_none'",
        ),
        ({"labels": (3, good.labels[1])}, r"labels the sound .* 3, the corpus labels it"),
        ({"start_position": (0.0, 0.0, 9.0)}, r"episode '0' .*position \[0\.0, 0\.0, 9\.0\] is off"),
        ({"source_paths": off}, r"position \[50\.0, 0\.0, 0\.0\] is off"),
        ({"source_paths": late}, r"position \[50\.0, 0\.0, 0\.0\] is off"),
        ({"scene": "tiny_009"}, r"episode '0' of scene tiny_009: no navigation graph"),
    ]
    for changes, message in cases:
        with pytest.raises(UserError, match=message):
            validate_episodes([good, dataclasses.replace(good, **changes)], clips, {"tiny_000": graph})
