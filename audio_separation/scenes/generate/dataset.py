"""The data set `homes`: which scenes there are, making them in parallel, and the episodes over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Callable

import numpy as np
from tqdm import tqdm

from audio_separation.audio.clips import ClipLibrary
from audio_separation.errors import UserError
from audio_separation.scenes.draw import make_active_episodes, make_passive_points
from audio_separation.scenes.episode_sets import ACTIVE_SPLITS
from audio_separation.scenes.episodes import save_episodes
from audio_separation.scenes.generate.parallel import run_tasks
from audio_separation.scenes.generate.plan import Preset, preset_named
from audio_separation.scenes.generate.scene import (
    Scene,
    SceneWriter,
    Settings,
    chunks,
    rir_task,
    view_task,
)
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.passive import save_passive
from audio_separation.scenes.source_nodes import source_nodes
from audio_separation.scenes.splits import SPLITS, write_splits

START_DISTANCE_M = (1.0, 3.0)
NUM_SOURCES = 2


def dataset_paths(out: Path, corpus: str = "synthetic") -> DatasetPaths:
    """Where everything of the data set lies below `out`."""
    return DatasetPaths(out / "data", out / "sound_spaces", "homes", corpus)


def scenes_of(preset: Preset) -> list[Scene]:
    """The scenes of a preset in order: train, val, test."""
    names = [split for split, count in zip(SPLITS, preset.scenes) for _ in range(count)]
    return [Scene(f"home_{k:03d}", split, k) for k, split in enumerate(names)]


def check_same_settings(paths: DatasetPaths, settings: Settings) -> None:
    """Refuses to add scenes to a data set that was made with other settings.

    Raises:
        UserError: naming the first setting that differs, both values and the cure.
    """
    known = {scene.name for scene in scenes_of(preset_named(settings.preset))}
    for record in sorted(paths.metadata_root.glob("*/home.json")):
        try:
            found = json.loads(record.read_text())["settings"]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{record} is not readable ({error}); delete {record.parent} and run again."
            ) from error
        wanted = asdict(settings)
        for key in wanted:
            if found.get(key) != wanted[key]:
                raise UserError(
                    f"{paths.metadata_root} holds homes made with {key} {found.get(key)}, not {wanted[key]}; "
                    "give another --out, or delete the old homes "
                    f"(data/*/homes*, sound_spaces/*/homes below {paths.data_root.parent})."
                )
        if record.parent.name not in known:
            raise UserError(
                f"{record.parent} is not among the scenes of preset {settings.preset}; delete it."
            )


def make_scenes(
    paths: DatasetPaths, settings: Settings, jobs: int, backend: str = "loky", figures: bool = False
) -> list[Scene]:
    """Makes every scene that is not finished yet, all cores busy across scenes; returns those made.

    Args:
        jobs: processes; -1 for one a core.
        backend: joblib's: loky (processes of this machine), dask or ray (a cluster that is already there).
        figures: also write plan.png and views.png beside the mesh.
    """
    check_same_settings(paths, settings)
    unfinished = [
        s for s in scenes_of(preset_named(settings.preset)) if not SceneWriter(paths, s, settings).finished()
    ]
    if not unfinished:
        return []
    writers = {scene: SceneWriter(paths, scene, settings) for scene in unfinished}
    total = sum(len(w.home.positions) for w in writers.values())
    tasks = [task for w in writers.values() for task in _tasks_of(w)]
    with (
        tqdm(total=total, desc="homes", unit="node", smoothing=0.05) as bar,
        run_tasks(tasks, jobs, backend) as results,
    ):
        for scene in unfinished:
            writer = writers.pop(scene)
            bar.set_postfix_str(scene.name)
            parts = chunks(len(writer.home.positions))
            writer.write_rirs(_counted(bar, islice(results, len(parts)), parts))
            writer.write_views(islice(results, len(parts)))
            writer.finish(figures)
    return unfinished


def _tasks_of(writer: SceneWriter) -> list[tuple[Callable, Scene, Settings, list[int]]]:
    parts = chunks(len(writer.home.positions))
    return [(task, writer.scene, writer.settings, part) for task in (rir_task, view_task) for part in parts]


def _counted(bar: tqdm, results: Iterator[Any], parts: list[list[int]]) -> Iterator[Any]:
    for part, result in zip(parts, results):
        bar.update(len(part))
        yield result


def make_datasets(paths: DatasetPaths, settings: Settings) -> None:
    """Writes splits.json, the passive points and the active episodes over the finished scenes.

    Everything is drawn from the seed and cheap, so it is written anew each time; where that replaces episodes
    over the sounds of another corpus, it is said on stderr.
    """
    _note_corpus(paths)
    preset = preset_named(settings.preset)
    scenes = scenes_of(preset)
    libraries = {
        split: ClipLibrary(paths.corpus_root, split) for split in ("train", "valUnheard", "testUnheard")
    }
    graphs = {scene.name: load_graph(paths.metadata(scene.name)) for scene in scenes}
    for scene in scenes:
        sources = source_nodes(paths, scene.name, graphs[scene.name])
        rng = np.random.default_rng([scene.seed(settings), 0xDA7A])
        training = scene.split == "train"
        count = preset.passive_points[0 if training else 1]
        points = make_passive_points(graphs[scene.name], sources, count, rng, scene.name, NUM_SOURCES)
        save_passive(paths.passive_root, scene.split, points)
        for split, (scene_split, sounds) in ACTIVE_SPLITS.items():
            if scene_split != scene.split:
                continue
            episodes = make_active_episodes(
                graphs[scene.name],
                libraries[sounds],
                sources,
                preset.episodes[0 if training else 1],
                rng,
                scene.name,
                NUM_SOURCES,
                START_DISTANCE_M,
            )
            save_episodes(paths.active_root, split, episodes, graphs)
    write_splits(paths.metadata_root, {s: [c.name for c in scenes if c.split == s] for s in SPLITS})


def _note_corpus(paths: DatasetPaths) -> None:
    """Keeps the name of the corpus beside the episodes, and says when it changes."""
    note = paths.active_root / "made_with.json"
    before = json.loads(note.read_text())["corpus"] if note.is_file() else paths.corpus
    if before != paths.corpus:
        print(
            f"generate_homes: {paths.active_root} now plays the corpus {paths.corpus}, not {before}.",
            file=sys.stderr,
        )
    write_atomic(note, json.dumps({"corpus": paths.corpus}).encode())
