"""Reading sound files as mono and bringing them to another rate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audio_separation.audio.soundfiles import UNREADABLE, read_mono, resample
from audio_separation.errors import UserError


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_the_mean_of_the_channels(tmp_path, suffix):
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 300))
    path = tmp_path / f"two{suffix}"
    soundfile.write(path, np.stack([left, right], -1), 22050, subtype="PCM_24")
    wave, rate_hz = read_mono(path)
    assert rate_hz == 22050 and wave.dtype == np.float32 and wave.shape == (300,)
    np.testing.assert_allclose(wave, (left + right) / 2, atol=1e-6)


def test_an_ogg_is_read(tmp_path):
    path = tmp_path / "tone.ogg"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000), 16000)
    wave, rate_hz = read_mono(path)
    assert (len(wave), rate_hz) == (16000, 16000) and np.abs(np.fft.rfft(wave)).argmax() == 440


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 16000), (8000, 22050)])
def test_resampling_keeps_a_tone(from_hz, to_hz):
    wave = np.sin(2 * np.pi * 1000 * np.arange(from_hz) / from_hz).astype(np.float32)
    there = resample(wave, from_hz, to_hz)
    assert len(there) == to_hz
    amplitudes = 2 * np.abs(np.fft.rfft(there)) / to_hz
    assert amplitudes.argmax() == 1000 and amplitudes[1000] == pytest.approx(1, abs=0.01)


def test_what_lies_above_half_of_the_new_rate_is_removed():
    wave = np.sin(2 * np.pi * 12000 * np.arange(44100) / 44100)
    assert np.abs(resample(wave, 44100, 16000)[200:-200]).max() < 0.01


def test_the_same_rate_and_no_sound_are_left_alone():
    wave = np.ones(7, np.float32)
    assert resample(wave, 8000, 8000) is wave
    assert len(resample(np.zeros(0, np.float32), 8000, 16000)) == 0


@pytest.mark.parametrize("suffix", UNREADABLE)
def test_formats_that_are_not_decoded(tmp_path, suffix):
    with pytest.raises(UserError, match=rf"cannot decode {suffix}; convert it to one of .wav, .flac"):
        read_mono(tmp_path / f"song{suffix}")


def test_broken_and_missing_files(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF, but not really")
    with pytest.raises(UserError, match=r"broken\.wav: cannot be decoded"):
        read_mono(broken)
    with pytest.raises(UserError, match=r"gone\.wav: there is no such file"):
        read_mono(tmp_path / "gone.wav")
    with pytest.raises(UserError, match=r"folder\.wav: there is no such file"):
        (tmp_path / "folder.wav").mkdir()
        read_mono(tmp_path / "folder.wav")


def test_samples_that_are_no_numbers(tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0, np.nan, 0.5], np.float32), 8000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"nan\.wav: holds samples that are not numbers"):
        read_mono(path)
