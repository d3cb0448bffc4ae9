"""Faults of sounds, episodes and datapoints to plant; see check_plants.py."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, Callable

import numpy as np
from check_plants import (
    ACTIVE,
    RATE,
    TEST,
    TRAIN,
    VAL,
    Boom,
    Expected,
    Tree,
    plant,
    replace,
    write_graph,
    write_wav,
)
from published import SCENES, clip_folder

from audio_separation.scenes.unpickle import load_pickle

# ---- sounds --------------------------------------------------------------------------------------------
NOISE = np.random.default_rng(3).integers(-9999, 9999, 21 * RATE).astype(np.int16)


def _clip(tree: Tree, name: str, kind: str, samples: np.ndarray, rate: int = RATE) -> Expected:
    path = clip_folder(tree.paths, "train") / name
    write_wav(path, samples, rate)
    return tree.expect(kind, path.parent, name)


@plant()
def clip_truncated(tree: Tree) -> Expected:
    path = clip_folder(tree.paths, "train") / "music_a.wav"
    write_wav(path, NOISE)
    replace(path, path.read_bytes()[:-7])
    return tree.expect("clip-unreadable", path.parent, path.name)


@plant()
def clip_of_another_rate(tree: Tree) -> Expected:
    return _clip(tree, "music_b.wav", "clip-rate", NOISE[: 20 * 8000], 8000)


@plant()
def clip_stereo(tree: Tree) -> Expected:
    return _clip(tree, "music_c.wav", "clip-channels", np.stack([NOISE, NOISE], axis=1))


@plant()
def clip_of_floats(tree: Tree) -> Expected:
    return _clip(tree, "music_d.wav", "clip-coding", (NOISE / 40000).astype(np.float32))


@plant()
def clip_of_half_a_second(tree: Tree) -> Expected:
    return _clip(tree, "music_e.wav", "clip-short", NOISE[:8000])


@plant()
def clip_of_10_seconds(tree: Tree) -> Expected:
    return _clip(tree, "music_f.wav", "clip-below-20s", NOISE[:160000])


@plant()
def clip_silent(tree: Tree) -> Expected:
    return _clip(tree, "music_g.wav", "clip-silent", 0 * NOISE)


@plant()
def clip_of_an_unknown_class(tree: Tree) -> Expected:
    return _clip(tree, "zebra_0.wav", "clip-class", NOISE[::-1].copy())


@plant()
def clip_in_two_splits(tree: Tree) -> Expected:
    folder = clip_folder(tree.paths, "testUnheard")
    os.link(clip_folder(tree.paths, "train") / "music_train_0000.wav", folder / "music_other.wav")
    return tree.expect("clip-shared", folder, "music_other.wav")


@plant(joint=False)
def no_unheard_split(tree: Tree) -> Expected:
    shutil.rmtree(clip_folder(tree.paths, "valUnheard"))
    return tree.expect("corpus-missing", clip_folder(tree.paths, "valUnheard"))


@plant(joint=False)
def classes_malformed(tree: Tree) -> Expected:
    path = tree.paths.corpus_root / "classes.json"
    replace(path, b'{"classes": "all"}')
    return tree.expect("classes-malformed", path)


@plant(joint=False)
def no_corpus(tree: Tree) -> Expected:
    shutil.rmtree(tree.paths.corpus_root)
    return tree.expect("corpus-missing", tree.paths.corpus_root)


# ---- episodes ------------------------------------------------------------------------------------------
def _change_episodes(tree: Tree, split: str, change: Callable[[list], object]) -> Path:
    path = tree.paths.active(split) / "content" / f"{ACTIVE[split]}.json.gz"
    content = json.loads(gzip.decompress(path.read_bytes()))
    change(content["episodes"])
    replace(path, gzip.compress(json.dumps(content).encode(), mtime=0))
    return path


def _change_episode(
    tree: Tree, split: str, number: int, kind: str, change: Callable[[Any], object]
) -> Expected:
    path = _change_episodes(tree, split, lambda episodes: change(episodes[number]))
    return tree.expect(kind, path, f"episode {number}")


@plant()
def episode_without_a_rotation(tree: Tree) -> Expected:
    return _change_episode(tree, "val_100episodes", 0, "episode-malformed", lambda e: e.pop("start_rotation"))


@plant()
def episode_against_the_schema(tree: Tree) -> Expected:
    # our reader takes the label as it is; the schema wants the target's to be known
    return _change_episode(
        tree, "val_100episodes", 1, "episode-malformed", lambda e: e["info"][0].update(target_label=-1)
    )


@plant()
def episode_of_another_scene(tree: Tree) -> Expected:
    path = _change_episodes(
        tree, "train_731243episodes", lambda e: e[0].update(scene_id="PX4nDJXEHrG/PX4nDJXEHrG.glb")
    )
    return tree.expect("episode-scene", path, "episode 0")


@plant()
def episode_starting_off_the_graph(tree: Tree) -> Expected:
    return _change_episode(
        tree, "val_100episodes", 2, "episode-off-graph", lambda e: e.update(start_position=[99.0, 0.0, 0.0])
    )


@plant()
def episode_with_a_source_off_the_graph(tree: Tree) -> Expected:
    return _change_episode(
        tree,
        "val_100episodes",
        3,
        "episode-off-graph",
        lambda e: e["goals"][1].update(position=[99.0, 0.0, 0.0]),
    )


@plant()
def episode_with_an_absent_clip(tree: Tree) -> Expected:
    return _change_episode(
        tree, "val_100episodes", 4, "episode-sound", lambda e: e["info"][1].update(sound="music_none.wav")
    )


@plant()
def episode_with_a_clip_of_another_split(tree: Tree) -> Expected:
    return _change_episode(
        tree,
        "valUnheard_100episodes",
        1,
        "episode-sound",
        lambda e: e["info"][1].update(sound="music_testUnheard_0000"),
    )


@plant()
def episode_with_another_label(tree: Tree) -> Expected:
    return _change_episode(
        tree, "val_100episodes", 5, "episode-label", lambda e: e["info"][0].update(target_label=77)
    )


@plant()
def episode_with_wrong_distances(tree: Tree) -> Expected:
    wrong = {"agent_to_sources": [0.0, 9.0], "between_sources": [[0.0, 9.0], [9.0, 0.0]]}
    return _change_episode(
        tree,
        "valUnheard_100episodes",
        2,
        "episode-distance",
        lambda e: e.update(all_geodesic_distances=wrong),
    )


@plant()
def episode_id_twice(tree: Tree) -> Expected:
    path = _change_episodes(tree, "test_1000episodes", lambda e: e[5].update(episode_id="4"))
    return tree.expect("episode-twice", path, "episode 4")


@plant()
def episode_id_in_the_index_too(tree: Tree) -> Expected:
    split = "testUnheard_1000episodes"
    path = tree.paths.active(split) / "content" / f"{TEST}.json.gz"
    episodes = json.loads(gzip.decompress(path.read_bytes()))["episodes"]
    index = tree.paths.active(split) / f"{split}.json.gz"
    replace(index, gzip.compress(json.dumps({"episodes": episodes[:1]}).encode()))
    return tree.expect("episode-twice", index, "episode 0")


@plant()
def episode_with_three_sources(tree: Tree) -> Expected:
    def change(episode: Any) -> None:
        episode["info"].append(dict(episode["info"][1]))
        episode["goals"].append(dict(episode["goals"][1]))

    return _change_episode(tree, "test_1000episodes", 0, "episode-sources", change)


@plant()
def episodes_truncated(tree: Tree) -> Expected:
    path = tree.paths.active("val_mine") / "content" / f"{VAL}.json.gz"
    replace(path, gzip.compress(b'{"episodes": []}')[:-9])
    return tree.expect("episodes-unreadable", path)


@plant()
def episodes_in_the_wrong_split(tree: Tree) -> Expected:
    right = tree.paths.active("test_1000episodes") / "content" / f"{TEST}.json.gz"
    wrong = tree.paths.active("train_731243episodes") / "content" / f"{TEST}.json.gz"
    sound = json.loads(gzip.decompress(right.read_bytes()))["episodes"][2]
    replace(wrong, gzip.compress(json.dumps({"episodes": [sound]}).encode()))
    return tree.expect("episode-split", wrong)


@plant()
def episode_without_a_path(tree: Tree) -> Expected:
    """A scene of its own, whose graph is in two parts, with one episode across."""
    own = tree.own_scene("ULsKaCPVFJR")
    path = write_graph(own, "train", (4, 7))
    split = "train_731243episodes"
    content = json.loads(
        gzip.decompress((tree.paths.active(split) / "content" / f"{TRAIN}.json.gz").read_bytes())
    )
    nodes = load_pickle(path).nodes
    episode = content["episodes"][3]
    episode.update(scene_id="ULsKaCPVFJR/ULsKaCPVFJR.glb", start_position=list(nodes[6]["point"]))
    episode["goals"][0]["position"] = list(nodes[0]["point"])
    file = tree.paths.active(split) / "content" / "ULsKaCPVFJR.json.gz"
    replace(file, gzip.compress(json.dumps({"episodes": [episode]}).encode()))
    return tree.expect("episode-no-path", file, "episode 3") | tree.expect("graph-disconnected", path)


@plant(joint=False)
def no_episodes(tree: Tree) -> Expected:
    shutil.rmtree(tree.paths.active_root)
    return tree.expect("active-missing", tree.paths.active_root)


# ---- datapoints ----------------------------------------------------------------------------------------
def _change_points(tree: Tree, split: str, change: Callable[[list], object]) -> Path:
    scene = SCENES["mp3d"][split]
    path = tree.paths.passive(split) / f"{scene}.pkl"
    points = [{**p, "all_s": [int(s) for s in p["all_s"]]} for p in load_pickle(path)[scene]]
    change(points)
    replace(path, pickle.dumps({scene: points}))
    return path


@plant()
def datapoint_off_the_graph(tree: Tree) -> Expected:
    path = _change_points(
        tree, "train", lambda points: (points[3].update(r=1), points[9]["all_s"].__setitem__(1, 99))
    )
    return tree.expect("passive-off-graph", path, "datapoint 3", "datapoint 9")


@plant()
def datapoint_without_a_receiver(tree: Tree) -> Expected:
    return tree.expect(
        "passive-malformed", _change_points(tree, "train", lambda points: points[4].pop("r")), "datapoint 4"
    )


@plant()
def datapoint_of_another_azimuth(tree: Tree) -> Expected:
    path = _change_points(tree, "val", lambda points: points[5].update(azimuth=45))
    return tree.expect("passive-malformed", path, "datapoint 5")


@plant()
def datapoint_with_three_sources(tree: Tree) -> Expected:
    path = _change_points(tree, "val", lambda points: points[6]["all_s"].append(points[6]["all_s"][0]))
    return tree.expect("passive-sources", path, "datapoint 6")


@plant()
def datapoints_in_the_wrong_split(tree: Tree) -> Expected:
    path = tree.paths.passive("train") / f"{TEST}.pkl"
    replace(path, pickle.dumps({TEST: [{"r": 0, "azimuth": 0, "all_s": [2, 3]}]}))
    return tree.expect("passive-split", path)


@plant(own_scene=True)
def datapoints_truncated(tree: Tree) -> Expected:
    path = tree.paths.passive("train") / f"{tree.scene}.pkl"
    replace(path, pickle.dumps({tree.scene: []})[:-3])
    return tree.expect("passive-unreadable", path)


@plant(own_scene=True)
def datapoints_of_another_scene(tree: Tree) -> Expected:
    path = tree.paths.passive("train") / f"{tree.scene}.pkl"
    os.link(tree.paths.passive("train") / f"{TRAIN}.pkl", path)
    return tree.expect("passive-unreadable", path)


@plant(own_scene=True)
def datapoints_hostile(tree: Tree) -> Expected:
    path = tree.paths.passive("train") / f"{tree.scene}.pkl"
    replace(path, pickle.dumps({tree.scene: Boom(tree.root / "boom_passive")}))
    return tree.expect("passive-hostile", path)


@plant(own_scene=True)
def datapoint_without_its_response(tree: Tree) -> Expected:
    path = tree.paths.passive("train") / f"{tree.scene}.pkl"
    points = [{"r": 0, "azimuth": 0, "all_s": [2, 3]}, {"r": 3, "azimuth": 90, "all_s": [2, 4]}]
    replace(path, pickle.dumps({tree.scene: points}))
    replace(tree.rirs / "90" / "3_4.wav", b"")
    return tree.expect("rir-empty", tree.rirs / "90", "3_4.wav") | tree.expect(
        "passive-rir", path, "datapoint 1"
    )


@plant(joint=False)
def no_datapoints(tree: Tree) -> Expected:
    shutil.rmtree(tree.paths.passive_root)
    return tree.expect("passive-missing", tree.paths.passive_root)


# ---- splits --------------------------------------------------------------------------------------------
@plant(joint=False)
def splits_malformed(tree: Tree) -> Expected:
    path = tree.paths.metadata_root / "splits.json"
    replace(path, b'{"train": 3}')
    return tree.expect("splits-malformed", path)


@plant()
def scene_in_two_splits(tree: Tree) -> Expected:
    """A scene that no published split lists, in datapoints of two splits."""
    tree.own_scene("mine")
    for split in ("train", "val"):
        points = [{"r": 0, "azimuth": 0, "all_s": [2, 3]}]
        replace(tree.paths.passive(split) / "mine.pkl", pickle.dumps({"mine": points}))
    return tree.expect("scene-split", tree.paths.passive("train") / "mine.pkl")
