"""Episodes of the active task: reading, writing, checking and drawing them (DESIGN sections 3 and 4)."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Iterable, Mapping, Optional, Protocol, Sequence, Union

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.episode_format import Episode, Point, episode_to_json, parse_episode
from audio_separation.scenes.graph import ROTATIONS_DEG, NavGraph
from audio_separation.scenes.layout import write_atomic

__all__ = [
    "Clips",
    "Episode",
    "load_episodes",
    "make_active_episodes",
    "save_episodes",
    "validate_episodes",
]

CURE = "make it with: python scripts/generate_homes.py (homes), or see data/README.md"


class Clips(Protocol):
    """The part of ``audio.clips.ClipLibrary`` that episodes need."""

    @property
    def classes(self) -> list[str]: ...
    @property
    def distractor_only(self) -> set[str]: ...
    def names(self) -> list[str]: ...
    def by_class(self, name: str) -> list[str]: ...
    def label_of(self, name: str) -> int: ...
    def num_seconds(self, name: str) -> int: ...


def _read_json_gz(path: Path) -> dict:
    try:
        with gzip.open(path, "rb") as stream:
            tree = json.loads(stream.read().decode("utf-8"))
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"{path} is not a readable .json.gz ({error}): truncated or corrupt? fetch it again"
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; {CURE}") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("episodes"), list):
        raise UserError(f"{path} should hold {{'episodes': [...]}}")
    return tree


def load_episodes(
    root: Union[Path, str], split: str, scenes: Optional[Sequence[str]] = None, limit: int = 0
) -> list[Episode]:
    """Read the episodes of a split, from ``<split>.json.gz`` and ``content/<scene>.json.gz`` alike.

    Args:
        root: folder of the dataset version, ``data/active_datasets/<version>``.
        split: ``train``, ``valHeard``, ...
        scenes: keep only these, in the order of the files; None for all.
        limit: keep only the first this many; 0 for all.

    Raises:
        UserError: for missing, truncated or corrupt files, a missing key, no episode, or none in a
            named scene.
    """
    folder = Path(root) / split
    index = folder / f"{split}.json.gz"
    content = sorted((folder / "content").glob("*.json.gz"))
    if not index.is_file() and not content:
        raise UserError(f"episodes of split '{split}' not found at {index}; {CURE}")
    files = [index] if index.is_file() else []
    files += [f for f in content if scenes is None or f.name[: -len(".json.gz")] in scenes]
    episodes = [parse_episode(e, f, i) for f in files for i, e in enumerate(_read_json_gz(f)["episodes"])]
    if scenes is not None:
        episodes = [e for e in episodes if e.scene in scenes]
        lacking = sorted(set(scenes) - {e.scene for e in episodes})
        if lacking:
            raise UserError(f"{folder} holds no episode of scene {', '.join(lacking)}")
    if not episodes:
        raise UserError(f"{folder} holds no episodes; {CURE}")
    return episodes[:limit] if limit else episodes


def _write_json_gz(path: Path, tree: dict) -> None:
    # mtime=0: the same episodes give the same bytes
    write_atomic(path, gzip.compress(json.dumps(tree).encode(), mtime=0))


def save_episodes(
    root: Union[Path, str],
    split: str,
    episodes: Iterable[Episode],
    graphs: Optional[Mapping[str, NavGraph]] = None,
) -> None:
    """Write ``content/<scene>.json.gz`` of each scene that occurs, and the (empty) ``<split>.json.gz``.

    May be called once for all scenes or scene by scene. With ``graphs`` (scene -> graph) the episodes
    also carry ``all_geodesic_distances``.
    """
    folder = Path(root) / split
    by_scene: dict[str, list[dict]] = {}
    for episode in episodes:
        by_scene.setdefault(episode.scene, []).append(
            episode_to_json(episode, (graphs or {}).get(episode.scene))
        )
    for scene, trees in by_scene.items():
        _write_json_gz(folder / "content" / f"{scene}.json.gz", {"episodes": trees})
    index = {"episodes": [], "content_scenes_path": "{data_path}/content/{scene}.json.gz"}
    _write_json_gz(folder / f"{split}.json.gz", index)


def validate_episodes(episodes: Iterable[Episode], clips: Clips, graphs: Mapping[str, NavGraph]) -> None:
    """Check every episode against the corpus and the graphs before anything runs.

    Raises:
        UserError: for a sound that the corpus lacks, a label of another class, a scene without a graph, or a
            position off the graph.
    """
    known = set(clips.names())
    for episode in episodes:
        where = f"episode '{episode.episode_id}' of scene {episode.scene}"
        for sound, label in zip(episode.sounds, episode.labels):
            if sound not in known:
                raise UserError(
                    f"{where} plays the sound '{sound}', which is not among the {len(known)} of the corpus"
                )
            if label not in (-1, clips.label_of(sound)):
                raise UserError(
                    f"{where} labels the sound '{sound}' {label}, the corpus labels it "
                    f"{clips.label_of(sound)}: its classes.json lists other classes or another order"
                )
        if episode.scene not in graphs:
            raise UserError(f"{where}: no navigation graph was loaded for that scene")
        try:
            episode.start_node(graphs[episode.scene])
            episode.source_nodes(graphs[episode.scene], max(map(len, episode.source_paths)))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None


def _draw_distractors(
    graph: NavGraph,
    sources: np.ndarray,
    target: int,
    count: int,
    min_distance: float,
    rng: np.random.Generator,
) -> list[int]:
    chosen = [target]
    for _ in range(count):
        free = np.setdiff1d(sources, chosen)
        offsets = graph.positions[free][:, None] - graph.positions[chosen][None]
        nearest = np.linalg.norm(offsets, axis=-1).min(axis=1)
        far = free[nearest >= min_distance - 1e-3]
        # where the scene is too small for the distance, as far apart as it goes
        chosen.append(int(rng.choice(far)) if len(far) else int(free[np.argmax(nearest)]))
    return chosen[1:]


def _draw_sounds(clips: Clips, count: int, rng: np.random.Generator) -> list[str]:
    classes = [c for c in clips.classes if clips.by_class(c)]  # a split need not have clips of every class
    targets = [c for c in classes if c not in clips.distractor_only]
    if not targets or len(classes) < count:
        raise UserError(
            f"{count} sources need clips of {count} classes, one of them no distractor; this split of the "
            f"corpus has {len(classes)} ({len(targets)} of them may be targets)"
        )
    target = targets[rng.integers(len(targets))]
    others = [c for c in classes if c != target]
    drawn = [target, *(others[i] for i in rng.permutation(len(others))[: count - 1])]
    return [clips.by_class(name)[rng.integers(len(clips.by_class(name)))] for name in drawn]


def _position(graph: NavGraph, v: int) -> Point:
    x, y, z = (float(value) for value in graph.positions[v])
    return x, y, z


def make_active_episodes(
    graph: NavGraph,
    clips: Clips,
    source_nodes: Optional[Sequence[int]],
    num: int,
    rng: np.random.Generator,
    scene: str,
    num_sources: int = 2,
    start_distance: tuple[float, float] = (1.0, 3.0),
    min_source_distance: float = 2.0,
) -> list[Episode]:
    """Draw ``num`` episodes of a scene; the same generator state gives the same episodes.

    All sources stand on different nodes and play different classes; the target (source 0) is never of a
    distractor-only class. The agent starts with a random rotation.

    Args:
        graph: the scene's graph.
        clips: sounds to draw from.
        source_nodes: ids of the nodes where sources may stand (those with RIRs); None for all.
        num: number of episodes.
        rng: consumed.
        scene: scene name for the episodes.
        num_sources: target and distractors.
        start_distance: geodesic distance of the start to the target, metres; (0, 0) starts at the target.
        min_source_distance: sources stand at least this far apart, metres, where the scene allows it.

    Raises:
        UserError: if the scene has too few source nodes or no start in the range, or the corpus too few
            classes.
    """
    sources = graph.indices(source_nodes)
    if len(sources) < num_sources:
        raise UserError(
            f"scene {scene}: {num_sources} sources need as many source nodes, it has {len(sources)}"
        )
    starts = {int(v): graph.within(int(v), start_distance) for v in sources}
    targets = [v for v, near in starts.items() if len(near)]
    if not targets:
        raise UserError(
            f"scene {scene}: no node lies {start_distance[0]} to {start_distance[1]} m from a source node"
        )
    episodes = []
    for i in range(num):
        target = targets[rng.integers(len(targets))]
        nodes = [
            target,
            *_draw_distractors(graph, sources, target, num_sources - 1, min_source_distance, rng),
        ]
        sounds = _draw_sounds(clips, num_sources, rng)
        episodes.append(
            Episode(
                episode_id=str(i),
                scene=scene,
                start_position=_position(graph, int(rng.choice(starts[target]))),
                start_rotation=ROTATIONS_DEG[rng.integers(4)],
                sounds=tuple(sounds),
                start_seconds=tuple(int(rng.integers(clips.num_seconds(sound))) for sound in sounds),
                labels=tuple(clips.label_of(sound) for sound in sounds),
                source_paths=tuple((_position(graph, v),) for v in nodes),
            )
        )
    return episodes
