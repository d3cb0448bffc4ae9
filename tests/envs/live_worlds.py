"""Small worlds for the tests of live rendering: a generated home without stored data, and a box of a mesh."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import trimesh
from tiny import BANDS_HZ
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.scenes.episodes import Episode, save_episodes
from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.plan import PRESETS
from audio_separation.scenes.generate.scene import FORMAT_VERSION
from audio_separation.scenes.graph import write_metadata
from audio_separation.scenes.layout import DatasetPaths

RAYS = 20
STEPS = 4
BOX = (6.0, 3.0, 4.0)  # x, y, z in metres, the floor at y = 0, x and z from 0
MATERIAL_KEYS = {
    "scattering": [125.0, 0.1, 4000.0, 0.2],
    "transmission": [125.0, 0.0, 4000.0, 0.0],
    "damping": [125.0, 1.0, 4000.0, 1.0],
    "density": 1.2,
    "speed": 343.0,
}


def material(name: str, labels: list[str], absorption: float) -> dict:
    """An entry of a material database."""
    return {
        "name": name,
        "labels": labels,
        "absorption": [125.0, absorption, 4000.0, absorption],
        **MATERIAL_KEYS,
    }


def _paths(root: Path, tiny: DatasetPaths, dataset: str) -> DatasetPaths:
    """A dataset at ``root`` that shares the tiny corpus."""
    audio = root / "data" / "audio_data"
    audio.parent.mkdir(parents=True)
    audio.symlink_to(tiny.data_root / "audio_data", target_is_directory=True)
    return DatasetPaths(root / "data", root / "sound_spaces", dataset)


def episode(number: int, scene: str, start: np.ndarray, rotation: float, *sources: np.ndarray) -> Episode:
    """An episode of two sounds of the tiny corpus; each source is a position [3] or a path [T, 3]."""
    paths = tuple(tuple(tuple(map(float, p)) for p in np.atleast_2d(source)) for source in sources)
    return Episode(
        episode_id=str(number),
        scene=scene,
        start_position=tuple(map(float, start)),
        start_rotation=rotation,
        sounds=("spk00_train0", "esc_train0")[: len(sources)],
        start_seconds=(3, 7)[: len(sources)],
        labels=(list(BANDS_HZ).index("spk00"), -1)[: len(sources)],
        source_paths=paths,
    )


def make_home_world(root: Path, tiny: DatasetPaths, seed: int = 0) -> tuple[DatasetPaths, Home]:
    """One mini home, ``home_000``: points, graph, home.json and episodes; no responses, pictures or mesh file."""
    paths = _paths(root, tiny, "homes")
    home = make_home(seed, PRESETS["mini"])
    folder = paths.metadata("home_000")
    write_metadata(folder, home.positions, home.edges)
    settings = {"preset": "mini", "grid_m": 1.0, "rays": RAYS, "format": FORMAT_VERSION}
    record = {"settings": settings, "seed": seed, "source_nodes": list(range(len(home.positions)))}
    (folder / "home.json").write_text(json.dumps(record))
    p = home.positions
    episodes = [
        episode(0, "home_000", p[0], 0, p[3], p[8]),
        episode(1, "home_000", p[5], 90, p[6] + (0.2, 0, 0.3), p[1]),  # a source between the nodes
        episode(2, "home_000", p[2], 200.5, p[[3, 4, 5]], p[1]),  # any heading, a source that walks
    ]
    save_episodes(paths.active_root, "train", episodes)
    return paths, home


def make_box_world(root: Path, tiny: DatasetPaths) -> DatasetPaths:
    """A dataset of its own, ``boxes``, with one scene: an empty box as .glb with named surfaces, and materials."""
    paths = _paths(root, tiny, "boxes")
    body = trimesh.creation.box(BOX)
    body.invert()
    body.apply_translation(np.array(BOX) / 2)
    kinds = np.where(
        body.face_normals[:, 1] > 0.5, "floor", np.where(body.face_normals[:, 1] < -0.5, "ceiling", "wall")
    )
    scene = trimesh.Scene()
    for kind in ("floor", "ceiling", "wall"):
        part = body.submesh([np.flatnonzero(kinds == kind)], append=True)
        colour = trimesh.visual.material.PBRMaterial(name=kind, baseColorFactor=[0.6, 0.5, 0.4, 1.0])
        part.visual = trimesh.visual.TextureVisuals(material=colour)
        scene.add_geometry(part, geom_name=kind, node_name=kind)
    mesh = paths.mesh("box")
    mesh.parent.mkdir(parents=True)
    mesh.write_bytes(scene.export(file_type="glb"))
    stage = {"up": [0, 1, 0], "front": [0, 0, -1]}
    mesh.with_name("box.stage_config.json").write_text(json.dumps(stage))
    nodes = np.array([[x, 0.0, z] for z in (1.0, 2.0, 3.0) for x in (1.0, 2.0, 3.0, 4.0, 5.0)])
    gaps = np.linalg.norm(nodes[:, None] - nodes[None], axis=-1)
    write_metadata(paths.metadata("box"), nodes, np.argwhere(np.triu(np.isclose(gaps, 1.0))).tolist())
    database = [material("hard", ["wall", "floor"], 0.1), material("soft", ["ceiling"], 0.5)]
    (root / "materials.json").write_text(json.dumps({"materials": database}))
    save_episodes(paths.active_root, "train", [episode(0, "box", nodes[0], 0, nodes[7], nodes[14])])
    return paths


def live_config(paths: DatasetPaths, **changes: object) -> CfgNode:
    """A config of live rendering over a world; a dot in a key of ``changes`` is written as two underscores."""
    values = {
        "DATASET": paths.dataset,
        "DATA.ROOT": paths.data_root,
        "DATA.SOUND_SPACES": paths.sound_spaces_root,
        "SIMULATOR.TYPE": "live",
        "TASK.EPISODE_STEPS": STEPS,
        "LIVE.RAYS": RAYS,
        "LIVE.RAY_DEPTH": 30,
        "LIVE.RESOLUTION": 16,
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return get_config(None, [str(word) for pair in values.items() for word in pair])
