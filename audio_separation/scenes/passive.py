"""Location datapoints for the pretraining of the separators (DESIGN section 3)."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Optional, Sequence, Union, overload

import numpy as np

from audio_separation.errors import UserError
from audio_separation.scenes.layout import write_atomic
from audio_separation.scenes.unpickle import load_pickle

CURE = "make it with: python scripts/generate_homes.py (homes), or see data/README.md"


class PassivePoint(NamedTuple):
    """One place of a receiver and its sources; source 0 is the target. Node *ids* (rows of points.txt)."""

    scene: str
    receiver: int
    azimuth: int  # RIR azimuth in degrees, = -rotation mod 360
    sources: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class PassivePoints(Sequence[PassivePoint]):
    """Many :class:`PassivePoint`, held as arrays (the published training set has 1.7 million).

    Attributes:
        scenes: names that ``scene`` indexes.
        scene: int [P].
        receiver: int [P].
        azimuth: int [P], RIR azimuth in degrees (= -rotation mod 360).
        sources: int [P, S].
    """

    scenes: tuple[str, ...]
    scene: np.ndarray
    receiver: np.ndarray
    azimuth: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.receiver)

    @overload
    def __getitem__(self, index: int) -> PassivePoint: ...
    @overload
    def __getitem__(self, index: slice) -> PassivePoints: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[PassivePoint, PassivePoints]:
        if isinstance(index, slice):
            return PassivePoints(
                self.scenes, self.scene[index], self.receiver[index], self.azimuth[index], self.sources[index]
            )
        return PassivePoint(
            self.scenes[self.scene[index]],
            int(self.receiver[index]),
            int(self.azimuth[index]),
            tuple(int(s) for s in self.sources[index]),
        )


def concatenate(parts: Sequence[PassivePoints]) -> PassivePoints:
    """Join points of several scenes (or of the same)."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.scenes))
    scene = [np.array([names.index(name) for name in part.scenes])[part.scene] for part in parts]
    return PassivePoints(
        names,
        np.concatenate(scene),
        np.concatenate([part.receiver for part in parts]),
        np.concatenate([part.azimuth for part in parts]),
        np.concatenate([part.sources for part in parts]),
    )


def _whole(values: list, axes: int) -> np.ndarray:
    array = np.array(values)
    whole = array.dtype.kind in "iu" and np.can_cast(array.dtype, np.int64)
    if array.ndim != axes or (array.size and not whole):
        raise ValueError  # a fraction must not become the node below it
    return array.astype(np.int64)


def parse_points(tree: Any, scene: str, path: Path, limit: int = 0) -> PassivePoints:
    """Return the datapoints of what a file's pickle holds, the first ``limit`` of them (0: all).

    Raises:
        UserError: ``path`` holds something else, missing keys, or differing numbers of sources.
    """
    points = tree.get(scene) if isinstance(tree, dict) else None
    if not isinstance(points, list) or not points:
        raise UserError(f"{path} should hold {{'{scene}': [datapoint, ...]}} with at least one datapoint")
    points = points[:limit] if limit else points
    try:
        receiver = _whole([p["r"] for p in points], 1)
        azimuth = _whole([p["azimuth"] for p in points], 1)
        sources = _whole([p["all_s"] for p in points], 2)
    except KeyError as error:
        raise UserError(
            f"{path}: a datapoint lacks the key {error}; each has 'r', 'azimuth' and 'all_s'"
        ) from None
    except (TypeError, ValueError):
        raise UserError(
            f"{path}: every datapoint should give node 'r', degrees 'azimuth' and nodes 'all_s', "
            f"the same number of sources in all"
        ) from None
    if not sources.shape[1]:
        raise UserError(f"{path}: 'all_s' should list the source nodes of a datapoint, at least one")
    wrong = ~np.isin(azimuth, (0, 90, 180, 270))
    if wrong.any():
        raise UserError(
            f"{path}: 'azimuth' should be 0, 90, 180 or 270 degrees, found {azimuth[np.argmax(wrong)]}"
        )
    return PassivePoints((scene,), np.zeros(len(points), dtype=np.int64), receiver, azimuth, sources)


def passive_scenes(root: Union[Path, str], split: str) -> list[str]:
    """Sorted names of the scenes of which ``<root>/<split>`` holds datapoints.

    Raises:
        UserError: if there is none.
    """
    folder = Path(root) / split
    scenes = sorted(f.stem for f in folder.glob("*.pkl"))
    if not scenes:
        raise UserError(f"passive datapoints of split '{split}' not found at {folder}; {CURE}")
    return scenes


def load_passive(
    root: Union[Path, str], split: str, scenes: Optional[Sequence[str]] = None, limit_per_scene: int = 0
) -> PassivePoints:
    """Read ``<root>/<split>/<scene>.pkl`` of the named scenes, at least one (None: all that are there).

    Args:
        root: folder of the dataset version, ``data/passive_datasets/<version>``.
        split: ``train``, ``val`` or ``test``.
        scenes: scene names.
        limit_per_scene: keep only the first this many of each (published: 30,000); 0 for all.

    Raises:
        UserError: for missing, corrupt or hostile files, missing keys, or differing numbers of sources.
    """
    folder = Path(root) / split
    scenes = passive_scenes(root, split) if scenes is None else scenes
    parts = []
    for scene in scenes:
        path = folder / f"{scene}.pkl"
        if not path.is_file():
            raise UserError(f"passive datapoints of scene {scene} not found at {path}; {CURE}")
        parts.append(parse_points(load_pickle(path), scene, path, limit_per_scene))
        if parts[-1].sources.shape[1] != parts[0].sources.shape[1]:
            raise UserError(
                f"{path}: its datapoints have {parts[-1].sources.shape[1]} sources, those of {scenes[0]} "
                f"{parts[0].sources.shape[1]}; a split should have one number"
            )
    return concatenate(parts)


def save_passive(root: Union[Path, str], split: str, points: PassivePoints) -> None:
    """Write ``<root>/<split>/<scene>.pkl`` for each scene of ``points``."""
    for i, scene in enumerate(points.scenes):
        rows = np.flatnonzero(points.scene == i)
        data = [
            {"r": p.receiver, "azimuth": p.azimuth, "all_s": list(p.sources)}
            for p in (points[int(i)] for i in rows)
        ]
        write_atomic(Path(root) / split / f"{scene}.pkl", pickle.dumps({scene: data}, protocol=4))
