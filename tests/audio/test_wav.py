from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from audio_separation.audio.wav import BrokenWav, read_wav, read_wav_header


@pytest.mark.parametrize(
    "subtype, name", [("PCM_16", "int16"), ("PCM_24", "int24"), ("FLOAT", "float32"), ("DOUBLE", "float64")]
)
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_header_agrees_with_libsndfile(tmp_path: Path, subtype: str, name: str, container: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((123, 2)), 44100, subtype, format=container)
    header = read_wav_header(path, "")
    assert header == (44100, 2, name, 123, path.stat().st_size)
    samples, rate, found = read_wav(path, "float32", "")
    assert (samples.shape, rate, found) == ((123, 2), 44100, subtype)


def test_chunks_before_the_samples_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 16000, np.arange(10, dtype=np.int16))
    data = path.read_bytes()
    at = data.index(b"data")
    # one of odd length, with its padding, and one larger than what is read at once
    odd = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    path.write_bytes(data[:at] + odd + b"junk" + struct.pack("<I", 10000) + bytes(10000) + data[at:])
    assert read_wav_header(path, "").frames == 10
    assert read_wav(path, "int16", "")[0][:, 0].tolist() == list(range(10))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_streamed_files_have_what_is_there(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 16000, np.zeros((10, 2), np.float32))
    data = path.read_bytes()
    at = data.index(b"data") + 4
    path.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
    assert read_wav_header(path, "").frames == 10


def cut(data: bytes, keep: int) -> bytes:
    return data[: data.index(b"data") + keep]


@pytest.mark.parametrize(
    "spoil, kind, words",
    [
        (lambda data: b"", "empty", "is empty (0 bytes)"),
        (lambda data: cut(data, 4) + bytes(4), "empty", "it holds no sample"),
        (lambda data: b"RIFX" + data[4:], "not_wav", "no RIFF/WAVE header"),
        (lambda data: data[:8], "not_wav", "no RIFF/WAVE header"),
        (lambda data: cut(data, 3), "truncated", "ends before its data chunk"),
        (lambda data: cut(data, 11), "truncated", "promises 20 bytes of samples, 3 are there"),
        (lambda data: data[:12] + data[data.index(b"data") :], "corrupt", "no description of its samples"),
    ],
)
def test_faults(tmp_path: Path, spoil: object, kind: str, words: str) -> None:
    path = tmp_path / "a.wav"
    wavfile.write(path, 16000, np.arange(10, dtype=np.int16))
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    for read in (lambda: read_wav_header(path, "get it"), lambda: read_wav(path, "int16", "get it")):
        with pytest.raises(BrokenWav) as caught:
            read()
        assert caught.value.kind == kind and words in caught.value.fault
        assert str(caught.value) == f"{path} {caught.value.fault}: get it"


def test_missing_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path, tmp_path / "none" / "a.wav"):
        with pytest.raises(BrokenWav, match="is missing: get it") as caught:
            read_wav_header(path, "get it")
        assert caught.value.kind == "missing"


def test_errors_travel_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BrokenWav.of_file(Path("a.wav"), "empty", "is empty", "get it")))
    assert (str(error), error.kind, error.fault) == ("a.wav is empty: get it", "empty", "is empty")
