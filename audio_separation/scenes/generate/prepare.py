"""Turns a folder of real recordings into a corpus (DESIGN section 3); ``scripts/prepare_audio.py`` calls it.

Short recordings of the same class and the same split are joined to clips of 20 s and more; what is heard in
training and what is not is decided by recording, before anything is joined.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from audio_separation.errors import UserError
from audio_separation.scenes.generate.corpus_layout import (
    ACTIVE_RMS,
    FORMAT_VERSION,
    MIN_CLIP_SECONDS,
    RATE_HZ,
    SPLITS,
    claim_corpus,
    clip_exists,
    fade_edges,
    normalise_level,
    split_recordings,
    to_int16,
    write_classes,
    write_clip,
    write_json,
)
from audio_separation.scenes.generate.recordings import AudioFile, Say, find_files, read_recording


@dataclass(frozen=True)
class PrepareOptions:
    """How recordings become clips; fractions are of a class's total duration."""

    seed: int = 0
    min_seconds: int = MIN_CLIP_SECONDS
    max_seconds: int = 60  # longer recordings are cut into clips of equal length
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    split_by: str = "auto"
    distractor_only: Optional[tuple[str, ...]] = None  # None: esc where there is such a class
    chunks: bool = True
    skip_broken: bool = False
    allow_small: bool = False

    def check(self) -> None:
        """Raises UserError for a value that cannot work."""
        if self.min_seconds < MIN_CLIP_SECONDS:
            raise UserError(f"--min-seconds is {self.min_seconds}, expected {MIN_CLIP_SECONDS} or more")
        if self.max_seconds < 2 * self.min_seconds:
            raise UserError(
                f"--max-seconds is {self.max_seconds}, expected twice --min-seconds or more "
                f"({2 * self.min_seconds})"
            )
        for name, value in (("val", self.val_fraction), ("test", self.test_fraction)):
            if not 0 < value < 0.5:
                raise UserError(f"--{name}-fraction is {value}, expected a number between 0 and 0.5")


class _Inspected(NamedTuple):
    seconds: float  # after trimming; 0: silence
    error: str  # "": decodes


class _Clips(NamedTuple):
    """One class in one split."""

    class_name: str
    split: str
    files: list[Path]


def prepare_corpus(
    source: Path,
    out: Path,
    options: PrepareOptions,
    manifest: Optional[Path] = None,
    jobs: int = -1,
    say: Say = print,
    progress: bool = True,
) -> dict[str, dict[str, list[str]]]:
    """Write the corpus ``out`` from the class folders of ``source``; returns class -> split -> clip names.

    The same folder, options and seed give the same bytes, on however many cores; an interrupted run is taken
    up again. Whatever is left out is named through ``say`` and in ``corpus.json``. Raises UserError for bad
    options, broken files (unless skipped), classes with fewer than three recordings (unless allowed), and
    an ``out`` that holds something else.
    """
    options.check()
    source, out = Path(source), Path(out)
    files = find_files(source, options.split_by, manifest, say)
    # Everything that can be wrong with the source is found before the first file is written.
    inspected = dict(zip(files, _map(_inspect, files, jobs, "inspect", progress)))
    usable, left_out = _usable_files(inspected, options.skip_broken, say)
    recordings = _group(usable, inspected)
    small = _check_size(recordings, options.allow_small, say)
    classes = [name for name in recordings if name not in small]
    distractors = _distractors(classes, options.distractor_only)
    settings = {"generator": "recordings", "version": FORMAT_VERSION, **asdict(options)}
    claim_corpus(out, {**settings, "files": _fingerprint(usable, source)})
    plan = [clips for name in classes for clips in _plan_class(name, recordings[name], usable, options)]
    written = _map(_WriteClips(source, out, options), plan, jobs, "write", progress)
    write_classes(out, classes, distractors)
    write_json(
        out / "corpus.json",
        {
            "settings": settings,
            "rate_hz": RATE_HZ,
            "active_rms": ACTIVE_RMS,
            "licence": "that of the recordings, see their source",
            "left_out_files": {_name(path, source): why for path, why in left_out.items()},
            "left_out_classes": small,
            "clips": {name: files for made in written for name, files in made.items()},
        },
    )
    clips: dict[str, dict[str, list[str]]] = {name: {} for name in classes}
    for item, names in zip(plan, written):
        clips[item.class_name][item.split] = sorted(names)
    return clips


def _map(function: Callable, items: list, jobs: int, label: str, progress: bool) -> list[Any]:
    bar = tqdm(items, desc=label, disable=not progress)
    return Parallel(n_jobs=jobs)(delayed(function)(item) for item in bar)


def _name(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix()


def _inspect(file: AudioFile) -> _Inspected:
    try:
        return _Inspected(len(read_recording(file.path)) / RATE_HZ, "")
    except UserError as error:
        return _Inspected(0.0, str(error))


def _usable_files(
    inspected: dict[AudioFile, _Inspected], skip_broken: bool, say: Say
) -> tuple[list[AudioFile], dict[Path, str]]:
    broken = {file.path: result.error for file, result in inspected.items() if result.error}
    silent = {f.path: "silence" for f, result in inspected.items() if not result.error and not result.seconds}
    if broken and not skip_broken:
        listed = "; ".join(list(broken.values())[:10]) + ("; ..." if len(broken) > 10 else "")
        raise UserError(
            f"{len(broken)} of {len(inspected)} files are broken (--skip-broken leaves them out): {listed}"
        )
    for path, why in {**broken, **silent}.items():
        say(f"left out: {path} ({why})" if why == "silence" else f"left out: {why}")
    if broken or silent:
        say(f"left out {len(broken)} broken and {len(silent)} silent of {len(inspected)} files")
    left_out = {**broken, **silent}
    return [file for file in inspected if file.path not in left_out], left_out


def _group(usable: list[AudioFile], inspected: dict[AudioFile, _Inspected]) -> dict[str, dict[str, float]]:
    """Class -> recording -> seconds; a class whose files are all unusable stays, with no recordings."""
    recordings: dict[str, dict[str, float]] = {file.class_name: defaultdict(float) for file in inspected}
    for file in usable:
        recordings[file.class_name][file.recording] += inspected[file].seconds
    return recordings


def _check_size(recordings: dict[str, dict[str, float]], allow_small: bool, say: Say) -> list[str]:
    small = [name for name, found in recordings.items() if len(found) < len(SPLITS)]
    listed = ", ".join(f"{name} ({len(recordings[name])})" for name in small)
    if small and not allow_small:
        raise UserError(
            f"each class needs {len(SPLITS)} recordings, one for each split; too few in: {listed}; "
            "add recordings or leave these classes out with --allow-small"
        )
    if len(small) == len(recordings):
        raise UserError(f"no class has {len(SPLITS)} recordings: {listed}")
    if small:
        say(f"left out {len(small)} classes with fewer than {len(SPLITS)} recordings: {listed}")
    return small


def _distractors(classes: list[str], asked: Optional[tuple[str, ...]]) -> list[str]:
    names = [name.replace("_", "-") for name in (("esc",) if asked is None else asked)]
    unknown = [name for name in names if name not in classes]
    if unknown and asked is not None:
        raise UserError(f"--distractor-only {', '.join(unknown)}: no such class; found {', '.join(classes)}")
    if set(classes) <= set(names):
        raise UserError(
            f"all classes ({', '.join(classes)}) are only distractors; at least one must be a target"
        )
    return [name for name in names if name not in unknown]


def _fingerprint(files: list[AudioFile], source: Path) -> str:
    """Hash of names, sizes and recordings, so that a run is not taken up again on other files."""
    lines = [f"{_name(f.path, source)} {f.path.stat().st_size} {f.class_name} {f.recording}" for f in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plan_class(
    name: str, seconds: dict[str, float], usable: list[AudioFile], options: PrepareOptions
) -> list[_Clips]:
    rng = np.random.default_rng([options.seed, zlib.crc32(name.encode())])
    dealt = split_recordings(seconds, rng, options.val_fraction, options.test_fraction)
    files: dict[str, list[Path]] = defaultdict(list)
    for file in usable:
        if file.class_name == name:
            files[file.recording].append(file.path)
    return [_Clips(name, split, [p for r in dealt[split] for p in files[r]]) for split in SPLITS]


_PROGRESS = ".progress"  # in the corpus: what is finished, class by class and split by split


class _WriteClips:
    """Callable for worker processes: writes the clips of one class and split, unless that was done before."""

    def __init__(self, source: Path, out: Path, options: PrepareOptions) -> None:
        self._source, self._out, self._options = source, out, options

    def __call__(self, item: _Clips) -> dict[str, list[str]]:
        """Clip name -> its files, relative to the source."""
        done = self._out / _PROGRESS / f"{item.class_name}_{item.split}.json"
        written: dict[str, list[str]] = {}
        if done.exists():
            written = json.loads(done.read_text(encoding="utf-8"))
            if all(clip_exists(self._out, item.split, clip, self._options.chunks) for clip in written):
                return written
        for i, (samples, paths) in enumerate(join_recordings(item.files, self._options)):
            clip = f"{item.class_name}_{item.split}{i:04d}"
            write_clip(self._out, item.split, clip, to_int16(samples), self._options.chunks)
            written[clip] = [_name(path, self._source) for path in paths]
        write_json(done, written)
        return written


def join_recordings(files: list[Path], options: PrepareOptions) -> Iterator[tuple[np.ndarray, list[Path]]]:
    """Clips (float32 ``[L]``, whole seconds, faded ends) made of consecutive files, and these files.

    Each file is brought to the same level first. Files are joined until ``min_seconds`` are reached; a rest
    at the end goes to the last clip; if everything together is too short, it is looped. What is longer than
    ``max_seconds`` is cut into clips of equal length.
    """
    for samples, paths in _joined(files, options.min_seconds * RATE_HZ):
        count = -(-len(samples) // (options.max_seconds * RATE_HZ))
        length = len(samples) // count // RATE_HZ * RATE_HZ
        for i in range(count):
            yield fade_edges(samples[i * length : (i + 1) * length]), paths


def _joined(files: list[Path], shortest: int) -> Iterator[tuple[np.ndarray, list[Path]]]:
    ready: list[tuple[np.ndarray, list[Path]]] = []  # the last clip, which waits for a rest
    pieces: list[np.ndarray] = []
    paths: list[Path] = []
    for path in files:
        pieces.append(fade_edges(normalise_level(read_recording(path))))
        paths.append(path)
        if sum(map(len, pieces)) >= shortest:
            yield from ready
            ready = [(np.concatenate(pieces), paths)]
            pieces, paths = [], []
    if pieces and ready:
        ready = [(np.concatenate([ready[0][0], *pieces]), ready[0][1] + paths)]
    elif pieces:
        ready = [(np.resize(np.concatenate(pieces), shortest), paths)]
    yield from ready
