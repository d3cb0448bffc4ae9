"""The RGB-D cache of a scene: one view per node and rotation (DESIGN section 3).

It comes in two forms that hold the same arrays: SoundSpaces' pickle ``<scene>.pkl``, all of which is read, and
the memory-mapped ``<scene>.safetensors`` (:mod:`audio_separation.scenes.mapped_observations`), which is taken
where both are there.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.layout import write_atomic
from audio_separation.scenes.mapped_observations import SUFFIX, check_views, open_mapped, write_mapped_views
from audio_separation.scenes.unpickle import load_pickle

MAX_DEPTH_M = 10.0  # depth is clipped there and divided by it


class Observations(NamedTuple):
    """Views of a scene by node index and rotation index (90 degrees each).

    Attributes:
        rgb: uint8 [V, 4, H, W, 3].
        depth: float32 [V, 4, H, W, 1], 0 to 1 of 10 m.
    """

    rgb: np.ndarray
    depth: np.ndarray


def parse_view(cache: dict, node: int, rotation: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return rgb uint8 [H, W, 3] and depth float32 [H, W, 1], as stored, of one view of a pickle's dict.

    Raises:
        UserError: there is none, or of wrong type or shape.
    """
    view: Any = cache.get((node, rotation))
    if not isinstance(view, dict):
        raise UserError(
            f"{path} has no view for node {node}, rotation {rotation}; cache the observations again"
        )
    if not {"rgb", "depth"} <= view.keys():
        raise UserError(f"{path}: the view of node {node}, rotation {rotation} should hold 'rgb' and 'depth'")
    rgb, depth = np.asarray(view["rgb"]), np.asarray(view["depth"], dtype=np.float32)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] not in (3, 4):
        raise UserError(
            f"{path}: rgb of node {node}, rotation {rotation} should be uint8 [H, W, 3 or 4], "
            f"found {rgb.dtype} {list(rgb.shape)}"
        )
    if depth.shape not in (rgb.shape[:2], (*rgb.shape[:2], 1)):
        raise UserError(
            f"{path}: depth of node {node}, rotation {rotation} should be [H, W] or [H, W, 1] with "
            f"H, W = {list(rgb.shape[:2])}, found {list(depth.shape)}"
        )
    return rgb[:, :, :3], depth.reshape(*rgb.shape[:2], 1)


def mapped_path(path: Path | str) -> Path:
    """Where the memory-mapped form of the cache ``<scene>.pkl`` lies."""
    return Path(path).with_suffix(SUFFIX)


def find_observations(path: Path | str) -> Optional[Path]:
    """The file that :func:`load_observations` reads: the mapped form of ``<scene>.pkl``, the pickle, or None."""
    return next((p for p in (mapped_path(path), Path(path)) if p.is_file()), None)


def load_observations(path: Path | str, graph: NavGraph) -> Observations:
    """Open the cache of the scene of ``graph``: the mapped form where it is there, else the pickle.

    Args:
        path: the pickle, ``scene_observations/<dataset>/<scene>.pkl``; the mapped form lies beside it.

    Raises:
        UserError: for an unreadable file, a missing (node, rotation), or views of wrong type or size.
    """
    found = find_observations(path)
    if found is None:
        raise UserError(
            f"no RGB-D cache at {path}, nor {mapped_path(path).name} beside it; make one with "
            "scripts/cache_observations.py"
        )
    return _load_mapped(found, graph) if found.suffix == SUFFIX else load_pickled(found, graph)


def _load_mapped(path: Path, graph: NavGraph) -> Observations:
    mapped = open_mapped(path)
    if not np.array_equal(mapped.node_ids, graph.node_ids):
        lost = sorted(set(graph.node_ids.tolist()) - set(mapped.node_ids.tolist()))
        what = (
            f"has no view for node {lost[0]}"
            if lost
            else "holds the nodes of another graph, or in another order"
        )
        raise UserError(
            f"{path} {what}; cache the observations again (scripts/cache_observations.py --overwrite)"
        )
    return Observations(mapped.rgb, mapped.depth)


def load_pickled(path: Path | str, graph: NavGraph) -> Observations:
    """Read the pickle.

    RGBA loses its fourth channel. Depth in metres (SoundSpaces' own caching script stores the raw sensor;
    recognised by values above 1) is clipped to 10 m and divided by it.

    Raises:
        UserError: as :func:`load_observations`.
    """
    path = Path(path)
    cache = load_pickle(path)
    if not isinstance(cache, dict):
        raise UserError(f"{path} should hold a dict (node, rotation) -> view, found a {type(cache).__name__}")
    rgb = depth = np.zeros(0)
    for v, node in enumerate(graph.node_ids):
        for k, rotation in enumerate(ROTATIONS_DEG):
            one_rgb, one_depth = parse_view(cache, int(node), rotation, path)
            if not rgb.size:
                rgb = np.zeros((len(graph), 4, *one_rgb.shape), dtype=np.uint8)
                depth = np.zeros((len(graph), 4, *one_depth.shape), dtype=np.float32)
            if one_rgb.shape != rgb.shape[2:]:
                raise UserError(
                    f"{path}: all views should have one size, found {list(one_rgb.shape[:2])} at node "
                    f"{node}, rotation {rotation} after {list(rgb.shape[2:4])}"
                )
            rgb[v, k], depth[v, k] = one_rgb, one_depth
    if np.isnan(depth.max()):
        raise UserError(f"{path} has depths that are not numbers; cache the observations again")
    if depth.max() > 1.0 + 1e-6:
        depth /= np.float32(MAX_DEPTH_M)
    return Observations(rgb, np.clip(depth, 0.0, 1.0, out=depth))


def write_observations(path: Path | str, graph: NavGraph, rgb: np.ndarray, depth: np.ndarray) -> None:
    """Write views in the published format.

    Args:
        path: ``scene_observations/<dataset>/<scene>.pkl``.
        graph: gives the node ids.
        rgb: uint8 [V, 4, H, W, 3].
        depth: float32 [V, 4, H, W, 1], 0 to 1 of 10 m.
    """
    _check_scene(graph, rgb, depth)
    cache = {
        (int(node), rotation): {"rgb": rgb[v, k].copy(), "depth": depth[v, k].astype(np.float32)}
        for v, node in enumerate(graph.node_ids)
        for k, rotation in enumerate(ROTATIONS_DEG)
    }
    write_atomic(Path(path), pickle.dumps(cache, protocol=4))


def write_mapped(
    path: Path | str,
    graph: NavGraph,
    rgb: np.ndarray,
    depth: np.ndarray,
    metadata: Optional[Mapping[str, str]] = None,
) -> None:
    """Write views in the memory-mapped form; arguments as those of :func:`write_observations`.

    Args:
        path: ``scene_observations/<dataset>/<scene>.safetensors``.
        metadata: what is known of the views, such as ``renderer``.
    """
    _check_scene(graph, rgb, depth)
    write_mapped_views(Path(path), graph.node_ids, rgb, depth, metadata)


def _check_scene(graph: NavGraph, rgb: np.ndarray, depth: np.ndarray) -> None:
    check_views(rgb, depth, (len(graph), len(ROTATIONS_DEG), *rgb.shape[2:4], 3))
