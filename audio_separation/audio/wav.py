"""Reading WAV files with every way that they can be broken told apart.

libsndfile shortens a truncated file without a word, so the chunks are walked here first.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from audio_separation.errors import UserError

_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what streaming writers leave in the data chunk's size
_CODINGS = {1: "int", 3: "float"}
_EXTENSIBLE = 0xFFFE  # the coding is told further on
_HEADER_BYTES = 4096  # read at once: the chunks before the samples are small


class BrokenWav(UserError):
    """A file that is no whole WAV file.

    Attributes:
        kind: ``missing``, ``unreadable`` (the system refuses), ``empty``, ``not_wav``, ``truncated``, ``corrupt``.
        fault: what is wrong, as "is empty (0 bytes), expected a WAV file"; the file's name goes before it.
    """

    def __init__(self, message: str, kind: str = "", fault: str = "") -> None:
        super().__init__(message)
        self.kind, self.fault = kind, fault

    @classmethod
    def of_file(cls, path: Path | str, kind: str, fault: str, cure: str) -> BrokenWav:
        """Return the error of a file: "<path> is truncated (...): <cure>"."""
        return cls(f"{path} {fault}: {cure}", kind, fault)


class WavHeader(NamedTuple):
    """What a WAV file says of itself, and its size on disk."""

    rate: int  # Hz
    channels: int
    sample_format: str  # int16, float32, ...
    frames: int  # samples of each channel
    size: int  # bytes of the file


class _Fault(Exception):
    def __init__(self, kind: str, text: str) -> None:
        self.kind, self.text = kind, text


def _walk_chunks(file: BinaryIO) -> WavHeader:
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise _Fault("empty", "is empty (0 bytes), expected a WAV file")
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        raise _Fault("not_wav", "is not a WAV file (no RIFF/WAVE header)")
    rate = channels = frame_bytes = 0
    sample_format = ""
    while True:
        chunk = file.read(8)
        if len(chunk) < 8:
            raise _Fault("truncated", "is truncated (it ends before its data chunk)")
        name, length = struct.unpack("<4sI", chunk)
        begin = file.tell()
        if name == b"fmt " and length >= 16:
            body = file.read(min(length, 26))
            if len(body) >= 16:
                coding, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", body[:16])
                if coding == _EXTENSIBLE and len(body) == 26:
                    (coding,) = struct.unpack("<H", body[24:])
                sample_format = f"{_CODINGS.get(coding, f'coding {coding}, ')}{bits}"
        if name == b"data":
            break
        file.seek(begin + length + length % 2)
    left = size - begin
    if length not in _UNKNOWN_SIZES and length > left:
        raise _Fault(
            "truncated", f"is truncated (its header promises {length} bytes of samples, {left} are there)"
        )
    if not (rate and channels and frame_bytes):
        raise _Fault("corrupt", "is corrupt (no description of its samples before them)")
    stored = left if length in _UNKNOWN_SIZES else length
    if stored < frame_bytes:
        raise _Fault("empty", "is empty, it holds no sample")
    return WavHeader(rate, channels, sample_format, stored // frame_bytes, size)


def read_wav_header(path: Path | str, cure: str) -> WavHeader:
    """Read what the file says of itself and see that all its samples are there; they are not looked at.

    ``cure`` ends the error's sentence: what the user should do about such a file.

    Raises:
        BrokenWav: missing, unreadable, empty, without a sample, not a WAV file, or truncated.
    """
    try:
        with open(path, "rb", buffering=_HEADER_BYTES) as file:
            return _walk_chunks(file)
    except _Fault as fault:
        raise BrokenWav.of_file(path, fault.kind, fault.text, cure) from None
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BrokenWav.of_file(path, "missing", "is missing", cure) from None
    except OSError as error:
        raise BrokenWav.of_file(
            path, "unreadable", f"cannot be read ({error.strerror or error})", cure
        ) from None


def read_wav(path: Path | str, dtype: str, cure: str) -> tuple[np.ndarray, int, str]:
    """Read ``path`` -> (samples ``[L, C]`` of ``dtype``, rate in Hz, libsndfile's name of the sample format).

    Raises:
        BrokenWav: as :func:`read_wav_header`, or corrupt.
    """
    read_wav_header(path, cure)
    try:
        with soundfile.SoundFile(str(path)) as file:
            samples = file.read(dtype=dtype, always_2d=True)
            rate, subtype = file.samplerate, file.subtype
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise BrokenWav.of_file(path, "corrupt", f"is corrupt ({error})", cure) from None
    if samples.shape[0] == 0:
        raise BrokenWav.of_file(path, "empty", "is empty, it holds no sample", cure)
    return samples, rate, subtype
