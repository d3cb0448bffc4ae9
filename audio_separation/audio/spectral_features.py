"""Descriptors of power spectra: mel-frequency cepstrum, chroma, shape, spectral peaks.

Power spectra ``[N, F]`` are of frames under a periodic Hann window. ``levels`` are such spectra scaled so that a sine
of amplitude 1 on a bin has 1 there; ``mfcc`` alone takes plain ``|rfft|^2``, as librosa does.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from scipy import fft, sparse

MELS, COEFFICIENTS = 40, 13
MEL_FLOOR = 1e-10  # power of a mel band that counts as silence ...
MEL_RANGE_DB = 80.0  # ... as does what lies so far below the frame's loudest band: both as librosa has it
LEVEL_FLOOR = 1e-12  # -120 dB re a full-scale sine: below what 24 bits hold
ROLLOFF = 0.95  # share of the power
PEAKS = 10
PEAK_FLOOR = 1e-5  # amplitude of a spectral peak that counts as none


@lru_cache(maxsize=8)
def _filters(rate_hz: int, window: int) -> sparse.csr_array:
    """Mel and chroma filters, ``[MELS + 12, F]``; sparse, so that sums have the same order for any number of frames."""
    # loaded with the first sound: its import takes a second
    from librosa import filters

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bands narrower than a bin, which stay empty
        mel = filters.mel(sr=rate_hz, n_fft=window, n_mels=MELS, dtype=np.float64)
    chroma = filters.chroma(sr=rate_hz, n_fft=window, base_c=False, dtype=np.float64)
    return sparse.csr_array(np.concatenate([mel, chroma]))


def mfcc_and_chroma(
    spectra: np.ndarray, scale: float, rate_hz: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mel-frequency cepstral coefficients ``[N, 13]`` and chroma ``[N, 12]`` from A upwards.

    The coefficients are librosa's of each frame alone (40 Slaney bands, orthonormal cosine transform of dB). Chroma is
    the power near each pitch class, weighted to the octaves around 880 Hz as librosa does, over the largest; 0 in
    silence.

    Args:
        spectra: ``|rfft|^2``, ``[N, F]``.
        scale: makes levels of them.
        rate_hz: of the sound.
        window: samples of a frame.
    """
    bands = (_filters(rate_hz, window) @ np.ascontiguousarray(spectra.T)).T
    mel_db = 10 * np.log10(np.maximum(bands[:, :MELS], MEL_FLOOR))
    mel_db = np.maximum(mel_db, mel_db.max(-1, keepdims=True) - MEL_RANGE_DB)
    chroma = bands[:, MELS:] * scale
    chroma = chroma / np.maximum(chroma.max(-1, keepdims=True), LEVEL_FLOOR)
    return fft.dct(mel_db, axis=-1, norm="ortho")[:, :COEFFICIENTS], chroma


def spectral_shape(levels: np.ndarray, bin_hz: float) -> np.ndarray:
    """Centroid (Hz), spread (Hz), skewness, kurtosis, rolloff (Hz), flatness (dB) and crest (dB): ``[N, 7]``.

    All of them weight by power: by magnitude, the far side lobes of the window would decide the kurtosis of a sine.
    The rolloff is the frequency below which 95 % of the power lies, each bin's power spread evenly over its width.
    Flatness is the geometric over the arithmetic mean of the bins' power, crest its maximum over its mean. A frame
    below ``LEVEL_FLOOR`` has zeros.

    Args:
        levels: ``[N, F]``.
        bin_hz: from bin to bin.
    """
    total = levels.sum(-1)
    share = levels / np.maximum(total, LEVEL_FLOOR)[:, None]
    bins = np.arange(levels.shape[-1], dtype=float)
    centroid = (share * bins).sum(-1)
    offset = bins - centroid[:, None]
    powers = share * offset**2
    variance = powers.sum(-1)
    powers *= offset
    third = powers.sum(-1)
    powers *= offset
    fourth = powers.sum(-1)
    safe = np.maximum(variance, 1e-9)
    below = np.cumsum(share, -1)
    place = (below < ROLLOFF).sum(-1).clip(max=len(bins) - 1)
    rows = np.arange(len(levels))
    inside = (ROLLOFF - below[rows, place]) / np.maximum(share[rows, place], 1e-30) + 0.5
    rolloff = np.maximum(place + np.clip(inside, -0.5, 0.5), 0.0)
    floored = levels + LEVEL_FLOOR
    mean = floored.mean(-1)
    flatness = 10 * (np.log10(floored).mean(-1) - np.log10(mean))
    crest = 10 * np.log10(floored.max(-1) / mean)
    shape = [
        centroid * bin_hz,
        np.sqrt(variance) * bin_hz,
        third / safe**1.5,
        fourth / safe**2,
        rolloff * bin_hz,
        flatness,
        crest,
    ]
    return np.where((total > LEVEL_FLOOR)[:, None], np.stack(shape, -1), 0.0)


def sine_peaks(levels: np.ndarray, bin_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (Hz) and amplitudes of the 10 highest spectral peaks by frequency: two ``[N, 10]``, zeros at the end.

    Peaks are local maxima above ``PEAK_FLOOR``, refined by the parabola through the log magnitudes beside them.

    Args:
        levels: ``[N, F]``.
        bin_hz: from bin to bin.
    """
    inner = levels[:, 1:-1]
    is_peak = (inner > levels[:, :-2]) & (inner >= levels[:, 2:]) & (inner > PEAK_FLOOR**2)
    heights = np.where(is_peak, inner, 0.0)
    highest = np.sort(np.argpartition(-heights, PEAKS, axis=-1)[:, :PEAKS], -1)
    rows = np.arange(len(levels))[:, None]
    there = heights[rows, highest] > 0
    left, middle, right = (
        0.5 * np.log(np.maximum(levels[rows, highest + 1 + step], 1e-30)) for step in (-1, 0, 1)
    )
    curvature = left - 2 * middle + right
    shift = np.clip(0.5 * (left - right) / np.where(curvature < 0, curvature, -np.inf), -0.5, 0.5)
    freqs = np.where(there, (highest + 1 + shift) * bin_hz, 0.0)
    mags = np.where(there, np.exp(middle - 0.25 * (left - right) * shift), 0.0)
    # those that are there first; a stable sort keeps the order of their frequencies
    order = np.argsort(~there, -1, kind="stable")
    return np.take_along_axis(freqs, order, -1), np.take_along_axis(mags, order, -1)
