"""Checks of the location datapoints of one scene in one split."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from audio_separation.audio.packed_rirs import pair_keys
from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.passive import PassivePoints, parse_points
from audio_separation.scenes.unpickle import RefusedPickle, load_pickle


class PassiveFile(NamedTuple):
    """What one ``<split>/<scene>.pkl`` holds.

    Attributes:
        path: of the file.
        split: name of the split's folder.
        scene: scene name.
        points: number of datapoints, malformed ones included.
        by_sources: number of sources -> numbers of the datapoints that have so many (a range where all do).
        rows: int64 [K], number of the datapoint that each of ``keys`` belongs to.
        keys: int64 [K], ``pair_key`` of the responses that the datapoints on the graph need.
    """

    path: str
    split: str
    scene: str
    points: int
    by_sources: dict[int, np.ndarray]
    rows: np.ndarray
    keys: np.ndarray


def check_file(
    path: Path, split: str, scene: str, graph: Optional[NavGraph]
) -> tuple[PassiveFile, list[Finding]]:
    """Read the file; malformed datapoints and, where there is a graph, those off it are found."""
    none = np.zeros(0, np.int64)
    nothing = PassiveFile(str(path), split, scene, 0, {}, none, none)
    try:
        tree = load_pickle(path)
    except RefusedPickle as error:
        return nothing, [Finding("passive-hostile", str(path), str(error), scene)]
    except UserError as error:
        return nothing, [Finding("passive-unreadable", str(path), str(error), scene)]
    points = tree.get(scene) if isinstance(tree, dict) else None
    if not isinstance(points, list) or not points:
        what = f"should hold {{'{scene}': [datapoint, ...]}} with at least one datapoint"
        return nothing, [Finding("passive-unreadable", str(path), what, scene)]
    groups, findings = _parse(points, scene, path)
    by_sources = {parsed.sources.shape[1]: rows for rows, parsed in groups}
    rows, keys = [none], [none]
    for numbers, parsed in groups:
        on_graph = np.ones(len(parsed), bool)
        if graph is not None:
            nodes = np.column_stack([parsed.receiver, parsed.sources])
            on_graph &= np.isin(nodes, graph.node_ids).all(axis=1)
            lost = [f"datapoint {number}" for number in numbers[~on_graph]]
            findings += of_items(
                "passive-off-graph", path, "a node that the graph does not have", lost, scene
            )
        for s in range(parsed.sources.shape[1]):
            rows.append(numbers[on_graph])
            keys.append(pair_keys(parsed.azimuth, parsed.receiver, parsed.sources[:, s])[on_graph])
    read = PassiveFile(
        str(path), split, scene, len(points), by_sources, np.concatenate(rows), np.concatenate(keys)
    )
    return read, findings


def _parse(
    points: list[Any], scene: str, path: Path
) -> tuple[list[tuple[np.ndarray, PassivePoints]], list[Finding]]:
    """Return the datapoints by their number of sources, each group with its numbers, and the malformed ones."""
    try:
        return [(np.arange(len(points)), parse_points({scene: points}, scene, path))], []
    except UserError:
        pass  # one by one, then, to see which
    sound: dict[int, list[int]] = {}
    malformed: dict[int, str] = {}
    for number, point in enumerate(points):
        try:
            one = parse_points({scene: [point]}, scene, path)
            sound.setdefault(one.sources.shape[1], []).append(number)
        except UserError as error:
            malformed[number] = str(error)
    groups = [
        (np.array(numbers), parse_points({scene: [points[n] for n in numbers]}, scene, path))
        for _, numbers in sorted(sound.items())
    ]
    what = next(iter(malformed.values()), "")
    return groups, of_items("passive-malformed", path, what, [f"datapoint {n}" for n in malformed], scene)


def check_responses(file: PassiveFile, usable: np.ndarray) -> list[Finding]:
    """Find the datapoints that need a response which is not among ``usable``, ``pair_key`` of those that load."""
    lost = np.unique(file.rows[~np.isin(file.keys, usable)])
    what = "a response is missing or unreadable"
    return of_items("passive-rir", file.path, what, [f"datapoint {n}" for n in lost], file.scene)
