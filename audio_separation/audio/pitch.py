"""Pitch of frames by YIN (de Cheveigne and Kawahara, 2002), each frame for itself.

librosa's YIN compares a frame's end with zeros beyond it, which lets periods of a tenth of a frame and more pass for
noise, and keeps its confidence to itself. Here only pairs of samples inside the frame are compared, and the mean over
the pairs is taken.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

MAX_HZ = 5000.0
THRESHOLD = 0.15  # of the normalised difference: a deeper trough is a period
FLOOR = 1e-10  # mean square difference that counts as none: silence has no pitch


def normalised_difference(frames: np.ndarray, max_lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared difference and YIN's cumulative-mean-normalised one, at lags 0 to ``max_lag``: two ``[N, lags]``.

    Args:
        frames: float64 ``[N, L]``.
        max_lag: below L.
    """
    length = frames.shape[-1]
    lags = np.arange(max_lag + 1)
    size = fft.next_fast_len(length + max_lag, real=True)
    spectra = fft.rfft(frames, size)
    correlation = fft.irfft(spectra.real**2 + spectra.imag**2, size)[:, : max_lag + 1]
    energy = np.cumsum(np.square(frames), -1)
    head = energy[:, length - 1 - lags]  # of the samples that have a partner to their right ...
    tail = energy[:, -1:] - np.concatenate(
        [np.zeros((len(frames), 1)), energy[:, :max_lag]], -1
    )  # ... and left
    difference = np.maximum(head + tail - 2 * correlation, 0.0) / (length - lags)
    mean = np.cumsum(difference[:, 1:], -1) / lags[1:]
    normalised = np.ones_like(difference)
    normalised[:, 1:] = (difference[:, 1:] + FLOOR) / (mean + FLOOR)
    return difference, normalised


def pitch_hz(frames: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz ``[N]``, 0 where there is none, and confidence in [0, 1] ``[N]``.

    Found are periods up to half a frame: from ``2 rate / L`` to ``MAX_HZ``. The confidence is 1 minus the normalised
    difference at the period, or at its minimum where no period is found.

    Args:
        frames: float64 ``[N, L]``.
        rate_hz: of the sound.
    """
    max_lag = frames.shape[-1] // 2
    least = max(2, int(rate_hz / MAX_HZ))
    difference, normalised = normalised_difference(frames, max_lag + 1)
    inner = normalised[:, least : max_lag + 1]
    before, after = normalised[:, least - 1 : max_lag], normalised[:, least + 1 : max_lag + 2]
    troughs = (inner <= before) & (inner < after) & (inner < THRESHOLD)
    found = troughs.any(-1)
    best = np.where(found, troughs.argmax(-1), inner.argmin(-1))
    rows, lag = np.arange(len(frames)), best + least
    confidence = np.clip(1 - inner[rows, best], 0.0, 1.0)
    # vertex of the parabola through the difference at the trough and beside it
    left, middle, right = (difference[rows, lag + step] for step in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = 0.5 * (left - right) / np.where(curvature > 0, curvature, np.inf)
    return np.where(found, rate_hz / (lag + np.clip(shift, -1, 1)), 0.0), confidence
