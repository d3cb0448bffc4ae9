"""What the tests of scripts/cache_observations.py share: the script, and rooms whose views it caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from script_module import load_script

from audio_separation.envs import observation_cache
from audio_separation.scenes.graph import write_metadata
from audio_separation.scenes.layout import DatasetPaths

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "cache_observations.py"
NODES = np.array([[1.0, 0, 1], [2, 0, 1], [3, 0, 1], [3, 0, 2]])
PIXELS = 24


script = load_script("cache_observations")


def add_scene(paths: DatasetPaths, scene: str, nodes: np.ndarray = NODES, width: float = 4.0) -> None:
    """A room of 4 m x 2.5 m x 3 m with a tilted table, its mesh z up as Matterport3D's are."""
    write_metadata(paths.metadata(scene), nodes, [(k, k + 1) for k in range(len(nodes) - 1)])
    room = trimesh.creation.box(bounds=[[0, -3, 0], [width, 0, 2.5]])
    table = trimesh.creation.box(bounds=[[2.2, -2.6, 0.6], [2.9, -1.8, 0.8]])
    table.apply_transform(trimesh.transformations.rotation_matrix(0.2, [1, 1, 0], table.centroid))
    paths.mesh(scene).parent.mkdir(parents=True, exist_ok=True)
    trimesh.Scene([room, table]).export(paths.mesh(scene))


def arguments(paths: DatasetPaths, *further: str) -> list[str]:
    folders = ["--data", str(paths.data_root), "--sound-spaces", str(paths.sound_spaces_root)]
    return ["--dataset", paths.dataset, *folders, "--resolution", str(PIXELS), "--jobs", "1", *further]


def run(paths: DatasetPaths, *further: str) -> int:
    observation_cache.opened.cache_clear()
    return script.main(arguments(paths, *further))


def folder(paths: DatasetPaths) -> Path:
    return paths.observations("a").parent


def files(paths: DatasetPaths) -> dict[str, bytes]:
    return {
        p.relative_to(folder(paths)).as_posix(): p.read_bytes()
        for p in folder(paths).rglob("*")
        if p.is_file()
    }
