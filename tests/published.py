"""A miniature SoundSpaces tree, byte for byte in the forms that SoundSpaces, AAViDSS and Move2Hear publish.

Three scenes with published names (one of train, val and test each) of six nodes, and two points that the graph
lacks, as published graphs do. What differs between published files differs between the scenes: float32 and int16
responses of many lengths, RGBA views, depth with and without a last axis, in 0..1 and in raw metres, pickles of
protocols 3 and 4 with the module paths of 2020. The tree is sound; ``broken=True`` adds the three kinds of
unreadable responses that the published archive holds. It takes about a second to make.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from scipy.io import wavfile
from tiny import BANDS_HZ, band_noise

from audio_separation.scenes.layout import DatasetPaths

SCENES = {  # split -> scene; published names
    "mp3d": {"train": "sT4fr6TAbpF", "val": "x8F5xyUWy9e", "test": "pa4otMbVnkk"},
    "replica": {"train": "apartment_0", "val": "apartment_1", "test": "apartment_2"},
}
RIR_RATE_HZ = {"mp3d": 16000, "replica": 44100}
GRID_M = {"mp3d": 1.0, "replica": 0.5}
MIC_HEIGHT_M = {"mp3d": 1.5, "replica": 1.5528907}
AZIMUTHS = (0, 90, 180, 270)
NODES = (0, 2, 3, 4, 6, 7)  # rows of points.txt that the graph holds; 1 and 5 cannot be reached
# x, z in grid steps of the rows of points.txt       6
#                                                    4   .    - z (rotation 0)
#                                                    7 .      ^
#                                                    0 2 3    +-> x
POINTS_XZ = np.array([[0, 0], [1, -1], [1, 0], [2, 0], [0, -2], [2, -2], [0, -3], [0, -1]], dtype=float)
EDGES = ((0, 2), (0, 7), (2, 3), (4, 6), (4, 7))  # node ids
# a region apart, as most published graphs have some; there are no responses from one region to another
ISLAND = (8, 9)
ISLAND_XZ = np.array([[5, 0], [6, 0]], dtype=float)

# family of episodes, datapoints and sounds -> what its archive calls things
CORPUS = {
    "aavidss": "libriSpeech100Classes_MITMusic_ESC50",
    "move2hear": "VoxCelebV1TenClasses_MITMusic_ESC50",
}
LABELS = {  # class -> its published label; a few of the 102 of AAViDSS and of the 12 of Move2Hear
    "aavidss": {"8474": 0, "4057": 1, "music": 14, "esc": 81},
    "move2hear": {"id10393": 0, "id10583": 1, "music": 10, "esc": 11},
}
SOUND_SPLITS = {"aavidss": ("train", "valUnheard", "testUnheard"), "move2hear": ("train", "val", "test")}
EPISODE_SPLITS = {  # (family, dataset) -> split of the active dataset -> (scene split, number of the sound split)
    ("aavidss", "mp3d"): {
        "train_731243episodes": ("train", 0),
        "val_100episodes": ("val", 0),
        "valUnheard_100episodes": ("val", 1),
        "test_1000episodes": ("test", 0),
        "testUnheard_1000episodes": ("test", 2),
    },
    ("move2hear", "mp3d"): {
        "train_nearTarget_24scenes_112009episodes": ("train", 0),
        "train_farTarget_24scenes_112009episodes": ("train", 0),
        "valUnheard_nearTarget_8scenes_100episodes": ("val", 1),
        "testUnheard_farTarget_15scenes_1000episodes": ("test", 2),
    },
    ("aavidss", "replica"): {  # nobody published any for Replica: the names of our own
        "train": ("train", 0),
        "valHeard": ("val", 0),
        "valUnheard": ("val", 1),
        "testHeard": ("test", 0),
        "testUnheard": ("test", 2),
    },
}
VERSIONS = {"mp3d": ("v1", "v1"), "replica": ("replica_v1", "replica_near_v1")}  # passive, active
EPISODES = 6  # a split
PASSIVE_POINTS = 48  # a scene
BROKEN_PAIR = (NODES[0], NODES[-1])  # receiver, source
BROKEN = {0: "empty", 90: "truncated", 180: "header only"}  # azimuth -> fault of the response of that pair


def rir_path(
    paths: DatasetPaths, scene: str, azimuth: int, receiver: int, source: int, separator: str = "_"
) -> Path:
    """The file of one response."""
    return paths.rirs_root / scene / str(azimuth) / f"{receiver}{separator}{source}.wav"


def broken_rirs(paths: DatasetPaths, separator: str = "_") -> list[Path]:
    """The unreadable files that ``broken=True`` writes, three a scene."""
    scenes = SCENES[paths.dataset].values()
    return [
        rir_path(paths, scene, azimuth, *BROKEN_PAIR, separator) for scene in scenes for azimuth in BROKEN
    ]


def clip_folder(paths: DatasetPaths, split: str, seconds: str = "min20s_clips") -> Path:
    """Folder of a split's clips; Move2Hear has one kind of clips only, right below the corpus."""
    family = "aavidss" if paths.corpus == CORPUS["aavidss"] else "move2hear"
    return (
        paths.corpus_root / seconds if family == "aavidss" else paths.corpus_root
    ) / f"{split}_preprocessed"


# ---- pickles of 2020 -----------------------------------------------------------------------------------
class _Graph:
    """Stands for networkx.Graph 2.4: pickled under that name, with the attributes of that version."""

    def __init__(self, nodes: dict, adj: dict) -> None:
        for kind in ("graph_attr", "node", "node_attr", "adjlist_outer", "adjlist_inner", "edge_attr"):
            setattr(self, f"{kind}_dict_factory", dict)
        self.graph: dict = {}
        self._node, self._adj = nodes, adj
        self.nodes = _NodeView(nodes)


class _NodeView:
    """Stands for networkx's view of the nodes, which version 2.4 pickled where it had been used."""

    def __init__(self, nodes: dict) -> None:
        self._nodes = nodes


_PATHS = {_Graph: "networkx.classes.graph Graph", _NodeView: "networkx.classes.reportviews NodeView"}


class _Pickler2020(pickle._Pickler):
    """Writes classes and functions under the module paths that networkx 2.4 and numpy 1 had."""

    def save_global(self, obj: Any, name: Any = None) -> None:
        module, _, known = _PATHS.get(obj, "").partition(" ") if isinstance(obj, type) else ("", "", "")
        if not known:
            module, known = str(getattr(obj, "__module__", None) or ""), str(name or obj.__qualname__)
            if not module.startswith("numpy._core"):
                super().save_global(obj, name)
                return
            module = module.replace("numpy._core", "numpy.core")
        if self.proto >= 4:
            self.save(module)
            self.save(known)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{known}\n".encode())
        self.memoize(obj)


def dumps_2020(content: object, protocol: int = 3) -> bytes:
    """Pickle as Python 3.6 to 3.8, numpy 1 and networkx 2.4 did.

    Protocol 3 gives the very bytes that Python 3.6.15, numpy 1.19.5 and networkx 2.4 write (graph and views compared).
    """
    stream = io.BytesIO()
    _Pickler2020(stream, protocol).dump(content)
    return stream.getvalue()


# ---- metadata ------------------------------------------------------------------------------------------
def point_positions(dataset: str, split: str, island: bool = False) -> np.ndarray:
    """float64 [P, 3] of the rows of points.txt: Habitat frame (y up), metres, floor level; val is mirrored in x."""
    number = list(SCENES[dataset]).index(split)
    points = np.concatenate([POINTS_XZ, ISLAND_XZ]) if island else POINTS_XZ
    x, z = GRID_M[dataset] * points.T * np.array([[1.0 if number != 1 else -1.0], [1.0]])
    positions = np.stack([x + 0.37 + number, np.full(len(x), 0.071 * number), z - 1.63 * number], axis=1)
    return positions.astype(np.float32).astype(np.float64)  # published points are float32 numbers in decimals


def _write_metadata(paths: DatasetPaths, scene: str, positions: np.ndarray, protocol: int) -> None:
    folder = paths.metadata(scene)
    folder.mkdir(parents=True)
    mic = MIC_HEIGHT_M[paths.dataset]
    rows = [f"{i}\t{x:.7f}\t{-z:.7f}\t{y + mic:.7f}\n" for i, (x, y, z) in enumerate(positions)]
    (folder / "points.txt").write_text("".join(rows))
    table = np.loadtxt(io.StringIO("".join(rows)), delimiter="\t")
    points = list(zip(table[:, 1], table[:, 3] - mic, -table[:, 2]))  # tuples of numpy.float64, as published
    island = len(positions) > len(POINTS_XZ)
    nodes = {node: {"point": points[node]} for node in (*NODES, *(ISLAND if island else ()))}
    adj: dict = {node: {} for node in nodes}
    for a, b in (*EDGES, ISLAND) if island else EDGES:
        adj[a][b] = adj[b][a] = {}
    (folder / "graph.pkl").write_bytes(dumps_2020(_Graph(nodes, adj), protocol))


# ---- responses -----------------------------------------------------------------------------------------
def published_rir(
    positions: np.ndarray, azimuth: int, receiver: int, source: int, rate_hz: int
) -> np.ndarray:
    """float32 [2, L] (left, right): an impulse an ear and a decaying tail; the length differs from pair to pair."""
    rotation = np.deg2rad(-azimuth % 360)
    dx, _, dz = positions[source] - positions[receiver]
    distance = float(np.hypot(dx, dz))
    side = 0.0 if distance == 0 else (dx * np.cos(rotation) - dz * np.sin(rotation)) / distance
    start = round((0.0015 + distance / 343.0) * rate_hz)
    rng = np.random.default_rng([receiver, source, 5])
    tail = round((0.02 + 0.0013 * source + 0.0007 * receiver) * rate_hz)
    ears_apart = round(0.0003 * rate_hz)
    rir = np.zeros((2, start + ears_apart + 1 + tail))
    for ear, sign in enumerate((-1.0, 1.0)):
        at = start - round(ears_apart * sign * side)
        rir[ear, at] = 0.5 / max(distance, 0.5) * (1 + 0.6 * sign * side) * 0.5
        fade = np.exp(-np.arange(tail) / (tail / 5))
        rir[ear, at + 1 : at + 1 + tail] = 0.02 * fade * rng.standard_normal(tail)
    return rir.astype(np.float32)


def _write_rirs(paths: DatasetPaths, scene: str, positions: np.ndarray, separator: str, kind: type) -> None:
    rate_hz = RIR_RATE_HZ[paths.dataset]
    regions = [NODES, ISLAND] if len(positions) > len(POINTS_XZ) else [NODES]
    pairs = [(receiver, source) for region in regions for receiver in region for source in region]
    for azimuth in AZIMUTHS:
        (paths.rirs_root / scene / str(azimuth)).mkdir(parents=True)
        for receiver, source in pairs:
            rir = published_rir(positions, azimuth, receiver, source, rate_hz).T
            samples = np.round(rir * 32768).astype(np.int16) if kind is np.int16 else rir
            file = rir_path(paths, scene, azimuth, receiver, source, separator)
            wavfile.write(file, rate_hz, np.array(samples))


def _break_rirs(paths: DatasetPaths, separator: str) -> None:
    for scene in SCENES[paths.dataset].values():
        for azimuth, fault in BROKEN.items():
            path = rir_path(paths, scene, azimuth, *BROKEN_PAIR, separator)
            data = path.read_bytes()
            begin = data.index(b"data") + 8
            header = data[: begin - 4] + struct.pack("<I", 0)
            path.write_bytes({"empty": b"", "truncated": data[: begin + 400], "header only": header}[fault])


# ---- views ---------------------------------------------------------------------------------------------
def _write_views(paths: DatasetPaths, split: str, nodes: Sequence[int], size: int, protocol: int) -> None:
    # train: depth [H, W, 1] in 0..1; val: raw metres [H, W] as SoundSpaces' script caches them; test: [H, W] in 0..1
    ramp = np.linspace(0.05, 0.9, size, dtype=np.float32)[:, None] * np.ones((1, size), np.float32)
    cache = {}
    for v, node in enumerate(nodes):
        for k, rotation in enumerate((0, 90, 180, 270)):
            rgba = np.zeros((size, size, 4), np.uint8)
            rgba[..., 0], rgba[..., 1], rgba[..., 3] = 30 * v, 60 * k, 255
            rgba[..., 2] = np.arange(size, dtype=np.uint8)[None]
            depth = np.roll(ramp, k + v, axis=0)
            if split == "val":
                depth = depth * np.float32(13.0)
            cache[(node, rotation)] = {"rgb": rgba, "depth": depth[..., None] if split == "train" else depth}
    path = paths.observations(SCENES[paths.dataset][split])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dumps_2020(cache, protocol))


# ---- sounds --------------------------------------------------------------------------------------------
def clip_names(family: str, split: str) -> list[str]:
    """Names of the clips of a split, without ``.wav``: two of a class for training, one else."""
    count = 2 if split == "train" else 1
    return [f"{name}_{split}_{i:04d}" for name in LABELS[family] for i in range(count)]


def _write_corpus(paths: DatasetPaths, family: str, seed: int) -> None:
    bands = dict(zip(LABELS[family], BANDS_HZ.values()))
    for s, split in enumerate(SOUND_SPLITS[family]):
        long, short = clip_folder(paths, split), clip_folder(paths, split, "1s_chunks")
        long.mkdir(parents=True, exist_ok=True)
        short.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(clip_names(family, split)):
            wave = band_noise(bands[name.split("_")[0]], np.random.default_rng([seed, s, i]))
            if family == "move2hear":  # clips of one second, and no others
                wavfile.write(long / f"{name}.wav", 16000, wave[:16000])
                continue
            wave = np.concatenate([wave, wave[: 3000 * (i + 1)]])  # 20 s and a bit
            wavfile.write(long / f"{name}.wav", 16000, wave)
            for second in range(2):
                wavfile.write(short / f"{name}_{second}.wav", 16000, wave[16000 * second :][:16000])


# ---- episodes and datapoints -----------------------------------------------------------------------------
def scene_id(dataset: str, scene: str) -> str:
    """As the episode files spell it: relative to the folder of the meshes."""
    return f"{scene}/{scene}.glb" if dataset == "mp3d" else f"{scene}/habitat/mesh_semantic.ply"


def _episode(family: str, dataset: str, scene: str, i: int, sounds: list[str], points: np.ndarray) -> dict:
    labels = LABELS[family]
    target, distractor = (NODES[0], NODES[-1]) if i == 0 else (NODES[i % 6], NODES[(i + 2) % 6])
    names = [next(n for n in sounds if n.startswith(f"{c}_")) for c in np.roll(list(labels)[:3], -i)[:2]]
    if i % 2:
        names[1] = next(n for n in sounds if n.startswith("esc_"))  # only ever a distractor
    half = np.deg2rad(90 * (i % 4)) / 2
    info = [{"sound": name, "target_label": labels[name.split("_")[0]]} for name in names]
    if family == "aavidss":
        for entry, second in zip(info, (3 * i, 19 - i)):
            entry["start_idx"] = second
    else:  # its code reads no second, as its clips last one, and the label of the target only
        del info[1]["target_label"]
        info[0].update(geodesic_distance=0.0, num_action=0)
    return {
        "episode_id": str(i),
        "scene_id": scene_id(dataset, scene),
        "start_position": points[target].tolist(),  # near target: the agent begins at it
        "start_rotation": [0.0, float(np.sin(half)), 0.0, float(np.cos(half))],
        "info": info,
        "goals": [{"position": points[node].tolist(), "radius": 1e-5} for node in (target, distractor)],
        "start_room": None,
        "shortest_paths": None,
        "all_geodesic_distances": {"agent_source0": 0.0, "agent_source1": 1.0, "source0_source1": 1.0},
        "gt_actions": None,
    }


def write_json_gz(path: Path, tree: object) -> None:
    """As the archives hold them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(tree).encode(), mtime=0))


def _write_episodes(paths: DatasetPaths, family: str) -> None:
    for split, (kind, sounds) in EPISODE_SPLITS[family, paths.dataset].items():
        scene = SCENES[paths.dataset][kind]
        points = point_positions(paths.dataset, kind)
        names = clip_names(family, SOUND_SPLITS[family][sounds])
        episodes = [_episode(family, paths.dataset, scene, i, names, points) for i in range(EPISODES)]
        if "farTarget" in split:  # the agent begins away from the target
            for i, episode in enumerate(episodes):
                episode["start_position"] = points[NODES[(i + 3) % 6]].tolist()
                episode["info"][0]["geodesic_distance"] = 2.0
        write_json_gz(paths.active(split) / f"{split}.json.gz", {"episodes": []})
        write_json_gz(paths.active(split) / "content" / f"{scene}.json.gz", {"episodes": episodes})


def _write_passive(paths: DatasetPaths, seed: int) -> None:
    for s, split in enumerate(("train", "val")):  # the published code has no test of the separators alone
        scene = SCENES[paths.dataset][split]
        rng = np.random.default_rng([seed, 31, s])
        points = []
        for _ in range(PASSIVE_POINTS):
            sources = list(rng.permutation(NODES)[:2])  # numpy.int64, as drawn
            receiver, azimuth = int(rng.choice(NODES)), int(rng.choice(AZIMUTHS))
            points.append({"r": receiver, "azimuth": azimuth, "all_s": sources})
        path = paths.passive(split) / f"{scene}.pkl"
        path.parent.mkdir(parents=True)
        path.write_bytes(dumps_2020({scene: points}))


def _write_mesh(paths: DatasetPaths, scene: str, positions: np.ndarray) -> None:
    import trimesh

    low, high = positions.min(axis=0) - 1.0, positions.max(axis=0) + 1.0
    low[1], high[1] = positions[0, 1], positions[0, 1] + 2.6
    box = trimesh.creation.box(bounds=[low, high])
    box.invert()  # a room: seen from inside
    box.vertices = box.vertices[:, [0, 2, 1]] * [1, -1, 1]  # Habitat -> mesh frame, z up
    file = paths.data_root / "scene_datasets" / paths.dataset / scene_id(paths.dataset, scene)
    file.parent.mkdir(parents=True)
    box.export(str(file))


def make_published_tree(
    root: Path,
    dataset: str = "mp3d",
    separator: str = "_",
    family: str = "aavidss",
    broken: bool = False,
    island: bool = False,
    meshes: bool = False,
    image_size: int = 128,
    seed: int = 0,
) -> DatasetPaths:
    """Write the tree under ``root`` (``data/`` and ``sound_spaces/``) and return its paths.

    Args:
        root: a folder that holds neither of the two.
        dataset: ``mp3d`` (16 kHz, 1 m grid) or ``replica`` (44.1 kHz, 0.5 m).
        separator: between receiver and source in the names of the responses, ``_`` or ``-``.
        family: whose episodes, datapoints and sounds: ``aavidss``, or ``move2hear`` (mp3d only).
        broken: three responses a scene are unreadable (:func:`broken_rirs`); the first episode of every split
            hears one of them first.
        island: two more nodes that cannot be reached from the others, without responses to them.
        meshes: also a box as mesh of each scene, z up, where habitat-sim looks for it (needs trimesh).
        image_size: pixels of a view's side; published 128.
        seed: of sounds and datapoints.
    """
    versions = VERSIONS[dataset]
    paths = DatasetPaths(root / "data", root / "sound_spaces", dataset, CORPUS[family], *versions)
    for s, (split, scene) in enumerate(SCENES[dataset].items()):
        positions = point_positions(dataset, split, island)
        _write_metadata(paths, scene, positions, protocol=3 if s < 2 else 4)
        _write_rirs(paths, scene, positions, separator, np.int16 if split == "val" else np.float32)
        _write_views(paths, split, (*NODES, *(ISLAND if island else ())), image_size, protocol=3 + s % 2)
        if meshes:
            _write_mesh(paths, scene, positions)
    if broken:
        _break_rirs(paths, separator)
    _write_corpus(paths, family, seed)
    _write_episodes(paths, family)
    _write_passive(paths, seed)
    return paths
