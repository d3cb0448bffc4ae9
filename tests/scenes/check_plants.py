"""Faults to plant in a sound tree of published form, each with what the data check should say of it.

A plant is a function of a :class:`Tree` that spoils something and returns what should be found: (kind, place below
the tree's root, item) of each thing. Plants of metadata, responses and views get a scene of their own, a copy of
the training scene that no episode or datapoint uses; the others spoil different entries of the shared files. So all
can be planted in one tree.
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
from published import AZIMUTHS, EDGES, NODES, SCENES, _Graph, clip_folder, dumps_2020, point_positions
from scipy.io import wavfile

from audio_separation.audio.packed_writer import PackedWriter
from audio_separation.audio.rir_store import WavRirStore
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import load_pickled, mapped_path, write_mapped
from audio_separation.scenes.unpickle import load_pickle

Expected = set[tuple[str, str, str]]
TRAIN, VAL, TEST = (SCENES["mp3d"][split] for split in ("train", "val", "test"))
ACTIVE = {  # split -> scene
    "train_731243episodes": TRAIN,
    "val_100episodes": VAL,
    "valUnheard_100episodes": VAL,
    "test_1000episodes": TEST,
    "testUnheard_1000episodes": TEST,
}
RATE = 16000


class Boom:
    """A pickle of it makes the folder ``path`` when it is loaded by pickle.load."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def replace(path: Path, data: bytes) -> None:
    """Write a file anew: the trees of tests share theirs by hard links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """``samples`` [L, C] in their own type."""
    path.unlink(missing_ok=True)
    wavfile.write(path, rate, samples)


class Tree:
    """A tree that may be spoilt, and the scene that a plant may spoil."""

    def __init__(self, paths: DatasetPaths, root: Path, scene: str = "") -> None:
        self.paths, self.root, self.scene = paths, root, scene

    def at(self, path: Path) -> str:
        """The place as the expectations name it."""
        return str(path.relative_to(self.root))

    def expect(self, kind: str, path: Path, *items: str) -> Expected:
        return {(kind, self.at(path), item) for item in items or ("",)}

    @property
    def metadata(self) -> Path:
        return self.paths.metadata(self.scene)

    @property
    def rirs(self) -> Path:
        return self.paths.rirs_root / self.scene

    @property
    def packed(self) -> Path:
        return self.paths.rirs_root / f"{self.scene}.safetensors"

    @property
    def views(self) -> Path:
        return self.paths.observations(self.scene)

    def own_scene(self, name: str) -> Tree:
        """Add a copy of the training scene under another name."""
        paths = self.paths
        shutil.copytree(paths.metadata(TRAIN), paths.metadata(name), copy_function=os.link)
        shutil.copytree(paths.rirs_root / TRAIN, paths.rirs_root / name, copy_function=os.link)
        os.link(paths.observations(TRAIN), paths.observations(name))
        paths.mesh(name).parent.mkdir(parents=True)
        os.link(paths.mesh(TRAIN), paths.mesh(name))
        return Tree(paths, self.root, name)


class Plant(NamedTuple):
    """A fault; ``own_scene``: in a scene that nothing else uses; ``joint``: together with all others."""

    name: str
    apply: Callable[[Tree], Expected]
    own_scene: bool
    joint: bool


PLANTS: list[Plant] = []


def plant(own_scene: bool = False, joint: bool = True) -> Callable:
    def note(function: Callable[[Tree], Expected]) -> Callable[[Tree], Expected]:
        PLANTS.append(Plant(function.__name__, function, own_scene, joint))
        return function

    return note


# ---- metadata ------------------------------------------------------------------------------------------
@plant(own_scene=True)
def no_metadata(tree: Tree) -> Expected:
    shutil.rmtree(tree.metadata)
    return tree.expect("metadata-missing", tree.metadata)


@plant(own_scene=True)
def no_points(tree: Tree) -> Expected:
    (tree.metadata / "points.txt").unlink()
    return tree.expect("points-missing", tree.metadata / "points.txt")


@plant(own_scene=True)
def points_are_words(tree: Tree) -> Expected:
    replace(tree.metadata / "points.txt", b"not a table\n")
    return tree.expect("points-malformed", tree.metadata / "points.txt")


@plant(own_scene=True)
def points_not_finite(tree: Tree) -> Expected:
    text = (tree.metadata / "points.txt").read_text().splitlines()
    text[1] = "1\tnan\t0\t0"
    replace(tree.metadata / "points.txt", "\n".join(text).encode())
    return tree.expect("points-malformed", tree.metadata / "points.txt")


@plant(own_scene=True)
def no_graph(tree: Tree) -> Expected:
    (tree.metadata / "graph.pkl").unlink()
    return tree.expect("graph-missing", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_truncated(tree: Tree) -> Expected:
    data = (tree.metadata / "graph.pkl").read_bytes()
    replace(tree.metadata / "graph.pkl", data[: len(data) // 2])
    return tree.expect("graph-unreadable", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_hostile(tree: Tree) -> Expected:
    replace(tree.metadata / "graph.pkl", pickle.dumps(Boom(tree.root / "boom_graph")))
    return tree.expect("graph-hostile", tree.metadata / "graph.pkl")


def _write_graph(tree: Tree, split: str, edge: tuple[int, int] = (-1, -1)) -> Path:
    """The graph at the positions of a split's scene, without an edge."""
    points = point_positions("mp3d", split)
    adj: dict = {node: {} for node in NODES}
    for a, b in EDGES:
        if (a, b) != edge:
            adj[a][b] = adj[b][a] = {}
    nodes = {node: {"point": tuple(points[node].tolist())} for node in NODES}
    path = tree.metadata / "graph.pkl"
    replace(path, dumps_2020(_Graph(nodes, adj)))
    return path


@plant(own_scene=True)
def graph_of_another_scene(tree: Tree) -> Expected:
    return tree.expect("graph-mismatch", _write_graph(tree, "val"))


@plant(own_scene=True)
def graph_is_no_graph(tree: Tree) -> Expected:
    replace(tree.metadata / "graph.pkl", pickle.dumps({"nodes": [0, 1]}))
    return tree.expect("graph-mismatch", tree.metadata / "graph.pkl")


@plant(own_scene=True)
def graph_in_two_parts(tree: Tree) -> Expected:
    return tree.expect("graph-disconnected", _write_graph(tree, "train", (4, 7)))


@plant(own_scene=True)
def node_without_neighbour(tree: Tree) -> Expected:
    return tree.expect("graph-isolated", _write_graph(tree, "train", (4, 6)), "node 6")


# ---- responses -----------------------------------------------------------------------------------------
@plant(own_scene=True)
def no_responses(tree: Tree) -> Expected:
    shutil.rmtree(tree.rirs)
    return tree.expect("rirs-absent", tree.rirs)


@plant(own_scene=True)
def some_responses_missing(tree: Tree) -> Expected:
    names = ("0_2.wav", "7_7.wav")
    for name in names:
        (tree.rirs / "90" / name).unlink()
    return tree.expect("rir-missing", tree.rirs / "90", *names)


@plant(own_scene=True)
def all_responses_from_a_node_missing(tree: Tree) -> Expected:
    for path in tree.rirs.glob("*/*_3.wav"):
        path.unlink()
    return {
        found
        for azimuth in AZIMUTHS
        for found in tree.expect("rir-missing", tree.rirs / str(azimuth), *(f"{r}_3.wav" for r in NODES))
    }


@plant(own_scene=True)
def no_folder_of_an_azimuth(tree: Tree) -> Expected:
    shutil.rmtree(tree.rirs / "180")
    return tree.expect("rir-missing", tree.rirs / "180")


def _spoil(tree: Tree, kind: str, change: Callable[[bytes], bytes]) -> Expected:
    path = tree.rirs / "270" / "3_4.wav"
    replace(path, change(path.read_bytes()))
    return tree.expect(kind, path.parent, path.name)


@plant(own_scene=True)
def response_of_0_bytes(tree: Tree) -> Expected:
    return _spoil(tree, "rir-empty", lambda data: b"")


@plant(own_scene=True)
def response_without_a_sample(tree: Tree) -> Expected:
    begin = (tree.rirs / "270" / "3_4.wav").read_bytes().index(b"data")
    return _spoil(tree, "rir-empty", lambda data: data[: begin + 4] + struct.pack("<I", 0))


@plant(own_scene=True)
def response_truncated(tree: Tree) -> Expected:
    return _spoil(tree, "rir-truncated", lambda data: data[:-100])


@plant(own_scene=True)
def response_truncated_in_its_header(tree: Tree) -> Expected:
    return _spoil(tree, "rir-truncated", lambda data: data[:30])


@plant(own_scene=True)
def response_is_a_page_of_html(tree: Tree) -> Expected:
    return _spoil(tree, "rir-not-wav", lambda data: b"<html>404 Not Found</html>")


@plant(own_scene=True)
def response_of_unknown_coding(tree: Tree) -> Expected:
    return _spoil(tree, "rir-corrupt", lambda data: data[:20] + struct.pack("<H", 0x1234) + data[22:])


@plant(own_scene=True)
def response_is_a_broken_link(tree: Tree) -> Expected:
    path = tree.rirs / "0" / "0_0.wav"
    path.unlink()
    path.symlink_to(tree.root / "nowhere.wav")
    return tree.expect("rir-unreadable", path.parent, path.name)


@plant(own_scene=True)
def response_mono(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.ones((800, 1), np.float32))
    return tree.expect("rir-channels", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_of_another_rate(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.ones((800, 2), np.float32), 44100)
    return tree.expect("rir-rate", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_not_finite(tree: Tree) -> Expected:
    samples = np.ones((800, 2), np.float32)
    samples[7, 1] = np.nan
    write_wav(tree.rirs / "0" / "2_3.wav", samples)
    return tree.expect("rir-not-finite", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_silent(tree: Tree) -> Expected:
    write_wav(tree.rirs / "0" / "2_3.wav", np.zeros((800, 2), np.int16))
    return tree.expect("rir-silent", tree.rirs / "0", "2_3.wav")


@plant(own_scene=True)
def response_misnamed(tree: Tree) -> Expected:
    names = ("007_1.wav", "2_3 (copy).wav")
    for name in names:
        replace(tree.rirs / "0" / name, b"")
    return tree.expect("rir-name", tree.rirs / "0", *names)


@plant(own_scene=True)
def response_twice(tree: Tree) -> Expected:
    os.link(tree.rirs / "0" / "2_3.wav", tree.rirs / "0" / "2-3.wav")
    return tree.expect("rir-twice", tree.rirs / "0", "2_3.wav") | tree.expect("rir-separators", tree.rirs)


@plant(own_scene=True)
def both_separators(tree: Tree) -> Expected:
    os.rename(tree.rirs / "0" / "2_3.wav", tree.rirs / "0" / "2-3.wav")
    return tree.expect("rir-separators", tree.rirs)


@plant(own_scene=True)
def response_of_a_node_off_the_graph(tree: Tree) -> Expected:
    for name in ("1_0.wav", "0_99.wav"):
        os.link(tree.rirs / "90" / "0_0.wav", tree.rirs / "90" / name)
    return tree.expect("rir-foreign", tree.rirs / "90", "1_0.wav", "0_99.wav")


@plant(own_scene=True)
def leftovers_among_responses(tree: Tree) -> Expected:
    replace(tree.rirs / "90" / ".0_0.wav.Xy12", b"part")
    replace(tree.rirs / "45" / "0_0.wav", b"")
    return tree.expect("rir-stray", tree.rirs / "90", ".0_0.wav.Xy12") | tree.expect(
        "rir-stray", tree.rirs, "45"
    )


def _pack(tree: Tree, leave_out: str = "", broken: str = "", silent: str = "", rate: int = RATE) -> None:
    """Replace the tree by a packed file; responses are named as ``90/3_4``."""
    store = WavRirStore(tree.paths.rirs_root)
    with PackedWriter(tree.packed, rate, "float16") as writer:
        for azimuth in AZIMUTHS:
            for receiver in NODES:
                for source in NODES:
                    name, pair = f"{azimuth}/{receiver}_{source}", (azimuth, receiver, source)
                    if name == broken:
                        writer.add_broken(pair, "in the tree that was packed, its file is empty")
                    elif name != leave_out:
                        writer.add(pair, store.load(tree.scene, *pair) * np.float32(name != silent))
    shutil.rmtree(tree.rirs)


@plant(own_scene=True)
def packed_beside_the_tree(tree: Tree) -> Expected:
    _pack(tree)
    shutil.copytree(tree.paths.rirs_root / TRAIN, tree.rirs, copy_function=os.link)
    return tree.expect("rirs-both", tree.packed)


@plant(own_scene=True)
def packed_truncated(tree: Tree) -> Expected:
    _pack(tree)
    replace(tree.packed, tree.packed.read_bytes()[:-1000])
    return tree.expect("packed-corrupt", tree.packed)


@plant(own_scene=True)
def packed_index_changed(tree: Tree) -> Expected:
    _pack(tree)
    data = bytearray(tree.packed.read_bytes())
    data[-300] ^= 255
    replace(tree.packed, bytes(data))
    return tree.expect("packed-corrupt", tree.packed)


@plant(own_scene=True)
def packed_sample_changed(tree: Tree) -> Expected:
    _pack(tree)
    data = bytearray(tree.packed.read_bytes())
    (room,) = struct.unpack("<Q", data[:8])
    data[8 + room + 10] ^= 255  # of the first response
    replace(tree.packed, bytes(data))
    return tree.expect("packed-samples", tree.packed, "0/0_0")


@plant(own_scene=True)
def packed_at_another_rate(tree: Tree) -> Expected:
    _pack(tree, rate=44100)
    return tree.expect("packed-rate", tree.packed)


@plant(own_scene=True)
def packed_without_a_response(tree: Tree) -> Expected:
    _pack(tree, leave_out="90/3_4")
    return tree.expect("packed-missing", tree.packed, "90/3_4")


@plant(own_scene=True)
def packed_with_a_broken_response(tree: Tree) -> Expected:
    _pack(tree, broken="90/3_4")
    return tree.expect("packed-broken", tree.packed, "90/3_4")


@plant(own_scene=True)
def packed_with_a_silent_response(tree: Tree) -> Expected:
    _pack(tree, silent="90/3_4")
    return tree.expect("rir-silent", tree.packed, "90/3_4")


# ---- views ---------------------------------------------------------------------------------------------
def _change_views(tree: Tree, change: Callable[[dict], None]) -> None:
    cache = {
        key: {name: np.array(view[name]) for name in view} for key, view in load_pickle(tree.views).items()
    }
    change(cache)
    replace(tree.views, pickle.dumps(cache))


@plant(own_scene=True)
def no_views(tree: Tree) -> Expected:
    tree.views.unlink()
    return tree.expect("views-absent", tree.views)


@plant(own_scene=True)
def views_truncated(tree: Tree) -> Expected:
    replace(tree.views, tree.views.read_bytes()[:-500])
    return tree.expect("views-unreadable", tree.views)


@plant(own_scene=True)
def views_are_a_list(tree: Tree) -> Expected:
    replace(tree.views, pickle.dumps([1, 2]))
    return tree.expect("views-unreadable", tree.views)


@plant(own_scene=True)
def views_hostile(tree: Tree) -> Expected:
    replace(tree.views, pickle.dumps({(0, 0): Boom(tree.root / "boom_views")}))
    return tree.expect("views-hostile", tree.views)


@plant(own_scene=True)
def view_missing(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache.pop((3, 90)))
    return tree.expect("view-missing", tree.views, "node 3 rotation 90")


@plant(own_scene=True)
def view_of_floats(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 90].update(rgb=np.zeros((8, 8, 3), np.float32)))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 90")


@plant(own_scene=True)
def view_without_depth(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 180].pop("depth"))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 180")


@plant(own_scene=True)
def view_depth_is_text(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[3, 180].update(depth="far"))
    return tree.expect("view-malformed", tree.views, "node 3 rotation 180")


@plant(own_scene=True)
def view_of_another_size(tree: Tree) -> Expected:
    small = {"rgb": np.zeros((4, 4, 3), np.uint8), "depth": np.zeros((4, 4, 1), np.float32)}
    _change_views(tree, lambda cache: cache.update({(2, 0): small}))
    return tree.expect("view-size", tree.views, "node 2 rotation 0")


@plant(own_scene=True)
def view_depth_not_finite(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[0, 270]["depth"].fill(np.nan))
    return tree.expect("view-depth", tree.views, "node 0 rotation 270")


@plant(own_scene=True)
def view_depth_in_metres_among_others(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache[0, 270]["depth"].fill(3.5))
    return tree.expect("view-depth", tree.views, "node 0 rotation 270")


@plant(own_scene=True)
def view_of_no_node(tree: Tree) -> Expected:
    def change(cache: dict) -> None:
        cache[99, 0], cache[0, 45], cache["a"] = cache[0, 0], cache[0, 0], cache[0, 0]

    _change_views(tree, change)
    return tree.expect("view-foreign", tree.views, "(99, 0)", "(0, 45)", "'a'")


@plant(own_scene=True)
def view_of_a_node_off_the_graph(tree: Tree) -> Expected:
    _change_views(tree, lambda cache: cache.update({(1, 90): cache[0, 90]}))
    return tree.expect("view-unused", tree.views, "node 1 rotation 90")


def _map_views(tree: Tree) -> Path:
    graph = load_graph(tree.metadata)
    path = mapped_path(tree.views)
    write_mapped(path, graph, *load_pickled(tree.views, graph))
    tree.views.unlink()
    return path


@plant(own_scene=True)
def views_in_both_forms(tree: Tree) -> Expected:
    path = _map_views(tree)
    os.link(tree.paths.observations(TRAIN), tree.views)
    return tree.expect("views-both", path)


@plant(own_scene=True)
def mapped_views_truncated(tree: Tree) -> Expected:
    path = _map_views(tree)
    replace(path, path.read_bytes()[:-10])
    return tree.expect("views-unreadable", path)


def _change_mapped(path: Path, begin: Callable[[dict], int], value: bytes) -> None:
    data = bytearray(path.read_bytes())
    (room,) = struct.unpack("<Q", data[:8])
    at = 8 + room + begin(json.loads(data[8 : 8 + room]))
    data[at : at + len(value)] = value
    replace(path, bytes(data))


@plant(own_scene=True)
def mapped_views_of_other_nodes(tree: Tree) -> Expected:
    path = _map_views(tree)
    # the first node, 0, becomes 5, which is in points.txt but not in the graph
    _change_mapped(path, lambda header: header["node"]["data_offsets"][0], struct.pack("<q", 5))
    return tree.expect("view-missing", path, *(f"node 0 rotation {rotation}" for rotation in AZIMUTHS))


@plant(own_scene=True)
def mapped_view_with_depth_beyond_1(tree: Tree) -> Expected:
    path = _map_views(tree)
    _change_mapped(path, lambda header: header["depth"]["data_offsets"][0], struct.pack("<f", 1.5))
    return tree.expect("view-depth", path, "node 0 rotation 0")


@plant(own_scene=True)
def no_mesh(tree: Tree) -> Expected:
    tree.paths.mesh(tree.scene).unlink()
    return tree.expect("mesh-missing", tree.paths.mesh(tree.scene))


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
    path = _write_graph(own, "train", (4, 7))
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
