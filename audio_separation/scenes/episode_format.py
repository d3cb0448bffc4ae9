"""The record of one episode and its form in the published JSON (DESIGN section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import DatasetFacts
from audio_separation.scenes.graph import (
    NavGraph,
    quaternion_to_heading,
    quaternion_to_rotation,
    rotation_to_quaternion,
)

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Episode:
    """One episode; source 0 is the target.

    Attributes:
        episode_id: unique within its scene.
        scene: scene name.
        start_position: Habitat frame, metres.
        start_rotation: 0, 90, 180 or 270 degrees; any heading where it was read as continuous.
        sounds: clip name of each source, without ``.wav``.
        start_seconds: second of the clip that plays at step 0, of each source.
        labels: class index of each source; -1 for a distractor of which the file does not tell it.
        source_paths: positions of each source: one, or for a moving source one a step.
    """

    episode_id: str
    scene: str
    start_position: Point
    start_rotation: float
    sounds: tuple[str, ...]
    start_seconds: tuple[int, ...]
    labels: tuple[int, ...]
    source_paths: tuple[tuple[Point, ...], ...]

    @property
    def num_sources(self) -> int:
        return len(self.sounds)

    @property
    def source_positions(self) -> tuple[Point, ...]:
        """Position of each source at step 0."""
        return tuple(path[0] for path in self.source_paths)

    @property
    def moving(self) -> bool:
        return any(len(path) > 1 for path in self.source_paths)

    def start_node(self, graph: NavGraph) -> int:
        """Node index of the start."""
        return graph.nearest(self.start_position)

    def source_nodes(self, graph: NavGraph, steps: int = 1) -> np.ndarray:
        """int [S, steps], node index of each source at each step; a path that ends stays at its end."""
        nodes = np.zeros((self.num_sources, steps), dtype=np.int64)
        for s, path in enumerate(self.source_paths):
            indices = [graph.nearest(point) for point in path[:steps]]
            nodes[s] = indices + indices[-1:] * (steps - len(indices))
        return nodes


def scene_of(scene_id: str) -> str:
    """Scene name of ``<scene>/<scene>.glb`` or ``replica/<scene>/habitat/mesh_semantic.ply``."""
    parts = scene_id.split("/")
    if parts[-1].startswith("mesh_semantic") and len(parts) >= 3:
        return parts[-3]
    return parts[-1].split(".")[0]


def _point(value: Any, name: str) -> Point:
    try:
        x, y, z = (float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} should be a position [x, y, z], found {value!r}") from None
    return x, y, z


def _path(value: Any, name: str) -> tuple[Point, ...]:
    if isinstance(value, list) and value and isinstance(value[0], list):
        return tuple(_point(v, name) for v in value)
    return (_point(value, name),)


def _get(tree: Any, key: str, where: str) -> Any:
    if not isinstance(tree, dict) or key not in tree:
        raise UserError(f"{where} lacks the key '{key}'")
    return tree[key]


def _second(value: Any, where: str) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1e9 or value != int(value):
        raise UserError(f"{where} should be a whole number of seconds from 0, found {value!r}")
    return int(value)


def _label(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"{where} should be a class index, found {value!r}")
    return value


def _start_seconds(info: list, where: str) -> list[int]:
    # Move2Hear's clips last one second, so its episodes tell no second; they tell the distance to the target
    if "geodesic_distance" in info[0] and not any("start_idx" in source for source in info):
        return [0] * len(info)
    return [
        _second(_get(x, "start_idx", f"{where}, info {s},"), f"{where}: start_idx")
        for s, x in enumerate(info)
    ]


def parse_episode(tree: Any, path: Path, number: int, continuous: bool = False) -> Episode:
    where = f"{path}: episode number {number}"
    where = f"{path}: episode '{_get(tree, 'episode_id', where)}'"
    info, goals = _get(tree, "info", where), _get(tree, "goals", where)
    if not isinstance(info, list) or not isinstance(goals, list) or not info or len(info) != len(goals):
        raise UserError(
            f"{where} should list as many 'goals' as 'info' entries, one per source, and at least one"
        )
    sounds = [str(_get(source, "sound", f"{where}, info {s},")) for s, source in enumerate(info)]
    seconds = _start_seconds(info, where)
    # the published files may leave out the label of a distractor: nothing uses it
    _get(info[0], "target_label", f"{where}, info 0,")
    labels = [_label(source.get("target_label", -1), f"{where}: target_label") for source in info]
    try:
        quaternion = _get(tree, "start_rotation", where)
        rotation = quaternion_to_heading(quaternion) if continuous else quaternion_to_rotation(quaternion)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return Episode(
        episode_id=str(tree["episode_id"]),
        scene=scene_of(str(_get(tree, "scene_id", where))),
        start_position=_point(_get(tree, "start_position", where), f"{where}: start_position"),
        start_rotation=rotation,
        sounds=tuple(s[:-4] if s.endswith(".wav") else s for s in sounds),
        start_seconds=tuple(seconds),
        labels=tuple(labels),
        source_paths=tuple(
            _path(_get(goal, "position", f"{where}, goal {s},"), f"{where}: position of goal {s}")
            for s, goal in enumerate(goals)
        ),
    )


def episode_to_json(
    episode: Episode, graph: Optional[NavGraph], mesh: str = DatasetFacts.mesh
) -> dict[str, Any]:
    """The published form; ``mesh`` is the path of a scene's mesh, with ``{scene}`` in it."""
    tree: dict[str, Any] = {
        "episode_id": episode.episode_id,
        "scene_id": mesh.format(scene=episode.scene),
        "start_position": list(episode.start_position),
        "start_rotation": rotation_to_quaternion(episode.start_rotation),
        "info": [
            {"sound": sound, "start_idx": second, "target_label": label}
            for sound, second, label in zip(episode.sounds, episode.start_seconds, episode.labels)
        ],
        "goals": [
            {"position": list(path[0]) if len(path) == 1 else [list(p) for p in path]}
            for path in episode.source_paths
        ],
    }
    if graph is not None:
        sources = episode.source_nodes(graph)[:, 0]
        between = graph.geodesic[np.ix_(sources, sources)]
        tree["all_geodesic_distances"] = {
            "agent_to_sources": [float(d) for d in graph.geodesic[episode.start_node(graph), sources]],
            "between_sources": [[float(d) for d in row] for row in between],
        }
    return tree
