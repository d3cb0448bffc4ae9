"""Descriptors of sounds with a known answer, the names, and that frames know nothing but themselves."""

from __future__ import annotations

import subprocess
import sys

import librosa
import numpy as np
import pytest

from audio_separation.audio.descriptors import CATEGORIES, NAMES, PUBLISHED, columns, describe, expand
from audio_separation.audio.pitch import normalised_difference
from audio_separation.errors import UserError

RATE, WINDOW, HOP = 44100, 1024, 512
BIN_HZ = RATE / WINDOW


def sine(freq_hz, amplitude=1.0, seconds=0.2):
    return amplitude * np.sin(2 * np.pi * freq_hz * np.arange(round(seconds * RATE)) / RATE)


def noise(seconds=1.0, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))


def of(wave, *names):
    """Columns ``[C, N]`` of a sound."""
    return describe(wave, RATE)[:, [NAMES.index(name) for name in names]].T


# ---- names ----------------------------------------------------------------------------------------------
def test_published_names_in_their_order():
    assert len(PUBLISHED) == 55 and len(NAMES) == 57 and len(set(NAMES)) == 57
    assert NAMES[:4] == ("loudness-dBFS", "loudness-TP", "loudness-dB", "mfcc-0")
    assert NAMES[15:18] == ("mfcc-12", "chroma-A", "chroma-A#") and NAMES[27:30] == (
        "chroma-G#", "specshape-centroid", "specshape-spread",
    )  # fmt: skip
    assert NAMES[35:37] == ("sinefeaturefreqs-0", "sinefeaturefreqs-1")
    assert NAMES[54:] == ("sinefeaturemags-9", "pitch-Hz", "pitch-confidence")
    assert describe(np.zeros(WINDOW), RATE).shape == (1, 57)


def test_categories_are_all_their_columns_once_in_order():
    names = expand(["specshape", "mfcc-3", "mfcc", "loudness-TP"], "here")
    assert names == ["loudness-TP", *CATEGORIES["mfcc"], *CATEGORIES["specshape"]]
    assert [NAMES[i] for i in columns(names)] == names
    assert expand(["all"], "here") == list(NAMES) and expand([], "here") == []


@pytest.mark.parametrize("name, near", [("mfc", "mfcc"), ("specshape-centriod", "specshape-centroid")])
def test_an_unknown_name_is_refused_with_near_ones(name, near):
    with pytest.raises(
        UserError, match=f"^SYNTH.FEATURES names the descriptor '{name}'.*did you mean .*{near}"
    ):
        expand(["loudness", name], "SYNTH.FEATURES")


# ---- frames ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("window, hop", [(1024, 512), (512, 100), (256, 256), (2048, 1500)])
def test_blocks_have_the_rows_of_the_whole(window, hop):
    """Blocks of 1, 2, 3, ... hops, each with window - hop samples of history."""
    wave = noise(0.6) + sine(330, 0.3, 0.6) * np.linspace(0, 1, round(0.6 * RATE))
    whole = describe(wave, RATE, window, hop)
    assert len(whole) == 1 + (len(wave) - window) // hop
    rows, first, count = [], 0, 1
    while first < len(whole):
        count = min(count, len(whole) - first)
        rows.append(describe(wave[first * hop : (first + count - 1) * hop + window], RATE, window, hop))
        first, count = first + count, count + 1
    np.testing.assert_allclose(np.concatenate(rows), whole, rtol=1e-12, atol=1e-12)


def test_a_long_sound_is_described_in_blocks_without_a_seam():
    wave = noise(4.0)
    whole = describe(wave, RATE)
    assert len(whole) > 300
    np.testing.assert_allclose(describe(wave[200 * HOP :], RATE), whole[200:], rtol=1e-12, atol=1e-12)


def test_a_short_sound_is_filled_up_with_zeros():
    wave = noise()[:300]
    assert np.array_equal(describe(wave, RATE), describe(np.pad(wave, (0, 724)), RATE))
    assert describe(np.zeros(0), RATE).shape == (1, 57)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(3000), np.ones(3000), np.full(3000, -1e-30), np.sign(sine(700)), 1e4 * noise(),
        1e-20 * noise(), np.eye(1, 3000, 700)[0], np.eye(1, 3000, 0)[0], np.tile([1.0, -1.0], 1500), sine(5),
    ],
)  # fmt: skip
def test_always_finite(wave):
    assert np.isfinite(describe(wave, RATE)).all()
    assert np.isfinite(describe(wave.astype(np.float32), RATE, 256, 64)).all()


def test_silence():
    (row,) = describe(np.zeros(WINDOW), RATE)
    found = dict(zip(NAMES, row))
    assert found.pop("loudness-dBFS") == found.pop("loudness-TP") == -100
    assert found.pop("mfcc-0") == pytest.approx(-100 * np.sqrt(40))  # 40 bands at the floor
    np.testing.assert_allclose(list(found.values()), 0, atol=1e-9)


def test_bad_input():
    for wave, says in ((np.zeros((2, 2000)), "shape"), (np.array([0.0, np.nan]), "not")):
        with pytest.raises(UserError, match=f"must be finite numbers.*{says}"):
            describe(wave, RATE)
    bad = [(1023, 512, RATE, "window"), (128, 64, RATE, "window"), (1024, 0, RATE, "hop")]
    for window, hop, rate_hz, says in [*bad, (1024, 1025, RATE, "hop"), (1024, 512, 4000, "rate")]:
        with pytest.raises(UserError, match=f"^the (analysis )?{says}"):
            describe(np.zeros(2000), rate_hz, window, hop)


# ---- values ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("freq_hz", [200.0, 441.3, 1000.0, 2519.0, 4807.7])
@pytest.mark.parametrize("amplitude", [0.9, 0.05])
def test_a_sine(freq_hz, amplitude):
    wave = sine(freq_hz, amplitude)
    centroid, spread, kurtosis = of(wave, "specshape-centroid", "specshape-spread", "specshape-kurtosis")
    np.testing.assert_allclose(centroid, freq_hz, atol=0.02 * BIN_HZ)
    np.testing.assert_allclose(spread, BIN_HZ / np.sqrt(3), rtol=0.02)  # of Hann's window: 1/4, 1, 1/4
    np.testing.assert_allclose(kurtosis, 3.0, rtol=0.05)
    frequency, magnitude, second = of(wave, "sinefeaturefreqs-0", "sinefeaturemags-0", "sinefeaturemags-1")
    np.testing.assert_allclose(frequency, freq_hz, atol=0.05 * BIN_HZ)
    np.testing.assert_allclose(magnitude, amplitude, rtol=0.05)
    assert (second < 1e-3 * amplitude).all()
    pitch, confidence = of(wave, "pitch-Hz", "pitch-confidence")
    np.testing.assert_allclose(pitch, freq_hz, rtol=5e-3)
    assert (confidence > 0.9).all()


def test_sine_peaks_are_the_ten_highest_by_frequency():
    freqs = 20.5 * BIN_HZ * np.arange(1, 13)  # twelve, far apart
    amplitudes = 0.05 * np.array([1.0, 2, 1.5, 0.1, 1, 2, 1, 1, 0.2, 1, 1, 1])
    wave = np.sum([sine(f, a) for f, a in zip(freqs, amplitudes)], 0)
    found = of(wave, *CATEGORIES["sinefeaturefreqs"], *CATEGORIES["sinefeaturemags"]).T
    kept = np.delete(np.arange(12), [3, 8])
    for row in found:
        np.testing.assert_allclose(row[:10], freqs[kept], atol=0.1 * BIN_HZ)
        np.testing.assert_allclose(row[10:], amplitudes[kept], rtol=0.1)
    few = of(sine(1000, 0.5) + sine(3000, 0.25), *CATEGORIES["sinefeaturefreqs"])[:, 0]
    assert few[1] == pytest.approx(3000, abs=3) and (few[2:] == 0).all()


def test_rolloff_of_two_sines():
    """95 % of the power lies below the upper one when that has 4 % of it, and not when it has 6 %."""
    for share, expected_hz in ((0.04, 1000.0), (0.06, 8000.0)):
        wave = sine(1000, np.sqrt(1 - share)) + sine(8000, np.sqrt(share))
        np.testing.assert_allclose(of(wave, "specshape-rolloff")[0], expected_hz, atol=1.5 * BIN_HZ)


def test_shape_of_an_impulse_is_flat():
    """One sample in the middle of a frame: the same power in every bin."""
    impulse = np.eye(1, WINDOW, WINDOW // 2)[0]
    found = of(impulse, *CATEGORIES["specshape"])[:, 0]
    count = WINDOW // 2 + 1
    centroid, spread = (count - 1) / 2, np.sqrt((count**2 - 1) / 12)
    kurtosis = 3 - 6 / 5 * (count**2 + 1) / (count**2 - 1)  # of a discrete uniform distribution
    expected = [centroid * BIN_HZ, spread * BIN_HZ, 0, kurtosis, (0.95 * count - 0.5) * BIN_HZ, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_flatness_and_crest_of_noise_and_sine():
    """Power of white noise is exponential in each bin: its geometric mean lies at exp(-gamma) of the mean."""
    flatness, crest = of(noise(8.0), "specshape-flatness", "specshape-crest")
    assert flatness.mean() == pytest.approx(-10 * np.euler_gamma / np.log(10), abs=0.05)
    count = WINDOW // 2 + 1
    # Hann's bin of a sine, over 1.5 times its power spread over all bins
    (sine_crest,) = of(sine(32 * BIN_HZ), "specshape-crest")
    np.testing.assert_allclose(sine_crest, 10 * np.log10(count / 1.5), atol=1e-3)
    assert crest.mean() < 10 and of(sine(1000), "specshape-flatness")[0].max() < -60


@pytest.mark.parametrize("midi", [57, 69, 74, 79, 88])
def test_chroma_names_the_note(midi):
    """From A3 to E6 in an analysis with bins narrower than a semitone; A4 also in the usual one."""
    names = ["A", "A#", "B", "C", "C#", "D", "D#", "E", "F", "F#", "G", "G#"]
    wave = sine(440 * 2 ** ((midi - 69) / 12), 0.3)
    found = describe(wave, RATE, 4096, 1024)[:, columns(["chroma"])]
    assert found.max() == 1 and (found.argmax(-1) == (midi - 69) % 12).all()
    assert CATEGORIES["chroma"] == tuple(f"chroma-{name}" for name in names)
    if midi == 69:
        assert (describe(wave, RATE)[:, columns(["chroma"])].argmax(-1) == 0).all()


@pytest.mark.parametrize("wave", [noise(0.1), sine(440, 0.2), np.zeros(3000), np.eye(1, 3000, 1000)[0]])
def test_mfcc_is_librosas_of_the_frame(wave):
    found = describe(wave, RATE)[:, columns(["mfcc"])]
    for n, row in enumerate(found):
        frame = wave[n * HOP : n * HOP + WINDOW].astype(np.float64)
        expected = librosa.feature.mfcc(
            y=frame, sr=RATE, n_mfcc=13, n_mels=40, n_fft=WINDOW, hop_length=WINDOW, center=False
        )
        np.testing.assert_allclose(row, expected[:, 0], atol=1e-3)


@pytest.mark.parametrize("freq_hz", [90.0, 131.0, 262.0])
def test_pitch_of_a_complex_tone_is_its_fundamental(freq_hz):
    """Harmonics 2 to 6 alone: no power at the pitch itself."""
    wave = np.sum([sine(n * freq_hz, 0.1) for n in range(2, 7)], 0)
    np.testing.assert_allclose(of(wave, "pitch-Hz")[0], freq_hz, rtol=0.01)


def test_yin_compares_only_pairs_inside_the_frame():
    """Against the definition, sample by sample."""
    frames = np.random.default_rng(0).normal(size=(2, 40)) + 3
    difference, normalised = normalised_difference(frames, 20)
    for n, frame in enumerate(frames):
        means = [np.mean((frame[lag:] - frame[: 40 - lag]) ** 2) for lag in range(21)]
        np.testing.assert_allclose(difference[n], means, atol=1e-10)
        expected = [means[lag] / np.mean(means[1 : lag + 1]) for lag in range(1, 21)]
        np.testing.assert_allclose(normalised[n], [1, *expected], rtol=1e-6)


def test_no_pitch():
    assert (of(noise(), "pitch-Hz")[0] == 0).mean() > 0.99
    assert (of(noise(), "pitch-confidence")[0] < 0.5).mean() > 0.95
    assert (of(sine(40), "pitch-Hz")[0] == 0).all()  # longer than half a frame
    for wave in (np.ones(3000), np.zeros(3000)):
        assert (of(wave, "pitch-Hz", "pitch-confidence") < 1e-6).all()


def test_importing_the_package_does_not_import_librosa():
    code = "import sys, audio_separation.audio.descriptors; assert 'librosa' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
