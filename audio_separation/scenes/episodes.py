"""Episodes of the active task: reading, writing and checking them (DESIGN sections 3 and 4)."""

from __future__ import annotations

import gc
import gzip
import json
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Iterable, Iterator, Mapping, Optional, Protocol, Sequence, Union

from audio_separation.errors import UserError
from audio_separation.scenes.datasets import DatasetFacts
from audio_separation.scenes.episode_format import Episode, episode_to_json, parse_episode
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.layout import write_atomic

__all__ = [
    "Clips",
    "Episode",
    "load_episodes",
    "save_episodes",
    "validate_episodes",
]

CURE = "make it with: python scripts/generate_homes.py (homes), or see data/README.md"


class Clips(Protocol):
    """The part of ``audio.clips.ClipLibrary`` that episodes need."""

    def names(self) -> list[str]: ...
    def label_of(self, name: str) -> int: ...


def read_episode_file(path: Path) -> dict:
    """Return ``{"episodes": [...], ...}`` of a ``.json.gz``; the episodes are for ``parse_episode``.

    Raises:
        UserError: missing, truncated, corrupt, or holding something else.
    """
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


@contextmanager
def _without_collector() -> Iterator[None]:
    # of the 731,243 published training episodes the cyclic collector would visit every object again and again,
    # which takes a third of the time; there are no cycles in them
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_episodes(
    root: Union[Path, str],
    split: str,
    scenes: Optional[Sequence[str]] = None,
    limit: int = 0,
    continuous: bool = False,
) -> list[Episode]:
    """Read the episodes of a split, from ``<split>.json.gz`` and ``content/<scene>.json.gz`` alike.

    Args:
        root: folder of the dataset version, ``data/active_datasets/<version>``.
        split: ``train``, ``valHeard``, ...
        scenes: keep only these, in the order of the files; None for all.
        limit: keep only the first this many; 0 for all.
        continuous: starts may have any heading.

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
    with _without_collector():
        episodes = [
            parse_episode(tree, file, i, continuous)
            for file in files
            for i, tree in enumerate(read_episode_file(file)["episodes"])
        ]
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
    mesh: str = DatasetFacts.mesh,
) -> None:
    """Write ``content/<scene>.json.gz`` of each scene that occurs, and the (empty) ``<split>.json.gz``.

    May be called once for all scenes or scene by scene. With ``graphs`` (scene -> graph) the episodes
    also carry ``all_geodesic_distances``. ``mesh`` is the path of a scene's mesh, ``DatasetFacts.mesh``.
    """
    folder = Path(root) / split
    by_scene: dict[str, list[dict]] = {}
    for episode in episodes:
        by_scene.setdefault(episode.scene, []).append(
            episode_to_json(episode, (graphs or {}).get(episode.scene), mesh)
        )
    for scene, trees in by_scene.items():
        _write_json_gz(folder / "content" / f"{scene}.json.gz", {"episodes": trees})
    index = {"episodes": [], "content_scenes_path": "{data_path}/content/{scene}.json.gz"}
    _write_json_gz(folder / f"{split}.json.gz", index)


def validate_episodes(
    episodes: Iterable[Episode], clips: Clips, graphs: Mapping[str, NavGraph], continuous: bool = False
) -> None:
    """Check every episode against the corpus and the graphs before anything runs.

    With ``continuous`` positions need not be nodes.

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
                    f"{clips.label_of(sound)}: its classes.json lists other classes or another order (that of "
                    f"AAViDSS is configs/aavidss_classes.json, to be copied to <corpus>/classes.json)"
                )
        if episode.scene not in graphs:
            raise UserError(f"{where}: no navigation graph was loaded for that scene")
        if continuous:
            continue
        try:
            episode.start_node(graphs[episode.scene])
            episode.source_nodes(graphs[episode.scene], max(map(len, episode.source_paths)))
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
