"""The corpus: recordings as rows of descriptors, one CSV a file, one row a frame.

Ours has the folders ``train`` and ``test`` and a ``corpus.json`` that says what was analysed and how. A published
folder of CSVs (``features/all-files-in-corpus``) is read as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import numpy as np

from audio_separation.envs.synth.feature_csv import read_csv, take_descriptors
from audio_separation.errors import UserError

SPLITS = ("train", "test")
JSON_NAME = "corpus.json"
CURE = "analyse the recordings with python scripts/analyze_corpus.py"


@dataclass(frozen=True, eq=False)
class Corpus:
    """One split of a corpus.

    Attributes:
        names: of the descriptors, ``[D]``.
        files: of each file the frames, float64 ``[N, D]``.
        file_names: of the files, without ``.csv``.
        settings: rate_hz, window, hop, ...; empty where a published folder does not say.
    """

    names: tuple[str, ...]
    files: list[np.ndarray]
    file_names: list[str]
    settings: dict[str, Any] = field(default_factory=dict)


def load_corpus(folder: Path, split: str) -> Corpus:
    """Read a split, ``train`` or ``test``, of a corpus.

    Raises:
        UserError: missing or broken; a split that it does not have; files with other columns than the first.
    """
    folder = Path(folder)
    if split not in SPLITS:
        raise UserError(f"a corpus has the splits {' and '.join(SPLITS)}, found {split!r}; name one of them")
    if not folder.is_dir():
        raise UserError(f"there is no corpus at {folder}; {CURE}")
    content = read_corpus_json(folder)
    if content is None:
        paths, settings, frames = _published_files(folder, split), {}, {}
    else:
        settings = content["settings"]
        frames = {name: one["frames"] for name, one in content["files"].items() if one["split"] == split}
        paths = _our_files(folder, split, frames)
    names: tuple[str, ...] = ()
    files = []
    for path in paths:
        found, values = take_descriptors(*read_csv(path, CURE), path, CURE)
        if path.stem in frames and len(values) != frames[path.stem]:
            raise UserError(
                f"{path} has {len(values)} rows, {JSON_NAME} says {frames[path.stem]}: it was changed by hand or cut "
                f"short; {CURE} --overwrite"
            )
        names = names or found
        if found != names:
            raise UserError(
                f"{path} has {len(found)} descriptors, {paths[0].name} beside it has {len(names)}: {CURE}, all of them"
            )
        files.append(values)
    return Corpus(names, files, [path.stem for path in paths], settings)


def read_corpus_json(folder: Path) -> Optional[dict[str, Any]]:
    """What ``corpus.json`` says; None where there is none.

    Raises:
        UserError: it is malformed.
    """
    path = folder / JSON_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        good = isinstance(content["settings"], dict) and all(
            one["split"] in SPLITS and isinstance(one["frames"], int) for one in content["files"].values()
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise UserError(
            f'{path} is malformed, expected {{"settings": {{...}}, "files": {{name: ...}}}}: {CURE} --overwrite'
        )
    return content


def _our_files(folder: Path, split: str, frames: dict[str, int]) -> list[Path]:
    if not frames:
        raise UserError(
            f"the corpus {folder} has no file in its split {split}: {CURE} --held-out 0.25 --overwrite, over two "
            "recordings or more"
        )
    there = {path.stem for path in (folder / split).glob("*.csv")}
    foreign = sorted(there - set(frames))
    if foreign:
        raise UserError(
            f"{folder / split / foreign[0]}.csv is not in {JSON_NAME}: remove it, or {CURE} --overwrite"
        )
    return [folder / split / f"{name}.csv" for name in sorted(frames)]


def _published_files(folder: Path, split: str) -> list[Path]:
    divided = [name for name in SPLITS if (folder / name).is_dir()]
    if divided:
        paths = sorted((folder / split).glob("*.csv"))
    elif split == "train":
        paths = sorted(folder.glob("*.csv"))
    else:
        raise UserError(
            f"the corpus {folder} holds no {JSON_NAME} and no folder {split}, so nothing of it is held out: move some "
            f"CSVs to {folder / split} and the others to {folder / 'train'}"
        )
    if not paths:
        where = folder / split if divided else folder
        raise UserError(f"there is no CSV of descriptors in {where}; {CURE}")
    return paths
