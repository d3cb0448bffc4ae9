"""Nodes where a source may stand: those for which impulse responses (RIRs) are on disk."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np

from audio_separation.audio.packed_rirs import PackedScene
from audio_separation.errors import UserError
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.layout import DatasetPaths

_WAV = re.compile(r"(\d+)[_-](\d+)\.wav")  # receiver, source; the published archives use both separators


def source_nodes(paths: DatasetPaths, scene: str, graph: NavGraph) -> list[int]:
    """Return the ids of the nodes that can hold a source, in the order of the graph.

    Generated homes say it in ``home.json``. Elsewhere a node can if responses from it lead to every receiver of its
    part of the graph, by the index of the packed file or, for a WAV tree, the names in one azimuth's folder: the
    four azimuths of a pair are rendered together, so the others would list the same a million files later. No
    file is opened: an empty or corrupt one is ``scripts/check_data.py``'s to find.

    Raises:
        UserError: no responses on disk, or none that lead everywhere.
    """
    record = paths.metadata(scene) / "home.json"
    if record.is_file():
        return recorded_sources(record)
    packed, folder = paths.rirs_root / f"{scene}.safetensors", paths.rirs_root / scene
    if packed.is_file():
        receivers, sources = _packed_pairs(packed)
    elif folder.is_dir():
        receivers, sources = _tree_pairs(folder)
    else:
        raise UserError(
            f"scene {scene}: neither {packed} nor the folder {folder} is there to say which nodes have impulse "
            "responses; fetch or make them, or let sources stand at any node with --source-nodes all"
        )
    complete = _complete_sources(graph, receivers, sources)
    if not complete:
        raise UserError(
            f"scene {scene}: no node of {graph.source} has impulse responses to all receivers in "
            f"{packed if packed.is_file() else folder}; scripts/check_data.py lists what is missing"
        )
    return complete


def recorded_sources(record: Path) -> list[int]:
    """Return the source nodes that a ``home.json`` lists.

    Raises:
        UserError: it does not list them.
    """
    try:
        return [int(node) for node in json.loads(record.read_text())["source_nodes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{record} should list "source_nodes": {error}; make the home again') from None


def _packed_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    azimuth, receiver, source = PackedScene(path, None).pairs()
    # a pair counts where all headings have a response
    keys, count = np.unique(receiver << 22 | source, return_counts=True)
    keys = keys[count == len(np.unique(azimuth))]
    return keys >> 22, keys & 0x3FFFFF


def _tree_pairs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    headings = [folder / str(azimuth) for azimuth in ROTATIONS_DEG if (folder / str(azimuth)).is_dir()]
    if not headings:
        raise UserError(f"{folder} has none of the folders 0, 90, 180 and 270 of impulse responses")
    found = filter(None, map(_WAV.fullmatch, os.listdir(headings[0])))
    pairs = np.array([[int(number) for number in match.groups()] for match in found], dtype=np.int64)
    return pairs.reshape(-1, 2)[:, 0], pairs.reshape(-1, 2)[:, 1]


def _complete_sources(graph: NavGraph, receivers: np.ndarray, sources: np.ndarray) -> list[int]:
    """Ids of the nodes with a response to every receiver (of those that occur) that can be walked to."""
    index = np.full(max(graph.node_ids.max(), receivers.max(initial=0), sources.max(initial=0)) + 1, -1)
    index[graph.node_ids] = np.arange(len(graph))
    rows, columns = index[receivers], index[sources]
    known = (rows >= 0) & (columns >= 0)  # responses of points that the graph left out are no fault
    has = np.zeros((len(graph), len(graph)), bool)
    has[rows[known], columns[known]] = True
    heard = has.any(axis=1, keepdims=True)
    # a receiver without any response would rule out every source: it is a fault of its own
    needed = np.isfinite(graph.geodesic) & heard
    return graph.node_ids[has.any(axis=0) & (has | ~needed).all(axis=0)].tolist()
