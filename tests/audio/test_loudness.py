"""K weighting, loudness and true peak against the standard's own figures and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from audio_separation.audio.descriptors import CATEGORIES, columns, describe
from audio_separation.audio.loudness import _STAGES, k_weighting

RATE = 44100


def sine(freq_hz, amplitude=1.0, phase=0.0, seconds=0.2, rate_hz=RATE):
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return amplitude * np.sin(2 * np.pi * freq_hz * time + phase)


def loudness(wave, rate_hz=RATE, **settings):
    return describe(wave, rate_hz, **settings)[:, columns(["loudness"])].T


@pytest.mark.parametrize("rate_hz", [16000, 22050, 44100, 48000, 96000])
def test_a_full_scale_sine_of_997_hz_has_minus_3_01(rate_hz):
    dbfs, _, _ = loudness(sine(997, rate_hz=rate_hz), rate_hz)
    np.testing.assert_allclose(dbfs, -3.01, atol=0.02)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-3])
def test_loudness_follows_the_level(amplitude):
    dbfs, peak, linear = loudness(sine(997, amplitude))
    np.testing.assert_allclose(dbfs, -3.01 + 20 * np.log10(amplitude), atol=0.02)
    np.testing.assert_allclose(peak, 20 * np.log10(amplitude), atol=0.03)
    np.testing.assert_allclose(linear, amplitude / np.sqrt(2), rtol=3e-3)


def test_weighting_is_that_of_the_standards_filters():
    """Noise through the two recursive filters, long, against the weighted spectra of the same noise."""
    noise = 0.1 * np.random.default_rng(0).normal(size=40 * 48000)
    filtered = noise
    for numerator, denominator in _STAGES:
        filtered = lfilter(numerator, denominator, filtered)
    expected = -0.691 + 10 * np.log10(np.square(filtered).mean())
    found = 10 * np.log10(np.mean(10 ** (loudness(noise, 48000)[0] / 10)))
    assert found == pytest.approx(expected, abs=0.05)


def test_weighting_at_known_frequencies():
    """The high-pass takes the low end, the head's shelf adds 4 dB above 2 kHz."""
    gain_db = 10 * np.log10(k_weighting(np.array([20.0, 38.0, 997.0, 10000.0])))
    np.testing.assert_allclose(gain_db, [-13.4, -5.9, 0.69, 4.0], atol=0.5)
    assert k_weighting(np.array([0.0]))[0] == pytest.approx(0, abs=1e-12)
    assert k_weighting(np.array([40000.0]))[0] == k_weighting(np.array([24000.0]))[0]


def test_true_peak_between_the_samples():
    """A quarter of the rate at 45 degrees: every sample is at 0.707, the wave between them reaches 1."""
    wave = sine(RATE / 4, phase=np.pi / 4)
    assert np.abs(wave).max() == pytest.approx(np.sqrt(0.5))
    np.testing.assert_allclose(loudness(wave)[1], 0.0, atol=0.05)


def test_true_peak_of_a_frame_does_not_ring_at_its_edges():
    """A constant is a constant: cut off at the frame's end, an interpolation would overshoot there."""
    np.testing.assert_allclose(loudness(np.full(4096, 0.5))[1], 20 * np.log10(0.5), atol=1e-9)
    wave = np.zeros(2048)
    wave[1500] = 0.25  # not in the first frame
    assert loudness(wave)[1].tolist() == pytest.approx([-100, 20 * np.log10(0.25), 20 * np.log10(0.25)])


def test_true_peak_against_the_dense_wave():
    """Sums of sines, computed 64 times as densely: the peak falls short by what 4 points a sample can miss."""
    rng = np.random.default_rng(1)
    freqs, phases = rng.uniform(100, 12000, 8), rng.uniform(0, 6, 8)
    dense = sum(sine(f, 0.1, p, 0.1, 64 * RATE) for f, p in zip(freqs, phases))
    wave = sum(sine(f, 0.1, p, 0.1) for f, p in zip(freqs, phases))
    found = 10 ** (loudness(wave)[1] / 20)
    for n, peak in enumerate(found):
        exact = np.abs(dense[64 * 512 * n : 64 * (512 * n + 1024)]).max()
        assert 0.93 * exact < peak < 1.005 * exact


def test_floors():
    dbfs, peak, linear = loudness(np.zeros(4096))
    assert (dbfs == -100).all() and (peak == -100).all() and (linear == 0).all()
    assert len(CATEGORIES["loudness"]) == 3
