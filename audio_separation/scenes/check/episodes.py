"""Checks of the episodes of one file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items
from audio_separation.scenes.episode_format import Episode, parse_episode
from audio_separation.scenes.episodes import read_episode_file
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.schema import validate_active

DISTANCE_M = 0.05  # a stored distance may differ by so much: text files round
Graphs = Callable[[str], Optional[NavGraph]]  # of a scene name; None where it cannot be read


class Sounds(NamedTuple):
    """The corpus as the episodes of a split see it.

    Attributes:
        split: of the corpus.
        labels: clip name -> label; None for a clip of a class that the corpus does not list.
    """

    split: str
    labels: Mapping[str, Optional[int]]


class EpisodeFile(NamedTuple):
    """What one file of episodes holds.

    Attributes:
        path: of the file.
        split: name of the split's folder.
        episodes: number of them, malformed ones included.
        ids: (scene, episode id) of each well-formed one, in order.
        by_sources: (scene, number of sources) -> ids of the episodes that have so many.
        source_nodes: scene -> node ids of sources -> ids of the episodes with a source there.
    """

    path: str
    split: str
    episodes: int
    ids: list[tuple[str, str]]
    by_sources: dict[tuple[str, int], list[str]]
    source_nodes: dict[str, dict[int, list[str]]]


def item(episode_id: str) -> str:
    """``episode 17``."""
    return f"episode {episode_id}"


def check_file(
    path: Path, split: str, scene: str, graphs: Graphs, sounds: Optional[Sounds]
) -> tuple[EpisodeFile, list[Finding]]:
    """Read a file and check each episode by itself.

    Args:
        path: ``content/<scene>.json.gz``, or the ``<split>.json.gz`` of all scenes.
        split: name of its folder.
        scene: that all its episodes should be of; "" where it may hold any.
        graphs: gives the graph of a scene.
        sounds: the split of the corpus that its episodes play; None where that cannot be read.
    """
    file = EpisodeFile(str(path), split, 0, [], {}, {})
    try:
        trees = read_episode_file(path)["episodes"]
    except UserError as error:
        return file, [Finding("episodes-unreadable", str(path), str(error), scene)]
    found = _Collector(path, scene)
    for number, tree in enumerate(trees):
        episode = _parse(tree, path, number, found)
        if episode is None:
            continue
        if scene and episode.scene != scene:
            found.add("episode-scene", episode, f"of scene {episode.scene}, in the file of {scene}")
        file.ids.append((episode.scene, episode.episode_id))
        file.by_sources.setdefault((episode.scene, episode.num_sources), []).append(episode.episode_id)
        _check_sounds(episode, sounds, found)
        graph = graphs(episode.scene)
        if graph is not None:
            nodes = _check_places(episode, tree, graph, found)
            for node in sorted(nodes):
                by_node = file.source_nodes.setdefault(episode.scene, {})
                by_node.setdefault(node, []).append(episode.episode_id)
    for (name, episode_id), count in Counter(file.ids).items():
        if count > 1:
            found.add_item("episode-twice", name, item(episode_id), "the same id in one file")
    return file._replace(episodes=len(trees)), found.findings()


class _Collector:
    """Joins what is said of many episodes into one finding a kind and scene, with the words of the first."""

    def __init__(self, path: Path, scene: str) -> None:
        self._path, self._scene = path, scene
        self._found: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def add(self, kind: str, episode: Episode, what: str) -> None:
        self.add_item(kind, episode.scene, item(episode.episode_id), what)

    def add_item(self, kind: str, scene: str, name: str, what: str) -> None:
        items = self._found.setdefault((kind, self._scene or scene), (what, []))[1]
        if name not in items[-1:]:  # both sources of an episode, say
            items.append(name)

    def findings(self) -> list[Finding]:
        return [
            finding
            for (kind, scene), (what, items) in sorted(self._found.items())
            for finding in of_items(kind, self._path, what, items, scene)
        ]


def _parse(tree: Any, path: Path, number: int, found: _Collector) -> Optional[Episode]:
    try:
        episode = parse_episode(tree, path, number)
    except UserError as error:
        name = tree.get("episode_id") if isinstance(tree, dict) else None
        found.add_item(
            "episode-malformed", "", f"number {number}" if name is None else item(name), str(error)
        )
        return None
    faults = validate_active({"episodes": [tree]}, limit=1)
    if faults:
        found.add("episode-malformed", episode, faults[0].replace("$.episodes[0]", "the episode"))
    return episode


def _check_sounds(episode: Episode, sounds: Optional[Sounds], found: _Collector) -> None:
    if sounds is None:
        return
    for name, label in zip(episode.sounds, episode.labels):
        if name not in sounds.labels:
            found.add("episode-sound", episode, f"plays {name!r}, which split {sounds.split!r} does not have")
            continue
        known = sounds.labels[name]
        if known is not None and label not in (-1, known):
            found.add("episode-label", episode, f"labels {name!r} {label}, the corpus {known}")


def _check_places(episode: Episode, tree: Any, graph: NavGraph, found: _Collector) -> set[int]:
    """Check start, sources and distances; returns the node ids of the sources."""
    try:
        start = episode.start_node(graph)
        nodes = episode.source_nodes(graph, max(map(len, episode.source_paths)))
    except UserError as error:
        found.add("episode-off-graph", episode, str(error))
        return set()
    first = nodes[:, 0]
    if not np.isfinite(graph.geodesic[start, first[0]]):
        found.add("episode-no-path", episode, "there is no path from the start to the target")
    what = _wrong_distance(tree.get("all_geodesic_distances"), graph.geodesic, start, first)
    if what:
        found.add("episode-distance", episode, what)
    return {int(node) for node in graph.node_ids[np.unique(nodes)]}


def _wrong_distance(stored: Any, geodesic: np.ndarray, start: int, sources: np.ndarray) -> str:
    """Compare distances stored as this project does; the published files' keys have no documented meaning."""
    if not isinstance(stored, dict) or not {"agent_to_sources", "between_sources"} <= stored.keys():
        return ""
    true = {
        "agent_to_sources": geodesic[start, sources],
        "between_sources": geodesic[np.ix_(sources, sources)],
    }
    for key, expected in true.items():
        try:
            found = np.asarray(stored[key], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            return f"{key} should be numbers"
        if found.shape != expected.shape:
            return f"{key} should have shape {expected.shape}, found {found.shape}"
        apart = np.nan_to_num(np.abs(found - expected), nan=np.inf)
        apart[found == expected] = 0  # inf where there is no path
        if apart.max() > DISTANCE_M:
            at = np.unravel_index(np.argmax(apart), apart.shape)
            return f"{key} says {found[at]:.2f} m, the graph {expected[at]:.2f} m"
    return ""


def check_sources(file: EpisodeFile, sources: Mapping[str, np.ndarray]) -> list[Finding]:
    """Find the episodes with a source at a node from which no response leads anywhere.

    Args:
        file: of episodes.
        sources: scene -> node ids from which there are usable responses.
    """
    findings = []
    for scene, by_node in sorted(file.source_nodes.items()):
        if scene not in sources:
            continue
        usable = set(sources[scene].tolist())
        silent = [node for node in sorted(by_node) if node not in usable]
        ids = dict.fromkeys(name for node in silent for name in by_node[node])
        what = f"no response from node {', '.join(map(str, silent[:5]))}"
        findings += of_items("episode-rir", file.path, what, map(item, ids), scene)
    return findings
