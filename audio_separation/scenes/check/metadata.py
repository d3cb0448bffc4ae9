"""Checks of points.txt and graph.pkl."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.graph import NavGraph, load_graph, read_points
from audio_separation.scenes.unpickle import RefusedPickle, load_pickle


def check_metadata(folder: Path, scene: str) -> tuple[Optional[NavGraph], int, list[Finding]]:
    """Return the graph (None where it cannot be read), the rows of points.txt, and what is wrong with them."""
    if not folder.is_dir():
        return None, 0, [Finding("metadata-missing", str(folder), "no such folder", scene)]
    rows, findings = _check_points(folder / "points.txt", scene)
    findings += _check_pickle(folder / "graph.pkl", scene)
    if findings:
        return None, rows, findings
    try:
        graph = load_graph(folder)
    except UserError as error:
        return None, rows, [Finding("graph-mismatch", str(folder / "graph.pkl"), str(error), scene)]
    return graph, rows, check_parts(graph, folder / "graph.pkl", scene)


def _check_points(path: Path, scene: str) -> tuple[int, list[Finding]]:
    if not path.is_file():
        return 0, [Finding("points-missing", str(path), "no such file", scene)]
    try:
        points = read_points(path)
    except UserError as error:
        return 0, [Finding("points-malformed", str(path), str(error), scene)]
    if not np.isfinite(points).all():
        row = int(np.argmin(np.isfinite(points).all(axis=1)))
        return 0, [Finding("points-malformed", str(path), f"row {row} is not finite", scene)]
    return len(points), []


def _check_pickle(path: Path, scene: str) -> list[Finding]:
    if not path.is_file():
        return [Finding("graph-missing", str(path), "no such file", scene)]
    try:
        load_pickle(path)
    except RefusedPickle as error:
        return [Finding("graph-hostile", str(path), str(error), scene)]
    except UserError as error:
        return [Finding("graph-unreadable", str(path), str(error), scene)]
    return []


def check_parts(graph: NavGraph, path: Path, scene: str) -> list[Finding]:
    """Find nodes without a neighbour, and a graph of several parts (those nodes apart)."""
    degree = np.array([len(others) for others in graph.neighbours])
    alone = graph.node_ids[degree == 0]
    findings = of_items("graph-isolated", path, "without a neighbour", [f"node {n}" for n in alone], scene)
    _, part = np.unique(components(graph)[degree > 0], return_counts=True)
    if len(part) > 1:
        sizes = ", ".join(str(size) for size in sorted(part.tolist(), reverse=True))
        findings.append(
            Finding("graph-disconnected", str(path), f"{len(part)} parts of {sizes} nodes", scene)
        )
    return findings


def components(graph: NavGraph) -> np.ndarray:
    """int [V]: the connected part that each node belongs to."""
    rows = np.repeat(np.arange(len(graph)), [len(others) for others in graph.neighbours])
    columns = np.concatenate([*graph.neighbours, np.zeros(0, dtype=int)]).astype(int)
    edges = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(graph), len(graph)))
    return connected_components(edges, directed=False)[1]
