"""Which scenes belong to train, val and test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterable

from audio_separation.errors import UserError
from audio_separation.scenes.layout import DatasetPaths, write_atomic

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


def _stems(files: Iterable[Path], suffix: str) -> set[str]:
    return {f.name[: -len(suffix)] for f in files if f.name.endswith(suffix)}


def scenes_of_split(paths: DatasetPaths, split: str) -> list[str]:
    """Sorted names of the scenes of ``split``.

    ``splits.json`` says it where there is one (homes). The published datasets have none: there the scenes are
    those for which the passive and active datasets hold files in a split of that kind.

    Raises:
        UserError: if no scene is found.
    """
    kind = scene_split(split)
    if (paths.metadata_root / "splits.json").is_file():
        return sorted(read_splits(paths.metadata_root)[kind])
    scenes: set[str] = set()
    for folder in sorted(paths.passive_root.glob(f"{kind}*")):
        scenes |= _stems(folder.glob("*.pkl"), ".pkl")
    for folder in sorted(paths.active_root.glob(f"{kind}*")):
        scenes |= _stems((folder / "content").glob("*.json.gz"), ".json.gz")
    if not scenes:
        raise UserError(
            f"no scene of split '{split}' found: {paths.metadata_root / 'splits.json'} is missing, and "
            f"{paths.passive_root} and {paths.active_root} hold no files of such a split; {paths.cure}"
        )
    return sorted(scenes)
