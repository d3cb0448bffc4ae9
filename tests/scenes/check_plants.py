"""Faults to plant in a sound tree of published form, each with what the data check should say of it.

A plant is a function of a :class:`Tree` that spoils something and returns what should be found: (kind, place below
the tree's root, item) of each thing. Plants of metadata, responses and views get a scene of their own, a copy of
the training scene that no episode or datapoint uses; the others spoil different entries of the shared files. So all
can be planted in one tree.
The plants themselves are in plants_*.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np
from published import EDGES, NODES, SCENES, _Graph, dumps_2020, point_positions
from scipy.io import wavfile

from audio_separation.scenes.layout import DatasetPaths

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


def write_graph(tree: Tree, split: str, edge: tuple[int, int] = (-1, -1)) -> Path:
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
