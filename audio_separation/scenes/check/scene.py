"""One scene: all of its files but the samples of its responses, in one task."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, NamedTuple, Optional

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.check import episodes, passive, rir_packed, rir_tree, views
from audio_separation.scenes.check.episodes import EpisodeFile, Sounds
from audio_separation.scenes.check.findings import Finding
from audio_separation.scenes.check.metadata import check_metadata
from audio_separation.scenes.check.passive import PassiveFile
from audio_separation.scenes.check.rir_packed import PackedIndex
from audio_separation.scenes.check.rir_tree import Listing
from audio_separation.scenes.check.views import ViewStats
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.observations import mapped_path
from audio_separation.scenes.source_nodes import recorded_sources


class SceneTask(NamedTuple):
    """What checking a scene needs to know.

    Attributes:
        paths: of the dataset.
        scene: name.
        passive_splits: folders of the passive dataset.
        passive_split: the one of them that must have the scene, as its splits.json lists it; "" for none.
        sounds: split folder of the active dataset -> what its episodes may play.
        quick: do not look at values of depth.
    """

    paths: DatasetPaths
    scene: str
    passive_splits: tuple[str, ...]
    passive_split: str
    sounds: Mapping[str, Optional[Sounds]]
    quick: bool


@dataclass
class SceneScan:
    """What a scene holds, and what was found so far.

    Attributes:
        scene: name.
        nodes: of the graph.
        edges: of the graph.
        listings: names of the WAV tree, an azimuth each; None where there is no tree.
        packed: index of the packed file; None where there is none that can be opened.
        views: what the cache holds.
        passive: a file a split.
        episodes: a file a split.
        sizes: part -> bytes, those of the WAV tree apart.
        findings: of all parts.
    """

    scene: str
    nodes: int = 0
    edges: int = 0
    listings: Optional[list[Listing]] = None
    packed: Optional[PackedIndex] = None
    views: ViewStats = views.NOTHING
    passive: list[PassiveFile] = field(default_factory=list)
    episodes: list[EpisodeFile] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def scan_scene(task: SceneTask) -> SceneScan:
    """Check metadata, names of the responses, views, datapoints and episodes of a scene."""
    paths, scene = task.paths, task.scene
    scan = SceneScan(scene)
    folder = paths.metadata(scene)
    graph, points, scan.findings = check_metadata(folder, scene)
    if graph is not None:
        scan.nodes = len(graph)
        scan.edges = sum(len(others) for others in graph.neighbours) // 2
    scan.sizes["metadata"] = sum(size_of(folder / name) for name in ("points.txt", "graph.pkl"))
    _scan_responses(scan, paths, graph)
    _scan_views(scan, task, graph, points)
    for split in task.passive_splits:
        path = paths.passive(split) / f"{scene}.pkl"
        if path.is_file():
            file, found = passive.check_file(path, split, scene, graph)
            scan.passive.append(file)
            scan.findings += found
            scan.sizes["passive"] = scan.sizes.get("passive", 0) + size_of(path)
        elif split == task.passive_split:
            what = "no such file, though splits.json lists the scene"
            scan.findings.append(Finding("passive-missing", str(path), what, scene))
    for split, sounds in task.sounds.items():
        path = paths.active(split) / "content" / f"{scene}.json.gz"
        if path.is_file():
            graphs = {scene: graph}.get
            episode_file, found = episodes.check_file(path, split, scene, graphs, sounds)
            scan.episodes.append(episode_file)
            scan.findings += found
            scan.sizes["episodes"] = scan.sizes.get("episodes", 0) + size_of(path)
    mesh = paths.mesh(scene)
    scan.sizes["mesh"] = size_of(mesh)
    if not mesh.is_file():
        scan.findings.append(Finding("mesh-missing", str(mesh), "no such file", scene))
    return scan


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _scan_responses(scan: SceneScan, paths: DatasetPaths, graph: Optional[NavGraph]) -> None:
    scene = scan.scene
    folder, packed = paths.rirs_root / scene, paths.rirs_root / f"{scene}.safetensors"
    if not folder.is_dir() and not packed.is_file():
        scan.findings.append(Finding("rirs-absent", str(folder), "no such folder, and no packed file", scene))
        return
    promised = _promised_sources(scan, paths, graph)
    if folder.is_dir():
        scan.listings, found = rir_tree.list_tree(folder, scene)
        scan.findings += found
        if graph is not None:
            scan.findings += rir_tree.check_pairs(scan.listings, folder, graph, promised, scene)
    if packed.is_file():
        scan.sizes["packed"] = size_of(packed)
        scan.packed, found = rir_packed.read_index(packed, scene)
        scan.findings += found
        if graph is not None and scan.packed is not None:
            scan.findings += rir_packed.check_pairs(packed, scan.packed, graph, promised, scene)
    if folder.is_dir() and packed.is_file():
        scan.findings.append(Finding("rirs-both", str(packed), f"beside the folder {folder}", scene))


def _promised_sources(
    scan: SceneScan, paths: DatasetPaths, graph: Optional[NavGraph]
) -> Optional[np.ndarray]:
    """Node ids from which there should be responses: all of published scenes, those that a home's record lists."""
    if paths.facts.splits and graph is not None:
        return graph.node_ids
    record = paths.metadata(scan.scene) / "home.json"
    if not record.is_file():
        return None
    try:
        return np.array(recorded_sources(record), np.int64)
    except UserError as error:
        scan.findings.append(Finding("home-malformed", str(record), str(error), scan.scene))
        return None


def _scan_views(scan: SceneScan, task: SceneTask, graph: Optional[NavGraph], points: int) -> None:
    path = task.paths.observations(scan.scene)
    mapped = mapped_path(path)
    if not path.is_file() and not mapped.is_file():
        scan.findings.append(Finding("views-absent", str(path), "no such file", scan.scene))
        return
    scan.sizes["views"] = size_of(path) + size_of(mapped)
    # the form that is read comes last, and tells how many views there are
    for file, check in ((path, views.check_pickle), (mapped, views.check_mapped)):
        if file.is_file():
            scan.views, found = check(file, graph, points, scan.scene, not task.quick)
            scan.findings += found
    if path.is_file() and mapped.is_file():
        scan.findings.append(Finding("views-both", str(mapped), f"beside {path.name}", scan.scene))


def scan_index(
    paths: DatasetPaths, split: str, sounds: Optional[Sounds]
) -> tuple[EpisodeFile, list[Finding]]:
    """Check ``<split>.json.gz``, which is empty where every scene has a file of its own."""
    graphs: dict[str, Optional[NavGraph]] = {}

    def graph_of(scene: str) -> Optional[NavGraph]:
        if scene not in graphs:
            graph, _, _ = check_metadata(paths.metadata(scene), scene)
            graphs[scene] = graph
        return graphs[scene]

    path = paths.active(split) / f"{split}.json.gz"
    return episodes.check_file(path, split, "", graph_of, sounds)


def usable_keys(scan: SceneScan, lost: Mapping[str, np.ndarray]) -> Optional[np.ndarray]:
    """Return ``pair_key`` of the responses that a run can load: of the packed file where there is one.

    Args:
        scan: of the scene.
        lost: ``tree`` and ``packed`` -> ``pair_key`` of those that were found broken.

    None where nothing can be said, as the whole store is missing or broken.
    """
    if scan.sizes.get("packed"):
        return None if scan.packed is None else np.setdiff1d(scan.packed.keys, lost["packed"])
    if scan.listings is None:
        return None
    none = np.zeros(0, np.int64)
    return np.setdiff1d(np.concatenate([none, *(part.keys for part in scan.listings)]), lost["tree"])
