"""Steps, their low-pass filtering, and how far two signals are from each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import butter, sosfiltfilt


def make_step(length: int, at: float, before: float, after: float) -> np.ndarray:
    """A step ``[L]``, float64.

    Args:
        length: samples L.
        at: where it steps, as a fraction of the length.
        before, after: its two levels.
    """
    return np.where(np.arange(length) < at * length, float(before), float(after))


def low_pass(signal: np.ndarray, cutoff_hz: float, rate_hz: float, order: int) -> np.ndarray:
    """Filter forwards and backwards with a Butterworth filter, whose phase thereby cancels.

    Second-order sections: the coefficients of the whole polynomial lose all their digits at low cutoffs.

    Args:
        signal: ``[..., L]``; L above :func:`least_length`.
        cutoff_hz: where each of the two passes loses 3 dB; below half of ``rate_hz``.

    Returns:
        float64 ``[..., L]``.
    """
    return sosfiltfilt(butter(order, cutoff_hz, output="sos", fs=rate_hz), signal)


def least_length(order: int) -> int:
    """Samples that a signal must exceed to be filtered: scipy continues it at both ends by so many, or fewer."""
    return 3 * (2 * ((order + 1) // 2) + 1)


def point_indices(length: int, count: int) -> np.ndarray:
    """Samples ``[count]`` in the middle of as many equal parts of ``length`` samples."""
    return ((np.arange(count) + 0.5) * length / count).astype(int)


def rms_distance(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Root of the mean squared difference over the last axis: ``[..., G]``, ``[..., G]`` -> float64 ``[...]``."""
    return np.sqrt(np.mean(np.square(np.subtract(a, b, dtype=np.float64)), axis=-1))
