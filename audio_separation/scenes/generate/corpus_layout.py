"""The audio corpus on disk (DESIGN section 3): level, WAV files, chunks, splits, classes.json, corpus.json.

Shared by the synthetic corpus (``corpus.py``) and by ``scripts/prepare_audio.py``. Free of torch, so that
worker processes start fast.
"""

from __future__ import annotations

import json
import os
import wave
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from audio_separation.errors import UserError

RATE_HZ = 16000
SPLITS = ("train", "valUnheard", "testUnheard")  # train = the heard sounds
MIN_CLIP_SECONDS = 20
ACTIVE_RMS = 0.05  # -26 dB of full scale
PEAK_LIMIT = 0.98
FORMAT_VERSION = 1

_FRAME = 400  # 25 ms: shorter than a syllable, longer than a pitch period
_ACTIVE_DB = -30.0  # frames this far below the loudest are pauses
_SILENCE_RMS = 1e-4  # -80 dB: below that a recording holds no sound worth scaling up
_EDGE = 80  # 5 ms fade at both ends, so that a clip loops without a click


def active_rms(samples: np.ndarray) -> float:
    """RMS over the 25 ms frames of ``samples [L]`` within 30 dB of the loudest; 0 for no samples."""
    whole = len(samples) // _FRAME * _FRAME
    frames = samples[:whole].reshape(-1, _FRAME) if whole else samples.reshape(1, -1)
    if frames.size == 0:
        return 0.0
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= power.max() * 10 ** (_ACTIVE_DB / 10)].mean()))


def is_silent(samples: np.ndarray) -> bool:
    """True when even the active frames lie below -80 dB of full scale."""
    return active_rms(samples) < _SILENCE_RMS


def normalise_level(samples: np.ndarray, rms: float = ACTIVE_RMS, peak: float = PEAK_LIMIT) -> np.ndarray:
    """``samples [L]`` scaled to active RMS ``rms``; scaled down further where the peak would exceed ``peak``.

    Never distorts: one factor for the whole recording. Raises ValueError for silence.
    """
    if is_silent(samples):
        raise ValueError("silence cannot be brought to a level")
    gain = min(rms / active_rms(samples), peak / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def fade_edges(samples: np.ndarray) -> np.ndarray:
    """A copy of ``samples [L]`` with 5 ms raised-cosine fades at both ends."""
    faded = np.array(samples, dtype=np.float32)
    length = min(_EDGE, len(faded) // 2)
    ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / _EDGE)).astype(np.float32)
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def to_int16(samples: np.ndarray) -> np.ndarray:
    """``samples [L]`` in [-1, 1] as int16 = round(32768 x); raises ValueError when they would clip."""
    scaled = np.round(np.asarray(samples, dtype=np.float64) * 32768)
    if len(scaled) and (scaled.min() < -32768 or scaled.max() > 32767):
        raise ValueError(f"samples reach {np.abs(scaled).max() / 32768:.3f} of full scale and would clip")
    return scaled.astype(np.int16)


def clip_path(root: Path, split: str, name: str) -> Path:
    """``root/min20s_clips/<split>_preprocessed/<name>.wav``."""
    return root / "min20s_clips" / f"{split}_preprocessed" / f"{name}.wav"


def chunk_path(root: Path, split: str, name: str, second: int) -> Path:
    """``root/1s_chunks/<split>_preprocessed/<name>_<second>.wav``."""
    return root / "1s_chunks" / f"{split}_preprocessed" / f"{name}_{second}.wav"


def write_clip(root: Path, split: str, name: str, samples: np.ndarray, chunks: bool) -> None:
    """Write the clip ``samples`` (int16 ``[L]``, whole seconds, at least 20) and, if asked, its 1 s chunks.

    The clip appears last and at once (temporary file, renamed): a clip that exists is complete.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"{name}: expected int16 [L], got {samples.dtype} {list(samples.shape)}")
    seconds, rest = divmod(len(samples), RATE_HZ)
    if rest or seconds < MIN_CLIP_SECONDS:
        raise ValueError(
            f"{name}: expected whole seconds, at least {MIN_CLIP_SECONDS}, got {len(samples)} samples"
        )
    if chunks:
        for second in range(seconds):
            _write_wav(
                chunk_path(root, split, name, second), samples[second * RATE_HZ : (second + 1) * RATE_HZ]
            )
    _write_wav(clip_path(root, split, name), samples)


def clip_exists(root: Path, split: str, name: str, chunks: bool) -> bool:
    """Whether an earlier run wrote the clip and, if asked, its chunks (which are written before it)."""
    return clip_path(root, split, name).exists() and (not chunks or chunk_path(root, split, name, 0).exists())


def _write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with wave.open(str(partial), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(samples.astype("<i2").tobytes())
    os.replace(partial, path)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` to ``path`` at once (temporary file, renamed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def write_classes(root: Path, classes: Sequence[str], distractor_only: Sequence[str]) -> None:
    """``root/classes.json``: label order, the classes that are only ever distractors last."""
    targets = [name for name in classes if name not in distractor_only]
    last = [name for name in classes if name in distractor_only]
    write_json(root / "classes.json", {"classes": targets + last, "distractor_only": last})


def claim_corpus(root: Path, settings: dict[str, Any]) -> None:
    """Mark ``root`` as the corpus that ``settings`` describe, or check that it already is.

    ``root/settings.json`` is written first, so an interrupted run is taken up again only by the same
    settings. Raises UserError when ``root`` holds another corpus or foreign files.
    """
    marker = root / "settings.json"
    settings = json.loads(json.dumps(settings))
    if not marker.exists():
        if root.is_dir() and any(root.iterdir()):
            raise UserError(
                f"{root} is not empty and holds no corpus of ours (no settings.json); choose another folder"
            )
        write_json(marker, settings)
        return
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{marker} is not JSON; delete {root} to make the corpus anew") from None
    if found != settings:
        keys = sorted(k for k in {*found, *settings} if found.get(k) != settings.get(k))
        differing = ", ".join(
            f"{k} (found {_short(found.get(k))}, asked {_short(settings.get(k))})" for k in keys
        )
        raise UserError(
            f"{root} holds a corpus made with other settings: {differing}; "
            "choose another folder or delete that one"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def split_recordings(
    seconds: Mapping[str, float],
    rng: np.random.Generator,
    val_fraction: float = 0.15,
    test_fraction: float = 0.2,
) -> dict[str, list[str]]:
    """Recordings (name -> duration) dealt to the splits at random; no recording is in two splits.

    The unheard splits take recordings until they hold their fraction of the total duration, at least one
    each; the longest recording always goes to ``train``. Raises ValueError for fewer than three recordings.
    """
    if len(seconds) < len(SPLITS):
        raise ValueError(f"{len(seconds)} recordings cannot fill {len(SPLITS)} splits")
    longest = max(sorted(seconds), key=lambda name: seconds[name])
    others = sorted(set(seconds) - {longest})
    waiting = [others[i] for i in rng.permutation(len(others))]
    total_s = sum(seconds.values())
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, fraction, reserved in (("testUnheard", test_fraction, 1), ("valUnheard", val_fraction, 0)):
        held_s = 0.0
        while len(waiting) > reserved and (not dealt[split] or held_s < fraction * total_s):
            dealt[split].append(waiting.pop())
            held_s += seconds[dealt[split][-1]]
    dealt["train"] = [longest, *waiting]
    return dealt
