"""The synthetic corpus: 40 speakers, music and environmental noise, from a seed, nothing to download.

The same seed and preset give the same bytes, on however many cores and after however many interruptions.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Union

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
    to_int16,
    write_classes,
    write_clip,
    write_json,
)
from audio_separation.scenes.generate.music import render_music
from audio_separation.scenes.generate.noise import KINDS, render_noise
from audio_separation.scenes.generate.speech import Speaker, draw_speakers, find_espeak, synthesise

_PROVENANCE = {
    "speech": "synthesised with eSpeak NG 1.52 (package espeakng-loader), sentences by our own grammar",
    "music": "synthesised with numpy and scipy by audio_separation.scenes.generate.music",
    "esc": "synthesised with numpy and scipy by audio_separation.scenes.generate.noise",
    "licence": (
        "eSpeak NG is licensed under GPL-3.0-or-later; that licence covers the program, not the speech that "
        "it outputs. Nothing in this corpus is a recording of a person or of a work."
    ),
}


@dataclass(frozen=True)
class Preset:
    """Sizes of a corpus; clips are counted (train, valUnheard, testUnheard) for one class."""

    speakers: int
    clip_seconds: int
    speech_clips: tuple[int, int, int]
    other_clips: tuple[int, int, int]


PRESETS = {
    "mini": Preset(40, 20, (3, 1, 1), (8, 2, 2)),  # 224 clips, 143 MB
    "small": Preset(40, 30, (4, 2, 2), (12, 4, 4)),  # 360 clips, 346 MB
}


class _ClipJob(NamedTuple):
    split: str
    name: str  # <class>_<id>
    speaker: Optional[Speaker]  # None: music or noise
    noise_kind: str  # "": music, unless there is a speaker


def _clip_rng(seed: int, name: str) -> np.random.Generator:
    """A stream of its own for each clip, so that order and number of processes do not matter."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _plan(preset: Preset, seed: int) -> tuple[list[Speaker], list[_ClipJob]]:
    speakers = draw_speakers(_clip_rng(seed, "speakers"), preset.speakers)
    order = _clip_rng(seed, "noise kinds").permutation(sorted(KINDS))
    jobs = []
    for speaker in speakers:
        for split, name in _clip_names(speaker.name, preset.speech_clips):
            jobs.append(_ClipJob(split, name, speaker, ""))
    for split, name in _clip_names("music", preset.other_clips):
        jobs.append(_ClipJob(split, name, None, ""))
    for i, (split, name) in enumerate(_clip_names("esc", preset.other_clips)):
        jobs.append(_ClipJob(split, name, None, str(order[i % len(order)])))
    return speakers, jobs


def _clip_names(class_name: str, counts: tuple[int, int, int]) -> list[tuple[str, str]]:
    splits = [split for split, count in zip(SPLITS, counts) for _ in range(count)]
    return [(split, f"{class_name}_{i:03d}") for i, split in enumerate(splits)]


def _make_clip(root: Path, job: _ClipJob, seed: int, seconds: int, chunks: bool) -> None:
    if clip_exists(root, job.split, job.name, chunks):
        return
    rng = _clip_rng(seed, job.name)
    if job.speaker is not None:
        samples = synthesise(job.speaker, rng, seconds)
    elif job.noise_kind:
        samples = render_noise(job.noise_kind, rng, seconds)
    else:
        samples = render_music(rng, seconds)
    write_clip(root, job.split, job.name, to_int16(fade_edges(normalise_level(samples))), chunks)


def generate_corpus(
    root: Path, seed: int, preset: Union[str, Preset], jobs: int, chunks: bool = False, progress: bool = True
) -> None:
    """Write a synthetic corpus to ``root`` (``data/audio_data/<corpus>``), or finish one begun earlier.

    ``preset`` is ``mini``, ``small`` or a ``Preset``; ``jobs`` processes (-1: all cores), or whatever joblib
    backend is active. Chunks of one second double the disk space and only serve tools of the published
    system, hence off by default. Raises UserError for an unknown preset, a folder that holds something
    else, or a missing eSpeak NG.
    """
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise UserError(f"unknown corpus preset {preset!r}; choose one of {', '.join(sorted(PRESETS))}")
        preset = PRESETS[preset]
    if preset.clip_seconds < MIN_CLIP_SECONDS:
        raise UserError(f"clip_seconds is {preset.clip_seconds}, expected {MIN_CLIP_SECONDS} or more")
    if preset.speakers:
        find_espeak()  # before a worker process trips over it
    root = Path(root)
    settings = {"generator": "synthetic", "version": FORMAT_VERSION, "seed": seed, **asdict(preset)}
    claim_corpus(root, settings)
    speakers, clip_jobs = _plan(preset, seed)
    bar = tqdm(clip_jobs, desc="corpus", unit="clip", disable=not progress)
    Parallel(n_jobs=jobs)(delayed(_make_clip)(root, job, seed, preset.clip_seconds, chunks) for job in bar)
    write_classes(root, [*(s.name for s in speakers), "music", "esc"], ["esc"])
    clips = [{"name": j.name, "split": j.split, "noise": j.noise_kind} for j in clip_jobs if j.noise_kind]
    write_json(
        root / "corpus.json",
        {
            "settings": settings,
            "rate_hz": RATE_HZ,
            "active_rms": ACTIVE_RMS,
            "provenance": _PROVENANCE,
            "speakers": [asdict(speaker) for speaker in speakers],
            "noise_clips": clips,
        },
    )
