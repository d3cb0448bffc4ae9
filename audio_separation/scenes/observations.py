"""The RGB-D cache of a scene: one view per node and rotation (DESIGN section 3)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.layout import write_atomic
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


def _view(cache: dict, node: int, rotation: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
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


def load_observations(path: Path | str, graph: NavGraph) -> Observations:
    """Read the cache of the scene of ``graph``.

    RGBA loses its fourth channel. Depth in metres (SoundSpaces' own caching script stores the raw sensor;
    recognised by values above 1) is clipped to 10 m and divided by it.

    Raises:
        UserError: for an unreadable file, a missing (node, rotation), or views of wrong type or size.
    """
    path = Path(path)
    cache = load_pickle(path)
    if not isinstance(cache, dict):
        raise UserError(f"{path} should hold a dict (node, rotation) -> view, found a {type(cache).__name__}")
    rgb = depth = np.zeros(0)
    for v, node in enumerate(graph.node_ids):
        for k, rotation in enumerate(ROTATIONS_DEG):
            one_rgb, one_depth = _view(cache, int(node), rotation, path)
            if not rgb.size:
                rgb = np.zeros((len(graph), 4, *one_rgb.shape), dtype=np.uint8)
                depth = np.zeros((len(graph), 4, *one_depth.shape), dtype=np.float32)
            if one_rgb.shape != rgb.shape[2:]:
                raise UserError(
                    f"{path}: all views should have one size, found {list(one_rgb.shape[:2])} at node "
                    f"{node}, rotation {rotation} after {list(rgb.shape[2:4])}"
                )
            rgb[v, k], depth[v, k] = one_rgb, one_depth
    if depth.max() > 1.0 + 1e-6:
        depth = np.clip(depth, 0.0, MAX_DEPTH_M) / np.float32(MAX_DEPTH_M)
    return Observations(rgb, depth)


def write_observations(path: Path | str, graph: NavGraph, rgb: np.ndarray, depth: np.ndarray) -> None:
    """Write views in the published format.

    Args:
        path: ``scene_observations/<dataset>/<scene>.pkl``.
        graph: gives the node ids.
        rgb: uint8 [V, 4, H, W, 3].
        depth: float32 [V, 4, H, W, 1], 0 to 1 of 10 m.
    """
    if rgb.dtype != np.uint8 or rgb.shape[:2] != (len(graph), 4) or rgb.shape[-1] != 3:
        raise ValueError(
            f"rgb should be uint8 [{len(graph)}, 4, H, W, 3], found {rgb.dtype} {list(rgb.shape)}"
        )
    if depth.shape != (*rgb.shape[:-1], 1) or depth.min() < 0 or depth.max() > 1:
        raise ValueError(f"depth should be {[*rgb.shape[:-1], 1]} within 0..1, found {list(depth.shape)}")
    cache = {
        (int(node), rotation): {"rgb": rgb[v, k].copy(), "depth": depth[v, k].astype(np.float32)}
        for v, node in enumerate(graph.node_ids)
        for k, rotation in enumerate(ROTATIONS_DEG)
    }
    write_atomic(Path(path), pickle.dumps(cache, protocol=4))
