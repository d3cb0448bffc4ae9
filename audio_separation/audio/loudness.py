"""Loudness of frames: K weighting and true peak of ITU-R BS.1770-4.

The standard weights with two recursive filters; here their power response weights a frame's power spectrum instead, so
that a frame's loudness depends on nothing before it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import correlate1d
from scipy.signal import firwin, freqz

FLOOR_DB = -100.0  # what is quieter counts as silence
OFFSET_DB = -0.691  # of the standard: makes up for the weighting's gain at 997 Hz

# tables 1 and 2 of the standard: (numerator, denominator) for 48 kHz of the head's shelf and of the high-pass
_STAGES = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)
_STAGES_HZ = 48000

OVERSAMPLING = 4
TAPS = 24  # samples that a point between two samples is interpolated from


def k_weighting(freqs_hz: np.ndarray) -> np.ndarray:
    """Power gain of the K weighting at ``freqs_hz``; above 24 kHz, which the standard does not know, that of 24 kHz."""
    turns = 2 * np.pi * np.minimum(freqs_hz, _STAGES_HZ / 2) / _STAGES_HZ
    gain = np.ones(len(freqs_hz))
    for numerator, denominator in _STAGES:
        gain *= np.abs(freqz(numerator, denominator, worN=turns)[1]) ** 2
    return gain


@lru_cache(maxsize=8)
def _weights(rate_hz: int, window: int) -> np.ndarray:
    """What each bin of a one-sided power spectrum adds to the weighted mean square, ``[F]``."""
    weights = k_weighting(np.fft.rfftfreq(window, 1 / rate_hz))
    weights[1 : (window + 1) // 2] *= 2  # the negative frequencies
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return weights / (window * np.square(hann).sum())


def loudness_db(spectra: np.ndarray, rate_hz: int, window: int) -> np.ndarray:
    """K-weighted loudness in LKFS ``[N]``, at least ``FLOOR_DB``; a full-scale sine of 997 Hz has -3.01.

    A constant offset is not quite unheard, as it should be: Hann's window spreads it to the first bin.

    Args:
        spectra: ``[N, F]``, ``|rfft|^2`` of frames of ``window`` samples under a periodic Hann window.
        rate_hz: of the sound.
        window: samples of a frame.
    """
    # a sum in a fixed order, whatever the number of frames: no BLAS
    mean_square = (spectra * _weights(rate_hz, window)).sum(-1)
    level_db = OFFSET_DB + 10 * np.log10(np.maximum(mean_square, 1e-30))
    return np.maximum(level_db, FLOOR_DB)


@lru_cache(maxsize=1)
def _interpolators() -> np.ndarray:
    """Filters ``[OVERSAMPLING - 1, TAPS]`` for the points at 1/4, 1/2 and 3/4 between the two middle samples."""
    length = OVERSAMPLING * TAPS + 1
    prototype = firwin(length, 1 / OVERSAMPLING, window=("kaiser", 6.0)) * OVERSAMPLING
    phases = [prototype[OVERSAMPLING - p :: OVERSAMPLING][:TAPS] for p in range(1, OVERSAMPLING)]
    return np.array([phase / phase.sum() for phase in phases])


def true_peaks_db(wave: np.ndarray, window: int, hop: int) -> np.ndarray:
    """True peak in dB re full scale of the frames of ``wave`` ``[L]``: ``[N]``, at least ``FLOOR_DB``.

    The largest magnitude of a frame's samples and of the 3 points between two of them. Points are taken only where
    all samples that they are interpolated from lie in the frame: beyond it a sound would seem to break off, and the
    ringing of that break would count.

    Args:
        wave: float64, at least ``window`` samples.
        window: samples of a frame, more than ``TAPS``.
        hop: samples from frame to frame.
    """
    frames = np.lib.stride_tricks.sliding_window_view
    peaks = frames(np.abs(wave), window)[::hop].max(-1)
    between = np.zeros(len(wave))
    for taps in _interpolators():
        np.maximum(between, np.abs(correlate1d(wave, taps, mode="constant")), out=between)
    # correlate1d centres TAPS even taps on the sample right of the middle; the first whole one is at TAPS // 2
    whole = between[TAPS // 2 : len(wave) - TAPS // 2 + 1]
    peaks = np.maximum(peaks, frames(whole, window - TAPS + 1)[::hop].max(-1))
    return np.maximum(20 * np.log10(np.maximum(peaks, 1e-30)), FLOOR_DB)
