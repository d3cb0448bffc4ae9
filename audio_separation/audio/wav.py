"""Reading WAV files with every way that they can be broken told apart.

libsndfile shortens a truncated file without a word, so the chunks are walked here first.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

from audio_separation.errors import UserError

_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what streaming writers leave in the data chunk's size


def _find_fault(path: Path) -> str:
    """Say what keeps ``path`` from being a RIFF/WAVE file whose data chunk is all there; "" where nothing."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size == 0:
        return "is empty (0 bytes), expected a WAV file"
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return "is not a WAV file (no RIFF/WAVE header)"
        while True:
            chunk = file.read(8)
            if len(chunk) < 8:
                return "is truncated (it ends before its data chunk)"
            name, length = struct.unpack("<4sI", chunk)
            left = size - file.tell()
            if name == b"data":
                if length not in _UNKNOWN_SIZES and length > left:
                    return f"is truncated (its header promises {length} bytes of samples, {left} are there)"
                return ""
            file.seek(length + length % 2, 1)


def read_wav(path: Path, dtype: str, cure: str) -> tuple[np.ndarray, int, str]:
    """Read ``path`` -> (samples ``[L, C]`` of ``dtype``, rate in Hz, libsndfile's name of the sample format).

    ``cure`` ends the error's sentence: what the user should do about such a file.

    Raises:
        UserError: missing, empty, not a WAV file, truncated, corrupt, or without a sample.
    """
    fault = _find_fault(path)
    if fault:
        raise UserError(f"{path} {fault}: {cure}")
    try:
        with soundfile.SoundFile(str(path)) as file:
            samples = file.read(dtype=dtype, always_2d=True)
            rate, subtype = file.samplerate, file.subtype
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is corrupt ({error}): {cure}") from None
    if samples.shape[0] == 0:
        raise UserError(f"{path} is empty, it holds no sample: {cure}")
    return samples, rate, subtype
