"""Perceptual descriptors of sound, frame by frame: one code path for tables, corpora and live playing.

Column names and categories are those of the published system (Madaghiele and Fasciani, AIMC 2024), which computes them
with FluCoMa; ``pitch`` is ours. Nothing is centred, padded or carried over: row n depends on samples n hop to
n hop + window alone, so a stream cut into blocks has the rows of the whole.

=================  ==========================================================================================
loudness-dBFS      K-weighted loudness, LKFS (:mod:`audio_separation.audio.loudness`), at least -100
loudness-TP        true peak, dB re full scale, at least -100
loudness-dB        the published name of an amplitude: ``10^(loudness-dBFS / 20)``, 0 at -100 (Pure Data's dbtorms)
mfcc-0 ... 12      of 40 mel bands, at least -100 dB and at most 80 dB below the loudest
chroma-A ... G#    pitch classes, the largest 1; all 0 in silence
specshape-*        centroid, spread (Hz), skewness, kurtosis, rolloff at 95 % of the power (Hz), flatness, crest (dB)
sinefeature*       frequencies (Hz) and amplitudes of the 10 highest spectral peaks; zeros where there are fewer
pitch-*            Hz, 0 where there is none; confidence in [0, 1]
=================  ==========================================================================================

Every value is finite for finite samples; the modules state the floors.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache
from typing import Iterable

import numpy as np
from scipy import fft

from audio_separation.audio.loudness import FLOOR_DB, loudness_db, true_peaks_db
from audio_separation.audio.pitch import pitch_hz
from audio_separation.audio.spectral_features import (
    COEFFICIENTS,
    PEAKS,
    mfcc_and_chroma,
    sine_peaks,
    spectral_shape,
)
from audio_separation.errors import UserError

WINDOW, HOP = 1024, 512
LEAST_WINDOW = 256  # below, most mel bands and pitch classes are narrower than a bin

PITCH_CLASSES = ("A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#")
SHAPES = ("centroid", "spread", "skewness", "kurtosis", "rolloff", "flatness", "crest")
_PARTS = {
    "loudness": ("dBFS", "TP", "dB"),
    "mfcc": tuple(range(COEFFICIENTS)),
    "chroma": PITCH_CLASSES,
    "specshape": SHAPES,
    "sinefeaturefreqs": tuple(range(PEAKS)),
    "sinefeaturemags": tuple(range(PEAKS)),
    "pitch": ("Hz", "confidence"),
}
CATEGORIES: dict[str, tuple[str, ...]] = {
    category: tuple(f"{category}-{part}" for part in parts) for category, parts in _PARTS.items()
}
NAMES: tuple[str, ...] = tuple(name for names in CATEGORIES.values() for name in names)
CATEGORIES["all"] = NAMES
PUBLISHED: tuple[str, ...] = tuple(name for name in NAMES if name not in CATEGORIES["pitch"])

_BLOCK_FRAMES = 256  # described at once: bounds the memory


def expand(names: Iterable[str], where: str) -> list[str]:
    """Columns that ``names`` select: categories become their columns; each once, in the order of ``NAMES``.

    Args:
        names: of columns and categories.
        where: what lists them, for the error.

    Raises:
        UserError: for an unknown name.
    """
    wanted: set[str] = set()
    for name in names:
        if name in CATEGORIES:
            wanted.update(CATEGORIES[name])
        elif name in NAMES:
            wanted.add(name)
        else:
            near = get_close_matches(str(name), [*CATEGORIES, *NAMES], n=3, cutoff=0.5)
            likely = f"did you mean {' or '.join(near)}" if near else "no name is near it"
            raise UserError(
                f"{where} names the descriptor {name!r}, which is unknown ({likely}); use columns such as mfcc-0 or "
                f"the categories {', '.join(CATEGORIES)}"
            )
    return [name for name in NAMES if name in wanted]


def columns(names: Iterable[str]) -> np.ndarray:
    """Places of the columns that ``names`` select (:func:`expand`) in what :func:`describe` gives."""
    return np.array([NAMES.index(name) for name in expand(names, "a list of descriptors")], int)


def check_analysis(rate_hz: int, window: int, hop: int) -> None:
    """Refuse settings that frames cannot be described with.

    Raises:
        UserError: that names the setting.
    """
    if window < LEAST_WINDOW or window % 2:
        raise UserError(
            f"the analysis window must be an even number of {LEAST_WINDOW} samples or more, found {window}; "
            f"{WINDOW} is a good one"
        )
    if not 1 <= hop <= window:
        raise UserError(
            f"the analysis hop must lie between 1 and the window's {window} samples, found {hop}; take half the window"
        )
    if rate_hz < 8000:
        raise UserError(f"the rate of analysed sound must be 8000 Hz or more, found {rate_hz}; resample it")


def num_frames(length: int, window: int = WINDOW, hop: int = HOP) -> int:
    """Frames of a sound of ``length`` samples: whole ones, at least one."""
    return 1 + max(0, length - window) // hop


def describe(wave: np.ndarray, rate_hz: int, window: int = WINDOW, hop: int = HOP) -> np.ndarray:
    """Descriptors of a mono sound ``[L]``: float64 ``[N, D]``, columns ``NAMES``.

    N is ``1 + (L - window) // hop``; a sound shorter than the window is filled up with zeros.

    Args:
        wave: finite samples, 1 is full scale.
        rate_hz: of the sound.
        window: samples of a frame, even, 256 or more.
        hop: samples from frame to frame.

    Raises:
        UserError: for other settings, or samples that are not finite numbers.
    """
    check_analysis(rate_hz, window, hop)
    wave = np.asarray(wave, np.float64)
    if wave.ndim != 1 or not np.isfinite(wave).all():
        found = f"an array of shape {wave.shape}" if wave.ndim != 1 else "samples that are not"
        raise UserError(
            f"sound to be described must be finite numbers [L], found {found}; check where it is from"
        )
    if len(wave) < window:
        wave = np.concatenate([wave, np.zeros(window - len(wave))])
    count = num_frames(len(wave), window, hop)
    blocks = []
    for first in range(0, count, _BLOCK_FRAMES):
        last = min(first + _BLOCK_FRAMES, count) - 1
        blocks.append(_describe_block(wave[first * hop : last * hop + window], rate_hz, window, hop))
    return np.concatenate(blocks)


@lru_cache(maxsize=8)
def _hann(window: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


def _describe_block(wave: np.ndarray, rate_hz: int, window: int, hop: int) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]  # [N, window]
    transform = fft.rfft(frames * _hann(window))
    spectra = transform.real**2 + transform.imag**2
    scale = (4 / window) ** 2  # a sine of amplitude a has a window / 4 on its bin
    levels = scale * spectra
    loud_db = loudness_db(spectra, rate_hz, window)
    amplitude = np.where(loud_db > FLOOR_DB, 10 ** (loud_db / 20), 0.0)
    mfcc, chroma = mfcc_and_chroma(spectra, scale, rate_hz, window)
    freqs, mags = sine_peaks(levels, rate_hz / window)
    pitch, confidence = pitch_hz(frames, rate_hz)
    parts = [
        np.stack([loud_db, true_peaks_db(wave, window, hop), amplitude], -1),
        mfcc,
        chroma,
        spectral_shape(levels, rate_hz / window),
        freqs,
        mags,
        np.stack([pitch, confidence], -1),
    ]
    return np.concatenate(parts, -1)
