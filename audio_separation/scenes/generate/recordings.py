"""Finds the recordings of a folder ``<class>/*.wav|flac|mp3|ogg`` and decodes them to mono 16 kHz.

A *recording* is what must never be split between heard and unheard sounds: one file, or all files that a
manifest or their folder says were cut from the same take.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Callable, NamedTuple, Optional

import numpy as np

from audio_separation.audio.soundfiles import SUFFIXES, UNREADABLE, read_mono, resample
from audio_separation.errors import UserError
from audio_separation.scenes.generate.corpus_layout import RATE_HZ, is_silent

SPLIT_BY = ("auto", "manifest", "file", "folder")
_FRAME = 400  # 25 ms
_TRIM_DB = -50.0  # leading and trailing frames this far below the loudest are cut off ...
_MARGIN = 1600  # ... except for 0.1 s

Say = Callable[[str], None]


class AudioFile(NamedTuple):
    """One file of the source folder."""

    path: Path
    class_name: str
    recording: str  # unique within the class


def find_files(source: Path, split_by: str, manifest: Optional[Path], say: Say) -> list[AudioFile]:
    """All audio files below the class folders of ``source``, sorted, with class and recording.

    ``split_by``: ``manifest`` (columns ``path``, ``recording_id``), ``folder`` (all files of one folder
    below the class are one recording), ``file``, or ``auto``: a matching manifest where there is one, else
    ``file``. Raises UserError when there is nothing to use.
    """
    if not source.is_dir():
        raise UserError(
            f"{source} is not a folder; expected a folder with one subfolder of recordings a class"
        )
    folders = sorted(p for p in source.iterdir() if p.is_dir() and not p.name.startswith("."))
    paths = {folder: _audio_files(folder) for folder in folders}
    if not any(paths.values()):
        loose = len([p for p in source.iterdir() if p.suffix.lower() in SUFFIXES])
        raise UserError(
            f"{source} has no audio in class folders ({loose} loose files, {len(folders)} folders); expected "
            f"<class>/<recording> with a name ending in {', '.join(SUFFIXES)}"
        )
    for folder in (f for f in folders if not paths[f]):
        say(f"{folder.name}: no audio files, left out")
    classes = _class_names([folder for folder in folders if paths[folder]], say)
    files = [(path, classes[folder]) for folder in classes for path in paths[folder]]
    recording_of = _recording_rule([path for path, _ in files], source, split_by, manifest, say)
    return [AudioFile(path, name, recording_of(path)) for path, name in files]


def _audio_files(folder: Path) -> list[Path]:
    wanted = SUFFIXES + UNREADABLE
    found = (p for p in folder.rglob("*") if p.suffix.lower() in wanted and not p.name.startswith("."))
    return sorted(p for p in found if p.is_file())


def _class_names(folders: list[Path], say: Say) -> dict[Path, str]:
    """Folder -> class name without ``_``, which in the corpus ends the class."""
    classes: dict[Path, str] = {}
    for folder in folders:
        name = folder.name.replace("_", "-")
        if name != folder.name:
            say(f"class {folder.name} becomes {name}: in a clip's name the class ends at the first _")
        for other, taken in classes.items():
            if taken == name:
                raise UserError(
                    f"classes {other.name} and {folder.name} would both be called {name}; rename one"
                )
        classes[folder] = name
    return classes


def _recording_rule(
    paths: list[Path], source: Path, split_by: str, manifest: Optional[Path], say: Say
) -> Callable[[Path], str]:
    if split_by not in SPLIT_BY:
        raise UserError(f"--split-by is {split_by!r}, expected one of {', '.join(SPLIT_BY)}")
    if manifest is not None and split_by in ("file", "folder"):
        raise UserError(
            f"--manifest {manifest} and --split-by {split_by} contradict each other; give only one"
        )
    if split_by == "file":
        return lambda path: _relative(path, source)
    if split_by == "folder":
        return lambda path: _relative(path.parent, source)
    asked = manifest is not None or split_by == "manifest"
    candidates = [manifest] if manifest else [source / "manifest.csv", source.parent / "manifest.csv"]
    for candidate in candidates:
        if asked and manifest and not candidate.is_file():
            raise UserError(f"--manifest {candidate}: no such file")
        rows = _read_manifest(candidate, source, asked) if candidate.is_file() else {}
        known = {path: rows[key]["recording_id"] for path in paths for key in [path.resolve()] if key in rows}
        for path in known:
            _check_class(path, source, candidate, rows[path.resolve()].get("class"))
        if known and (len(known) == len(paths) or not asked):
            say(f"recordings from {candidate}: {len(known)} of {len(paths)} files, the rest a recording each")
            return lambda path: known.get(path, _relative(path, source))
        if rows and asked:
            missing = next(p for p in paths if p not in known)
            raise UserError(
                f"{candidate} has no row for {missing} ({len(paths) - len(known)} files lack one)"
            )
    if asked:
        raise UserError(
            f"--split-by manifest: found no manifest.csv in {source} or its parent; give --manifest"
        )
    say("no manifest.csv: each file is a recording of its own")
    return lambda path: _relative(path, source)


def _relative(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix()


def _check_class(path: Path, source: Path, manifest: Path, class_name: Optional[str]) -> None:
    """A manifest that names classes shows when ``source`` is a folder too high or too low."""
    folder = path.relative_to(source).parts[0]
    if class_name and class_name != folder:
        raise UserError(
            f"{manifest} says that {_relative(path, source)} is of class {class_name}, its folder says {folder}; "
            f"give the folder that holds {class_name}/"
        )


def _read_manifest(manifest: Path, source: Path, asked: bool) -> dict[Path, dict[str, str]]:
    """Absolute path -> row; paths count from the manifest's folder, else from ``source``."""
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines)
        columns = rows.fieldnames or []
        if {"path", "recording_id"} <= set(columns):
            bases = (source, manifest.parent)
            return {(base / row["path"]).resolve(): row for row in rows for base in bases}
    if not asked:
        return {}
    raise UserError(
        f"{manifest}: expected the columns path and recording_id, found {', '.join(columns) or 'none'}"
    )


def read_recording(path: Path) -> np.ndarray:
    """The file as float32 ``[L]``: channels averaged, without offset, 16 kHz, silent ends trimmed.

    Empty array when there is only silence. Raises UserError for a file that cannot be decoded.
    """
    mono, rate_hz = read_mono(path)
    if len(mono) == 0:
        return mono
    mono = resample(mono - mono.mean(), rate_hz, RATE_HZ)
    return np.zeros(0, np.float32) if is_silent(mono) else trim_silence(mono.astype(np.float32))


def trim_silence(samples: np.ndarray) -> np.ndarray:
    """``samples [L]`` without leading and trailing 25 ms frames 50 dB below the loudest; 0.1 s is left."""
    whole = len(samples) // _FRAME * _FRAME
    if whole == 0:
        return samples
    power = np.mean(np.square(samples[:whole].reshape(-1, _FRAME), dtype=np.float64), axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (_TRIM_DB / 10))
    end = (loud[-1] + 1) * _FRAME + _MARGIN
    return samples[max(0, loud[0] * _FRAME - _MARGIN) : end]
