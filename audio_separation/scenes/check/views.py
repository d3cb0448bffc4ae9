"""Checks of a scene's cache of RGB-D views."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.observations import parse_view
from audio_separation.scenes.unpickle import RefusedPickle, load_pickle

Key = tuple[int, int]  # node id, rotation


class ViewStats(NamedTuple):
    """What a cache holds.

    Attributes:
        views: number of them.
        pixels: height and width of most; 0, 0 where there is none.
        depth_in_metres: whether depth is raw metres, as SoundSpaces' caching script stores it.
    """

    views: int
    pixels: tuple[int, int]
    depth_in_metres: bool


NOTHING = ViewStats(0, (0, 0), False)


def item(key: Key) -> str:
    """``node 3 rotation 90``."""
    return f"node {key[0]} rotation {key[1]}"


def check_pickle(
    path: Path, graph: Optional[NavGraph], points: int, scene: str, depths: bool = True
) -> tuple[ViewStats, list[Finding]]:
    """Check ``<scene>.pkl``, against the graph where there is one.

    Args:
        path: the cache.
        graph: of the scene; None where it cannot be read.
        points: rows of points.txt; 0 where it cannot be read.
        scene: name.
        depths: whether values of depth are looked at.
    """
    try:
        cache = load_pickle(path)
    except RefusedPickle as error:
        return NOTHING, [Finding("views-hostile", str(path), str(error), scene)]
    except UserError as error:
        return NOTHING, [Finding("views-unreadable", str(path), str(error), scene)]
    if not isinstance(cache, dict):
        what = f"holds a {type(cache).__name__}, expected a dict (node, rotation) -> view"
        return NOTHING, [Finding("views-unreadable", str(path), what, scene)]
    known = [key for key in cache if _is_key(key, points)]
    foreign = sorted(repr(key) for key in cache if not _is_key(key, points))
    findings = of_items("view-foreign", path, "no such node or rotation", foreign, scene)
    if graph is not None:
        wanted = [(int(node), rotation) for node in graph.node_ids for rotation in ROTATIONS_DEG]
        lacking = [item(key) for key in wanted if key not in cache]
        findings += of_items("view-missing", path, "not in the file", lacking, scene)
        unused = [item(key) for key in sorted(known) if key[0] not in graph.index_of]
        findings += of_items("view-unused", path, "not in the graph", unused, scene)
    stats, found = _check_views(cache, sorted(known), path, scene, depths)
    return stats, findings + found


def check_mapped(
    path: Path, graph: Optional[NavGraph], points: int, scene: str, depths: bool = True
) -> tuple[ViewStats, list[Finding]]:
    """Check ``<scene>.safetensors``; arguments as those of :func:`check_pickle`."""
    try:
        mapped = open_mapped(path)
    except UserError as error:
        return NOTHING, [Finding("views-unreadable", str(path), str(error), scene)]
    nodes = mapped.node_ids.tolist()
    foreign = [f"node {node}" for node in nodes if points and not 0 <= node < points]
    findings = of_items("view-foreign", path, "no such node", foreign, scene)
    if graph is not None:
        lacking = [
            item((node, rotation))
            for node in graph.node_ids.tolist()
            if node not in nodes
            for rotation in ROTATIONS_DEG
        ]
        findings += of_items("view-missing", path, "not in the file", lacking, scene)
        if not findings and nodes != graph.node_ids.tolist():
            what = "holds the nodes of another graph, or in another order"
            findings.append(Finding("views-unreadable", str(path), what, scene))
    for v, node in enumerate(nodes if depths else ()):
        low = mapped.depth[v].min(axis=(1, 2, 3))  # [4]
        high = mapped.depth[v].max(axis=(1, 2, 3))
        wrong = [item((node, ROTATIONS_DEG[k])) for k in range(4) if not (low[k] >= 0 and high[k] <= 1)]
        findings += of_items("view-depth", path, "not within 0 to 1", wrong, scene)
    pixels = mapped.rgb.shape[2:4]
    return ViewStats(4 * len(nodes), (pixels[0], pixels[1]), False), findings


def _is_key(key: Any, points: int) -> bool:
    if not (isinstance(key, tuple) and len(key) == 2):
        return False
    node, rotation = key
    whole = isinstance(node, (int, np.integer)) and rotation in ROTATIONS_DEG
    # without points.txt there is no saying which nodes are foreign
    return bool(whole and (not points or 0 <= node < points))


def _check_views(
    cache: dict, keys: list[Key], path: Path, scene: str, depths: bool
) -> tuple[ViewStats, list[Finding]]:
    sizes: dict[Key, tuple[int, int]] = {}
    extremes: dict[Key, tuple[float, float]] = {}
    findings = []
    for key in keys:
        try:
            rgb, depth = parse_view(cache, *key, path)
        except (UserError, TypeError, ValueError, OverflowError) as error:  # numpy's own, of what is no array
            findings.append(Finding("view-malformed", str(path), str(error), scene, (item(key),)))
            continue
        sizes[key] = (rgb.shape[0], rgb.shape[1])
        if depths and depth.size:
            extremes[key] = float(depth.min()), float(depth.max())
    usual = _most(Counter(sizes.values()))
    other = [item(key) for key, size in sizes.items() if size != usual]
    what = f"not {usual[0]} x {usual[1]} as most of the scene"
    findings += of_items("view-size", path, what, other, scene)
    in_metres, found = judge_depth(extremes, path, scene)
    return ViewStats(len(sizes), usual, in_metres), findings + found


def _most(counted: Counter) -> tuple[int, int]:
    return min(counted, key=lambda value: (-counted[value], value)) if counted else (0, 0)


def judge_depth(
    extremes: dict[Key, tuple[float, float]], path: Path, scene: str
) -> tuple[bool, list[Finding]]:
    """Return whether depth is in metres, and the views whose depth cannot be.

    The loader takes a cache for metres as soon as one value exceeds 1, and divides all of it by 10. So where
    most views stay within 1, those that exceed it would spoil all the others.

    Args:
        extremes: least and greatest depth of each view.
        path: the cache.
        scene: name.
    """
    wrong = {
        key for key, (low, high) in extremes.items() if not (np.isfinite([low, high]).all() and low >= 0)
    }
    beyond = {key for key, (_, high) in extremes.items() if key not in wrong and high > 1 + 1e-6}
    in_metres = 2 * len(beyond) > len(extremes) - len(wrong)
    what = "negative or not finite"
    findings = of_items("view-depth", path, what, map(item, sorted(wrong)), scene)
    if not in_metres:
        what = "beyond 1, where most views are within 0 to 1: the whole file would be taken for metres"
        findings += of_items("view-depth", path, what, map(item, sorted(beyond)), scene)
    return in_metres, findings
