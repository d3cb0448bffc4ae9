"""Checks of the corpus of sounds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np

from audio_separation.audio.clips import class_of, clip_folder, clip_names, read_classes
from audio_separation.audio.stft import RATE
from audio_separation.audio.wav import BrokenWav, read_wav, read_wav_header
from audio_separation.errors import UserError
from audio_separation.scenes.check.findings import Finding, of_items

BATCH = 64  # clips a task, 40 MB of samples
SPLITS = ("train", "valUnheard", "testUnheard")
EXPECTED_S = 20  # of AAViDSS's clips; those of Move2Hear last one second


class Corpus(NamedTuple):
    """The corpus by name only.

    Attributes:
        root: its folder.
        classes: in the order of their labels; None where they are unknown.
        clips: split -> sorted clip names.
    """

    root: Path
    classes: Optional[list[str]]
    clips: dict[str, list[str]]

    def labels(self, split: str) -> dict[str, Optional[int]]:
        """Clip name -> label, None for a class that is not listed, of all clips of a split."""
        number = {name: i for i, name in enumerate(self.classes or ())}
        return {clip: number.get(class_of(clip)) for clip in self.clips.get(split, ())}


class Clip(NamedTuple):
    """One clip as it was read.

    Attributes:
        name: file name.
        seconds: it lasts; 0 where it cannot be read.
        size: bytes.
        digest: of its samples; of name and length where those were not read; "" where it cannot be read.
        faults: (kind of finding, words) of each.
    """

    name: str
    seconds: float
    size: int
    digest: str
    faults: list[tuple[str, str]]


def list_corpus(root: Path) -> tuple[Corpus, list[Finding]]:
    """Read the names of all clips and the list of classes; what is missing or of no known class is found."""
    if not root.is_dir():
        others = sorted(p.name for p in root.parent.glob("*") if p.is_dir())
        what = f"no such folder; beside it: {', '.join(others) or 'nothing'}"
        return Corpus(root, None, {}), [Finding("corpus-missing", str(root), what)]
    classes: Optional[list[str]] = None
    findings: list[Finding] = []
    try:
        classes, _ = read_classes(root)
    except UserError as error:
        if (root / "classes.json").is_file():  # else it is the missing split that is told
            findings.append(Finding("classes-malformed", str(root / "classes.json"), str(error)))
    clips: dict[str, list[str]] = {}
    for split in SPLITS:
        folder = clip_folder(root, split)
        try:
            clips[split] = clip_names(folder)
        except UserError:
            findings.append(Finding("corpus-missing", str(folder), "no such folder, or no .wav file in it"))
            continue
        if classes is not None:
            unknown = [f"{name}.wav" for name in clips[split] if class_of(name) not in classes]
            what = "of a class that is not listed"
            findings += of_items("clip-class", folder, what, unknown)
    return Corpus(root, classes, clips), findings


def check_clips(folder: Path, names: list[str], samples: bool) -> list[Clip]:
    """Read the clips' headers, and with ``samples`` all that they promise."""
    return [_check_clip(folder / f"{name}.wav", samples) for name in names]


def _check_clip(path: Path, samples: bool) -> Clip:
    try:
        header = read_wav_header(path, "")
        data = read_wav(path, "int16", "")[0] if samples else None
    except BrokenWav as error:
        return Clip(path.name, 0.0, 0, "", [("clip-unreadable", error.fault)])
    faults = []
    if header.rate != RATE:
        faults.append(("clip-rate", f"{header.rate} Hz, expected {RATE} Hz"))
    if header.channels != 1:
        faults.append(("clip-channels", f"{header.channels} channels, expected 1"))
    if header.sample_format != "int16":
        faults.append(("clip-coding", f"{header.sample_format} samples, expected int16"))
    if header.frames < header.rate:
        faults.append(("clip-short", "less than one second"))
    elif header.frames < EXPECTED_S * header.rate and path.parent.parent.name == "min20s_clips":
        faults.append(("clip-below-20s", f"less than {EXPECTED_S} s"))
    if data is None:
        digest = f"{path.name} {header.frames}"
    else:
        digest = hashlib.blake2b(np.ascontiguousarray(data).data, digest_size=16).hexdigest()
        # floats read as integers are nearly all 0, silent or not
        if header.sample_format == "int16" and not data.any():
            faults.append(("clip-silent", "zero throughout"))
    return Clip(path.name, header.frames / header.rate, header.size, digest, faults)


def judge_clips(folder: Path, clips: list[Clip]) -> list[Finding]:
    """Turn what :func:`check_clips` returned of a split into findings."""
    by_words: dict[tuple[str, str], list[str]] = {}
    for clip in clips:
        for fault in clip.faults:
            by_words.setdefault(fault, []).append(clip.name)
    return [
        finding
        for (kind, words), names in sorted(by_words.items())
        for finding in of_items(kind, folder, words, names)
    ]


def shared_clips(root: Path, clips: dict[str, list[Clip]]) -> list[Finding]:
    """Find the clips of a split that an earlier split holds too, by their samples where those were read."""
    first: dict[str, str] = {}
    findings: list[Finding] = []
    for split, found in clips.items():
        again: dict[str, list[str]] = {}
        for clip in found:
            # silence is no sound that two splits could share, and is a fault of its own
            if clip.digest and not any(kind == "clip-silent" for kind, _ in clip.faults):
                earlier = first.setdefault(clip.digest, split)
                if earlier != split:
                    again.setdefault(earlier, []).append(clip.name)
        for earlier, names in again.items():
            findings += of_items("clip-shared", clip_folder(root, split), f"also in split {earlier}", names)
    return findings


def sounds_split(split: str) -> str:
    """Return the split of the corpus that the episodes of an active split play.

    ``valUnheard*`` and ``testUnheard*`` have sounds of their own, all others those of training.
    """
    return next((name for name in SPLITS[1:] if split.startswith(name)), SPLITS[0])
