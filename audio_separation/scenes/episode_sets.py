"""Whole datasets of episodes or passive points: one version, split by split and scene by scene."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError
from audio_separation.scenes import schema
from audio_separation.scenes.draw import balanced_targets, make_active_episodes, make_passive_points
from audio_separation.scenes.episodes import read_episode_file, save_episodes
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.passive import save_passive
from audio_separation.scenes.source_nodes import source_nodes
from audio_separation.scenes.splits import SPLITS
from audio_separation.scenes.unpickle import load_pickle
from audio_separation.scenes.walks import Motion

# active split -> (scene split, split of the corpus)
ACTIVE_SPLITS = {
    "train": ("train", "train"),
    "valHeard": ("val", "train"),
    "valUnheard": ("val", "valUnheard"),
    "testHeard": ("test", "train"),
    "testUnheard": ("test", "testUnheard"),
}
KINDS = ("near", "far", "passive")
SCRIPT = "make_episodes"
FORMAT = 1  # of made_with.json; counts up when the same recipe draws other episodes


@dataclass(frozen=True)
class Recipe:
    """All that decides what is drawn in a scene, its files and the number of episodes apart.

    Attributes:
        kind: ``near`` draws starts node by node, ``far`` every distance equally often, ``passive`` datapoints.
        seed: of everything.
        num_sources: S, target and distractors.
        distance_m: geodesic distance of the start to the target; for datapoints of a receiver that is near.
        spacing_m: straight-line distance that sources keep at the start; not for datapoints.
        near_fraction: part of the datapoints whose receiver is near.
        source_nodes: ``rirs``: sources stand where impulse responses are on disk; ``all``: at any node.
        motion: how sources walk; None: they stand still.
    """

    kind: str
    seed: int = 0
    num_sources: int = 2
    distance_m: tuple[float, float] = (0.0, 0.0)
    spacing_m: float = 2.0
    near_fraction: float = 0.7
    source_nodes: str = "rirs"
    motion: Optional[Motion] = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of a dataset of this kind."""
        return SPLITS if self.kind == "passive" else tuple(ACTIVE_SPLITS)

    @property
    def unit(self) -> str:
        return "datapoints" if self.kind == "passive" else "episodes"


@dataclass(frozen=True)
class SplitPlan:
    """What one split shall hold: ``per_scene`` episodes or datapoints of each of ``scenes``."""

    split: str
    scenes: tuple[str, ...]
    per_scene: int


class Outcome(NamedTuple):
    """What became of one scene."""

    split: str
    scene: str
    sources: int  # nodes where a source may stand
    nodes: int  # of the graph
    why: str  # the scene cannot hold what was asked for; empty where it could


def version_root(paths: DatasetPaths, recipe: Recipe) -> Path:
    """The folder of the version that is made."""
    return paths.passive_root if recipe.kind == "passive" else paths.active_root


def scene_file(paths: DatasetPaths, recipe: Recipe, split: str, scene: str) -> Path:
    """The file of one scene."""
    folder = version_root(paths, recipe) / split
    return folder / f"{scene}.pkl" if recipe.kind == "passive" else folder / "content" / f"{scene}.json.gz"


# ---- one scene ------------------------------------------------------------------------------------------
def _rng(seed: int, what: str) -> np.random.Generator:
    # by name, so that a scene's episodes do not depend on the other scenes
    return np.random.default_rng([seed, zlib.crc32(what.encode())])


@lru_cache(maxsize=8)
def _clips(corpus_root: Path, sounds: str) -> ClipLibrary:
    return ClipLibrary(corpus_root, sounds, cache_mb=64)


def make_scene(
    paths: DatasetPaths, recipe: Recipe, split: str, scene: str, num: int, targets: Sequence[str]
) -> Outcome:
    """Draw, write and validate the file of one scene; ``targets`` are the target classes of its episodes."""
    paths.require(paths.metadata(scene), f"metadata of scene {scene}")
    graph = load_graph(paths.metadata(scene))
    nodes = source_nodes(paths, scene, graph) if recipe.source_nodes == "rirs" else None
    rng = _rng(recipe.seed, f"{split}/{scene}")
    root = version_root(paths, recipe)
    if recipe.kind == "passive":
        points = make_passive_points(
            graph, nodes, num, rng, scene, recipe.num_sources, recipe.distance_m, recipe.near_fraction
        )
        save_passive(root, split, points)
    else:
        episodes = make_active_episodes(
            graph,
            _clips(paths.corpus_root, ACTIVE_SPLITS[split][1]),
            nodes,
            num,
            rng,
            scene,
            recipe.num_sources,
            recipe.distance_m,
            recipe.spacing_m,
            even_distances=recipe.kind == "far",
            target_classes=targets,
            motion=recipe.motion,
        )
        save_episodes(root, split, episodes, {scene: graph}, paths.facts.mesh)
    _check_written(scene_file(paths, recipe, split, scene))
    return Outcome(split, scene, len(graph) if nodes is None else len(nodes), len(graph), "")


def _check_written(path: Path) -> None:
    if path.suffix == ".pkl":
        faults = schema.validate_passive(load_pickle(path))
    else:
        faults = schema.validate_active(read_episode_file(path))
    if faults:
        path.unlink()
        raise RuntimeError(f"{path} was written against its schema: {faults[0]}")


# ---- the version ----------------------------------------------------------------------------------------
def claim_version(
    paths: DatasetPaths, recipe: Recipe, plans: Sequence[SplitPlan], commit: str, overwrite: bool
) -> None:
    """Write ``made_with.json``, or refuse where the folder holds something else.

    Splits may be added to a version by the same recipe. With ``overwrite`` what this script made there before is
    deleted; files of another origin never are.

    Raises:
        UserError: names the first difference, and the cure.
    """
    root = version_root(paths, recipe)
    note = root / "made_with.json"
    wanted = _record(paths, recipe, plans, commit)
    if root.is_dir() and any(root.iterdir()):
        found = _read_note(note)
        if found.get("script") != SCRIPT:
            raise UserError(
                f"{root} holds a dataset that {SCRIPT} did not make; give another --name, or move it away"
            )
        if overwrite:
            for split in recipe.splits:
                shutil.rmtree(root / split, ignore_errors=True)
        else:
            _check_same(root, found, wanted)
            # what is there keeps the commit that it was begun with
            wanted["splits"].update(found.get("splits", {}))
    write_atomic(note, (json.dumps(wanted, indent=1) + "\n").encode())


def _record(paths: DatasetPaths, recipe: Recipe, plans: Sequence[SplitPlan], commit: str) -> dict[str, Any]:
    active = recipe.kind != "passive"
    splits: dict[str, dict[str, Any]] = {}
    for plan in plans:
        splits[plan.split] = {"sounds": ACTIVE_SPLITS[plan.split][1]} if active else {}
        splits[plan.split].update(per_scene=plan.per_scene, scenes=plan.scenes, commit=commit)
    tree = {
        "script": SCRIPT,
        "format": FORMAT,
        "dataset": paths.dataset,
        "corpus": paths.corpus if active else None,
        **asdict(recipe),
        "splits": splits,
    }
    return json.loads(json.dumps(tree))  # as it reads back: lists for tuples


def _read_note(note: Path) -> dict[str, Any]:
    try:
        tree = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _check_same(root: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    pairs = [(key, found.get(key), wanted[key]) for key in wanted if key != "splits"]
    old = found.get("splits", {})
    for split, plan in wanted["splits"].items():
        keys = [key for key in plan if key != "commit"] if split in old else []
        pairs += [(f"{key} of {split}", old[split].get(key), plan[key]) for key in keys]
    for key, before, now in pairs:
        if before != now:
            raise UserError(
                f"{root} was made with {key} {_brief(before)}, not {_brief(now)}; give another --name, or "
                "--overwrite to make it anew"
            )


def _brief(value: Any) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{', '.join(map(str, value[:3]))}, ... ({len(value)})"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def make_version(
    paths: DatasetPaths, recipe: Recipe, plans: Sequence[SplitPlan], jobs: int, backend: str = "loky"
) -> Iterator[Outcome]:
    """Make every scene that has no file yet, in parallel; yields each as it is done.

    What is drawn does not depend on ``jobs``, nor on where an earlier run was stopped.
    """
    targets = {plan.split: _targets(paths, recipe, plan) for plan in plans}
    tasks = [
        (_try_scene, paths, recipe, plan.split, plan.scenes[k], plan.per_scene, targets[plan.split][k])
        for plan, k in unfinished(paths, recipe, plans)
    ]
    if not tasks:
        return
    with run_tasks(tasks, jobs, backend) as results:
        yield from results


def unfinished(
    paths: DatasetPaths, recipe: Recipe, plans: Sequence[SplitPlan]
) -> list[tuple[SplitPlan, int]]:
    """Return the scenes that have no file yet: their plan and place in ``plan.scenes``."""
    return [
        (plan, k)
        for plan in plans
        for k, scene in enumerate(plan.scenes)
        if not scene_file(paths, recipe, plan.split, scene).is_file()
    ]


def _try_scene(
    paths: DatasetPaths, recipe: Recipe, split: str, scene: str, num: int, targets: Sequence[str]
) -> Outcome:
    # one scene that is too small should not end the work on the others
    try:
        return make_scene(paths, recipe, split, scene, num, targets)
    except UserError as error:
        return Outcome(split, scene, 0, 0, str(error))


def _targets(paths: DatasetPaths, recipe: Recipe, plan: SplitPlan) -> list[list[str]]:
    """Target classes of the episodes of each scene, balanced over the scenes of the split together."""
    if recipe.kind == "passive":
        return [[] for _ in plan.scenes]
    clips = _clips(paths.corpus_root, ACTIVE_SPLITS[plan.split][1])
    rng = _rng(recipe.seed, f"{plan.split}: target classes")
    drawn = balanced_targets(clips, plan.per_scene * len(plan.scenes), rng)
    return [drawn[k * plan.per_scene : (k + 1) * plan.per_scene] for k in range(len(plan.scenes))]
