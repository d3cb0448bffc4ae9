"""Which scenes belong to train, val and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from audio_separation.errors import UserError
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.observations import find_observations

SPLITS = ("train", "val", "test")


def scene_split(split: str) -> str:
    """``train``, ``val`` or ``test`` of a split name such as ``valHeard`` or ``testUnheard``.

    Raises:
        UserError: for a name that begins otherwise.
    """
    for name in SPLITS:
        if split.startswith(name):
            return name
    raise UserError(f"split '{split}' should begin with train, val or test")


def write_splits(metadata_root: Path, splits: dict[str, list[str]]) -> None:
    """Write ``metadata/<dataset>/splits.json``."""
    write_atomic(metadata_root / "splits.json", (json.dumps(splits, indent=1) + "\n").encode())


def read_splits(metadata_root: Path) -> dict[str, list[str]]:
    """Read ``metadata/<dataset>/splits.json``: ``{"train": [scene, ...], "val": [...], "test": [...]}``.

    Raises:
        UserError: if it is not that.
    """
    path = metadata_root / "splits.json"
    try:
        tree = json.loads(path.read_text())
        splits = {name: [str(scene) for scene in tree[name]] for name in SPLITS}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f'{path} should hold {{"train": [scene, ...], "val": [...], "test": [...]}}'
        ) from None
    seen: dict[str, str] = {}
    for name, scenes in splits.items():
        for scene in scenes:
            if scene in seen:
                raise UserError(
                    f"{path} lists scene {scene} in {seen[scene]} and in {name}; splits share no scene"
                )
            seen[scene] = name
    return splits


def known_splits(paths: DatasetPaths) -> Mapping[str, Sequence[str]]:
    """``splits.json`` of the dataset where there is one, else the published splits; empty where neither is.

    Raises:
        UserError: for a malformed ``splits.json``.
    """
    if (paths.metadata_root / "splits.json").is_file():
        return read_splits(paths.metadata_root)
    return paths.facts.splits


def scenes_of_split(paths: DatasetPaths, split: str) -> list[str]:
    """Sorted names of the scenes of ``split``.

    All that ``splits.json`` lists, where there is one. Else those of the published split whose metadata are on
    disk, as a user may have some scenes of a published dataset only. A dataset that has neither consists of the
    scenes for which its passive and active datasets hold files in a split of that kind.

    Raises:
        UserError: if no scene is found.
    """
    kind = scene_split(split)
    if (paths.metadata_root / "splits.json").is_file():
        return sorted(read_splits(paths.metadata_root)[kind])
    published = paths.facts.splits.get(kind, ())
    scenes = [s for s in published if paths.metadata(s).is_dir()] if published else _of_files(paths, kind)
    if not scenes:
        looked = (
            f"none of its {len(published)} published scenes is in {paths.metadata_root}"
            if published
            else f"{paths.metadata_root / 'splits.json'} is missing, and {paths.passive_root} and "
            f"{paths.active_root} hold no files of such a split"
        )
        raise UserError(
            f"no scene of split '{split}' of dataset {paths.dataset} found: {looked}; {paths.cure}"
        )
    return sorted(scenes)


def _of_files(paths: DatasetPaths, kind: str) -> set[str]:
    scenes: set[str] = set()
    for folder in sorted(paths.passive_root.glob(f"{kind}*")):
        scenes |= _stems(folder.glob("*.pkl"), ".pkl")
    for folder in sorted(paths.active_root.glob(f"{kind}*")):
        scenes |= _stems((folder / "content").glob("*.json.gz"), ".json.gz")
    return scenes


def _stems(files: Iterable[Path], suffix: str) -> set[str]:
    return {f.name[: -len(suffix)] for f in files if f.name.endswith(suffix)}


def check_scene_splits(paths: DatasetPaths, split: str, scenes: Iterable[str], where: Path) -> None:
    """Refuse datapoints or episodes of ``split`` that lie in scenes of another one: they would leak into a test.

    Scenes that no split lists pass, and so does a split whose name says nothing (neither train, val nor test).

    Raises:
        UserError: names the file or folder ``where``, a scene and its split.
    """
    if not split.startswith(SPLITS):
        return
    table = known_splits(paths)
    of_scene = {scene: name for name, names in table.items() for scene in names}
    wrong = sorted(
        scene for scene in set(scenes) if of_scene.get(scene, scene_split(split)) != scene_split(split)
    )
    if wrong:
        said_by = (
            f"{paths.metadata_root / 'splits.json'} puts"
            if table is not paths.facts.splits
            else f"the published splits of {paths.dataset} put"
        )
        raise UserError(
            f"{where} is of split '{split}', but plays in scene {wrong[0]}, which {said_by} into "
            f"'{of_scene[wrong[0]]}' ({len(wrong)} such scenes): use the files of that split, or list the scenes "
            f"in a splits.json of your own"
        )


def select_scenes(
    paths: DatasetPaths, found: Iterable[str], which: str, responses: bool = True, views: bool = True
) -> list[str]:
    """Sorted names of the scenes to use out of those that a dataset's files name.

    Args:
        paths: of the dataset.
        found: scenes of the episodes or datapoints.
        which: ``DATA.SCENES``: ``all``: every one must be on disk; ``present``: those that are.
        responses: whether RIRs are needed besides points and graph.
        views: whether RGB-D is.

    Raises:
        UserError: a scene has no data on disk; with ``present``, if none has.
    """
    scenes = sorted(set(found))
    lacking = {s: parts for s in scenes if (parts := _missing_parts(paths, s, responses, views))}
    if lacking and (which == "all" or len(lacking) == len(scenes)):
        name, parts = next(iter(lacking.items()))
        cures = [paths.cure]
        if len(lacking) < len(scenes):
            cures.append("or give DATA.SCENES present to use the others only")
        elif not paths.metadata_root.is_dir():
            there = sorted(f.name for f in paths.metadata_root.parent.glob("*") if f.is_dir())
            cures.insert(0, f"DATASET is {paths.dataset}, there is data of {', '.join(there) or 'none'}")
        raise UserError(
            f"{len(lacking)} of {len(scenes)} scenes lack data on disk, such as {name}: "
            f"{' and '.join(map(str, parts))} not found; {'; '.join(cures)}"
        )
    return [scene for scene in scenes if scene not in lacking]


def _missing_parts(paths: DatasetPaths, scene: str, responses: bool, views: bool) -> list[Path]:
    missing = [] if paths.metadata(scene).is_dir() else [paths.metadata(scene)]
    rirs, view = paths.rirs_root / scene, paths.observations(scene)
    if responses and not rirs.is_dir() and not rirs.with_name(f"{scene}.safetensors").is_file():
        missing.append(rirs)
    if views and find_observations(view) is None:
        missing.append(view)
    return missing
