"""The schemas: published files pass, every fault is told in one sentence, and the readers agree."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Callable, Iterator

import jsonschema_rs
import numpy as np
import pytest

from audio_separation.errors import UserError
from audio_separation.scenes import schema
from audio_separation.scenes.episode_format import parse_episode
from audio_separation.scenes.episodes import read_episode_file
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.unpickle import load_pickle

HALF = 0.7071067811865476


def aavidss_episode() -> dict:
    """All keys that the published loader takes (habitat 0.1's episode, and two of AAViDSS)."""
    return {
        "episode_id": "17",
        "scene_id": "sT4fr6TAbpF/sT4fr6TAbpF.glb",
        "start_position": [-3.25, 0.07, 4.5],
        "start_rotation": [0, HALF, 0, -HALF],
        "info": [
            {"sound": "8474_120", "start_idx": 3, "target_label": 0},
            {"sound": "esc_7.wav", "start_idx": 0},
        ],
        "goals": [{"position": [-3.25, 0.07, 4.5], "radius": 1e-05}, {"position": [4, 0.07, 4.5]}],
        "start_room": None,
        "shortest_paths": None,
        "all_geodesic_distances": {"agent_to_source_0": "0.0"},
        "gt_actions": None,
    }


def move2hear_episode() -> dict:
    """Three sources, whole-number coordinates, a scene's path with folders, a room name."""
    return {
        **aavidss_episode(),
        "episode_id": 4,
        "scene_id": "data/scene_dataset/mp3d/x8F5xyUWy9e/x8F5xyUWy9e.glb",
        "info": [{"sound": f"id1039{k}_0", "start_idx": 2.0, "target_label": k} for k in range(3)],
        "goals": [{"position": [k, 0, 1], "radius": None} for k in range(3)],
        "start_room": "kitchen",
        "shortest_paths": [[{"position": [0, 0, 0], "rotation": [0, 0, 0, 1], "action": 1}]],
    }


def one_second_episode() -> dict:
    """Move2Hear's clips last a second: no episode says at which one to begin."""
    tree = move2hear_episode()
    for source in tree["info"]:
        del source["start_idx"]
    tree["info"][0]["geodesic_distance"] = 7.2
    return tree


def moving_episode() -> dict:
    tree = aavidss_episode()
    tree["goals"][1]["position"] = [[4, 0.07, 4.5], [4, 0.07, 3.5]]
    return tree


def points() -> dict:
    return {
        "sT4fr6TAbpF": [{"r": 10, "azimuth": 270, "all_s": [3, 4]}, {"r": 0, "azimuth": 0, "all_s": [0, 9]}]
    }


@pytest.mark.parametrize("name", ["active_episodes", "passive_points"])
def test_schemas_are_sound_and_tell_every_field(name: str) -> None:
    tree = json.loads(schema.schema_path(name).read_text())
    jsonschema_rs.meta.validate(tree)

    def properties(node: Any) -> Iterator[tuple[str, dict]]:
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from properties(value)
        if isinstance(node, dict) and "description" in node:  # an object of the format, not a fragment
            yield from node.get("properties", {}).items()

    found = dict(properties(tree))
    assert len(found) >= (17 if name == "active_episodes" else 3)
    for key, node in found.items():
        assert len(node.get("description", "")) > 15, key
    for text in ("metres", "seconds") if name == "active_episodes" else ("degrees", "rows of"):
        assert text in json.dumps(tree)


@pytest.mark.parametrize("episode", [aavidss_episode, move2hear_episode, one_second_episode, moving_episode])
def test_published_episodes_pass(episode: Callable[[], dict]) -> None:
    assert schema.validate_active({"episodes": [episode()], "anything": 1}) == []
    parse_episode(episode(), Path("x"), 0)


def test_the_index_of_a_split_passes() -> None:
    index = {"episodes": [], "content_scenes_path": "{data_path}/content/{scene}.json.gz"}
    assert schema.validate_active(index) == []


def test_published_points_pass() -> None:
    assert schema.validate_passive(points()) == []
    old = {"a": [{"r": np.int64(3), "azimuth": np.int32(90), "all_s": np.array([1, 2])}] * 2}
    old["a"][1] = {"r": 3, "azimuth": 0, "all_s": (np.int16(1), 2), "rt60": 0.3}
    assert schema.validate_passive(old) == []


def test_all_of_the_tiny_dataset_passes(tiny: DatasetPaths) -> None:
    active = sorted(tiny.active_root.rglob("*.json.gz"))
    passive = sorted(tiny.passive_root.rglob("*.pkl"))
    assert len(active) == 10 and len(passive) == 3
    assert all(schema.validate_active(read_episode_file(path)) == [] for path in active)
    assert all(schema.validate_passive(load_pickle(path)) == [] for path in passive)


# ---- faults ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path, key",
    [
        ((), "episodes"),
        (("episodes", 0), "episode_id"),
        (("episodes", 0), "scene_id"),
        (("episodes", 0), "start_position"),
        (("episodes", 0), "start_rotation"),
        (("episodes", 0), "info"),
        (("episodes", 0), "goals"),
        (("episodes", 0, "info", 0), "sound"),
        (("episodes", 0, "info", 0), "start_idx"),
        (("episodes", 0, "info", 0), "target_label"),
        (("episodes", 0, "info", 1), "sound"),
        (("episodes", 0, "info", 1), "start_idx"),
        (("episodes", 0, "goals", 0), "position"),
        (("episodes", 0, "goals", 1), "position"),
    ],
)
def test_each_required_key_of_an_episode(path: tuple, key: str) -> None:
    tree: Any = {"episodes": [aavidss_episode()]}
    node = tree
    for step in path:
        node = node[step]
    del node[key]
    where = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    assert schema.validate_active(tree) == [f"{where} lacks the key '{key}'"]


@pytest.mark.parametrize("key", ["r", "azimuth", "all_s"])
def test_each_required_key_of_a_point(key: str) -> None:
    tree = points()
    del tree["sT4fr6TAbpF"][1][key]
    assert schema.validate_passive(tree) == [f"$.sT4fr6TAbpF[1] lacks the key '{key}'"]


@pytest.mark.parametrize(
    "break_it, sentence",
    [
        (
            lambda e: e.update(episode_id=None),
            "$.episodes[0].episode_id should be a name or number, unique within its scene, found None",
        ),
        (lambda e: e.update(scene_id=""), "$.episodes[0].scene_id should be the path of a scene's mesh"),
        (
            lambda e: e.update(start_position=[1, 2]),
            "$.episodes[0].start_position should be a position [x, y, z] in metres, found [1, 2]",
        ),
        (
            lambda e: e.update(start_position=[1, "2", 3]),
            "$.episodes[0].start_position[1] should be a finite number, found '2'",
        ),
        (
            lambda e: e.update(start_position=[1, float("nan"), 3]),
            "[1] should be a finite number, found nan",
        ),
        (lambda e: e.update(start_rotation=[0, 0, 1]), "should be a unit quaternion [x, y, z, w] of 0, 90"),
        (
            lambda e: e.update(start_rotation=[0, 0.38268343, 0, 0.92387953]),
            "$.episodes[0].start_rotation: a rotation should be 0, 90, 180 or 270 degrees about +Y",
        ),
        (lambda e: e.update(info={}), "$.episodes[0].info should be a list of what the sources play"),
        (lambda e: e.update(info=[], goals=[]), "$.episodes[0].goals should be a list of where"),
        (
            lambda e: e["goals"].pop(),
            "$.episodes[0] should list as many goals as info entries, one a source, found 1 goals and 2 info",
        ),
        (lambda e: e["info"].append("8474_1"), "$.episodes[0].info[2] should be what a source plays"),
        (
            lambda e: e["info"][1].update(start_idx=-1),
            "$.episodes[0].info[1].start_idx should be a whole number of seconds from 0, found -1",
        ),
        (lambda e: e["info"][0].update(start_idx=1.5), "a whole number of seconds from 0, found 1.5"),
        (lambda e: e["info"][0].update(start_idx=True), "a whole number of seconds from 0, found True"),
        (lambda e: e["info"][0].update(sound=7), "should be the name of a clip, <class>_<id>, found 7"),
        (
            lambda e: e["info"][0].update(target_label=-1),
            "$.episodes[0].info[0].target_label should be the class of the target, a whole number from 0",
        ),
        (lambda e: e["info"][1].update(target_label="esc"), "a class, a whole number from 0 (or -1"),
        (
            lambda e: e["goals"][0].update(position="here"),
            "a position [x, y, z] in metres, or a list of such",
        ),
        (lambda e: e["goals"][0].update(position=[]), "or a list of such, one a step, found []"),
        (
            lambda e: e["goals"][1].update(position=[[1, 2, 3], [1, 2]]),
            "$.episodes[0].goals[1].position[1] should be a position [x, y, z] in metres, found [1, 2]",
        ),
        (
            lambda e: e["goals"][1].update(position=[[1, 2, 3], [1, float("inf"), 2]]),
            "$.episodes[0].goals[1].position[1][1] should be a finite number, found inf",
        ),
    ],
)
def test_faulty_episodes(break_it: Callable[[dict], object], sentence: str) -> None:
    tree = aavidss_episode()
    break_it(tree)
    found = schema.validate_active({"episodes": [tree]})
    assert any(sentence in fault for fault in found), found
    assert all("\n" not in fault and len(fault) < 250 for fault in found)


@pytest.mark.parametrize(
    "break_it, sentence",
    [
        (lambda t: t.clear(), "$ should be an object {scene: [datapoint, ...]}, found {}"),
        (lambda t: t.update(b=[]), "should be an object {scene: [datapoint, ...]}"),
        (lambda t: t.update(sT4fr6TAbpF=[]), "should be a list of datapoints, at least one, found []"),
        (lambda t: t["sT4fr6TAbpF"][0].update(azimuth=45), "should be 0, 90, 180 or 270 degrees, found 45"),
        (lambda t: t["sT4fr6TAbpF"][0].update(r="3"), "$.sT4fr6TAbpF[0].r should be a node, a whole number"),
        (lambda t: t["sT4fr6TAbpF"][0].update(r=True), "$.sT4fr6TAbpF[0].r should be a node, a whole number"),
        (
            lambda t: t["sT4fr6TAbpF"][1].update(all_s=[1]),
            "$.sT4fr6TAbpF[1].all_s should list 2 sources as the datapoints before it do, found 1",
        ),
        (lambda t: t["sT4fr6TAbpF"][1].update(all_s=[1, -2]), "all_s[1] should be a node, a whole number"),
        (lambda t: t["sT4fr6TAbpF"][1].update(all_s=[]), "should be a list of nodes, one a source, found []"),
    ],
)
def test_faulty_points(break_it: Callable[[dict], object], sentence: str) -> None:
    tree = points()
    break_it(tree)
    found = schema.validate_passive(tree)
    assert any(sentence in fault for fault in found), found


@pytest.mark.parametrize("tree", [None, [], "episodes", {"episodes": {}}, {"episodes": [None]}])
def test_other_things_than_episodes(tree: Any) -> None:
    assert len(schema.validate_active(tree)) == 1
    assert len(schema.validate_passive(tree)) >= 1


def test_values_that_json_has_not() -> None:
    assert schema.validate_active({"episodes": {1, 2}}) == [
        "$.episodes should be a list of episodes, found '{1, 2}'"
    ]
    assert schema.validate_passive(
        {"03": [{"r": np.float64(1.5), "azimuth": 0, "all_s": [np.uint8(1)]}]}
    ) == ["$.03[0].r should be a node, a whole number from 0, found 1.5"]
    assert schema.validate_passive({3: []}) == ["$.3 should be a list of datapoints, at least one, found []"]
    deep: list = []
    for _ in range(400):
        deep = [deep]
    for fault in schema.validate_active(
        {"episodes": [], "deep": deep}
    ):  # some versions of the library refuse it
        assert fault.startswith("$ should be an object") and "found what cannot be examined (" in fault


def test_ids_are_unique_within_a_scene() -> None:
    tree = {"episodes": [aavidss_episode(), moving_episode()]}
    (fault,) = schema.validate_active(tree)
    assert (
        fault == "$.episodes[1].episode_id should be unique within its scene, found '17' at $.episodes[0] too"
    )
    tree["episodes"][1]["scene_id"] = "other/other.glb"
    assert schema.validate_active(tree) == []


def test_a_second_is_missing_in_all_sources_or_in_none() -> None:
    tree = one_second_episode()
    tree["info"][2]["start_idx"] = 1
    assert schema.validate_active({"episodes": [tree]}) == [
        "$.episodes[0].info[0] lacks the key 'start_idx'",
        "$.episodes[0].info[1] lacks the key 'start_idx'",
    ]


def test_no_more_faults_than_asked_for() -> None:
    broken = {"episodes": [{} for _ in range(10)]}
    assert len(schema.validate_active(broken)) == schema.MAX_FAULTS == 20
    assert len(schema.validate_active(broken, limit=3)) == 3
    assert len(schema.validate_active(broken, limit=0)) == 60


def test_what_the_reader_refuses_the_schema_refuses() -> None:
    """Every value of an episode, replaced by each of some wrong ones."""
    sound = moving_episode()
    wrong: list[Any] = [None, "x", -3, 1.5, [], {}, [1, 2], [[1, 2]], True]

    def places(node: Any, path: tuple = ()) -> Iterator[tuple]:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*path, key)
            if isinstance(value, (dict, list)):
                yield from places(value, (*path, key))

    refused = 0
    for path in places(sound):
        for value in wrong:
            tree = copy.deepcopy(sound)
            node = tree
            for step in path[:-1]:
                node = node[step]
            node[path[-1]] = value
            try:
                parse_episode(tree, Path("x"), 0)
            except UserError:
                refused += 1
                assert schema.validate_active({"episodes": [tree]}), (path, value)
    assert refused > 100
