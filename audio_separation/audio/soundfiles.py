"""Sound files of any rate and number of channels, as mono."""

from __future__ import annotations

from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from audio_separation.errors import UserError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
UNREADABLE = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".opus", ".amr", ".ac3")  # sound, but not for us


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    """The mean of a file's channels, float32 ``[L]``, and its rate in Hz.

    Raises:
        UserError: for a file that is missing, cannot be decoded, or holds samples that are not numbers.
    """
    if path.suffix.lower() in UNREADABLE:
        raise UserError(f"{path}: cannot decode {path.suffix}; convert it to one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; give the path of a recording")
    try:
        channels, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(f"{path}: cannot be decoded ({error})") from None
    if not np.isfinite(channels).all():
        raise UserError(f"{path}: holds samples that are not numbers")
    return channels.mean(axis=1), rate_hz


def resample(wave: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """``wave`` ``[L]`` at another rate (polyphase filter)."""
    if from_hz == to_hz or not len(wave):
        return wave
    common = gcd(from_hz, to_hz)
    return resample_poly(wave, to_hz // common, from_hz // common)
