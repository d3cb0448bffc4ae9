"""Synthesizers in closed form against accumulators written as plain loops, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile

from audio_separation.audio.synths import (
    PARAMS,
    RAMP_SECONDS,
    RATE,
    check_params,
    generated_source,
    glide,
    make_synth,
    phase_of,
)
from audio_separation.errors import UserError

LOW = 8000  # Hz, where a second is enough


def write_source(path, wave, rate_hz=LOW):
    soundfile.write(path, np.asarray(wave, np.float32), rate_hz, subtype="FLOAT")
    return path


# ---- formulas -------------------------------------------------------------------------------------------
def plain_sine(params, length, rate_hz):
    phase, wave = 0.0, []
    for _ in range(length):
        wave.append(params[1] * math.cos(2 * math.pi * phase))
        phase += (20 + 2500 * params[0]) / rate_hz
    return wave


def plain_fm(params, length, rate_hz):
    carrier_hz = 400 * (1 + params[0])
    modulator_hz = params[1] * 5 * carrier_hz
    deviation_hz = params[2] * 5 * modulator_hz
    phase, modulator_phase, wave = 0.0, 0.0, []
    for _ in range(length):
        wave.append(math.cos(2 * math.pi * phase) * (params[3] if len(params) == 4 else 1))
        phase += (carrier_hz + deviation_hz * math.cos(2 * math.pi * modulator_phase)) / rate_hz
        modulator_phase += modulator_hz / rate_hz
    return wave


@pytest.mark.parametrize(
    ("name", "params", "plain"),
    [
        ("sine", [0.3, 0.6], plain_sine),
        ("sine", [1.0, 1.0], plain_sine),
        ("fm3", [0.25, 0.4, 0.2], plain_fm),
        ("fm3", [1.0, 1.0, 1.0], plain_fm),
        ("fm4", [0.7, 0.1, 0.9, 0.3], plain_fm),
    ],
)
def test_closed_forms_are_the_accumulators(name, params, plain):
    wave = make_synth(name).render(np.array(params), 0.1)
    assert wave.dtype == np.float32 and len(wave) == 4410
    np.testing.assert_allclose(wave, plain(params, 4410, RATE), atol=2e-6)
    assert wave[0] == pytest.approx(params[-1] if name != "fm3" else 1)  # a cosine of phase 0


def partials(wave, rate_hz):
    """Amplitudes of whole Hz, of a sound of one second."""
    assert len(wave) == rate_hz
    return 2 * np.abs(np.fft.rfft(wave)) / rate_hz


def test_frequencies_are_those_of_the_patches():
    sine = partials(make_synth("sine").render(np.array([0.392, 0.5]), 1), RATE)  # 20 + 980 Hz
    assert sine.argmax() == 1000 and sine[1000] == pytest.approx(0.5, abs=1e-6)
    assert np.delete(sine, 1000).max() < 1e-4
    # carrier 500 Hz, modulator 100 Hz, deviation 0: one line; with a deviation sidebands every 100 Hz
    plain = partials(make_synth("fm3").render(np.array([0.25, 0.04, 0.0]), 1), RATE)
    assert plain.argmax() == 500 and np.delete(plain, 500).max() < 1e-4
    bent = partials(make_synth("fm3").render(np.array([0.25, 0.04, 0.2]), 1), RATE)
    lines = np.flatnonzero(bent > 0.01)
    assert {400, 500, 600} <= set(lines) and (lines % 100 == 0).all()


def test_phase_of_is_empty_for_no_samples_and_starts_at_zero():
    assert len(phase_of(440.0, 0, LOW)) == 0
    np.testing.assert_allclose(phase_of(np.array([100.0, 200.0, 300.0]), 3, LOW), [0, 1 / 80, 3 / 80])


# ---- parameters that move -------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(PARAMS))
def test_a_path_that_stays_is_a_plain_render(name):
    synth = make_synth(name, LOW)
    params = np.linspace(0.3, 0.8, synth.num_params)
    path = synth.render_path(np.tile(params, (6, 1)), 400)
    np.testing.assert_allclose(path, synth.render(params, 0.3), atol=1e-6)


def test_glide_reaches_the_next_parameters_within_its_ramp():
    moving = glide(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.5]]), 5, 2)
    np.testing.assert_allclose(moving[0], [0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(moving[1], [1, 1, 1, 1, 1, 0.5, 0, 0, 0, 0, 0.25, 0.5, 0.5, 0.5, 0.5])


def test_a_moving_sine_does_not_jump():
    """No sample differs from the one before by more than its frequency and the ramp of its amplitude allow."""
    path = np.random.default_rng(0).random((40, 2))
    wave = make_synth("sine").render_path(path, 1024).astype(float)
    steepest = 2 * np.pi * 2520 / RATE + 1 / round(RAMP_SECONDS * RATE)
    assert np.abs(np.diff(wave)).max() <= steepest
    # with jumps at the same places it would exceed that
    parts = [make_synth("sine").render(params, 1024 / RATE) for params in path]
    assert np.abs(np.diff(np.concatenate(parts))).max() > 2 * steepest


def test_a_moving_sine_follows_each_of_its_frequencies():
    path = np.array([[0.392, 1.0], [0.192, 0.5]])  # 1000 and 500 Hz
    wave = make_synth("sine", LOW).render_path(path, 8000)
    assert np.abs(np.fft.rfft(wave[:8000])).argmax() == 1000
    later = np.abs(np.fft.rfft(wave[8000 + 1000 : 8000 + 5000])) / 2000
    assert later.argmax() == 250 and later[250] == pytest.approx(0.5, abs=1e-3)  # lines are 2 Hz apart


def test_a_period_shorter_than_the_ramp():
    path = np.array([[0.1, 0.0], [0.1, 1.0], [0.1, 0.0]])
    assert len(make_synth("sine", LOW).render_path(path, 10)) == 30


# ---- granular -------------------------------------------------------------------------------------------
def test_grains_begin_at_their_samples(tmp_path):
    """Density 40 a second, 400 samples each: a click in the source sounds once a grain, at the place of its window."""
    source = np.zeros(4000)
    source[1000] = 1.0
    synth = make_synth("granular", LOW, write_source(tmp_path / "click.wav", source))
    start, pitch = 900 / 3999, 0.9 / 1.9  # of the grain, and as recorded
    duration = math.sqrt((400 / LOW - 0.01) / 0.49)
    wave = synth.render(np.array([1.0, start, duration, pitch]), 1.0)
    clicks = np.flatnonzero(np.abs(wave) > 1e-3)
    np.testing.assert_array_equal(clicks, np.arange(40) * 200 + 100)
    window = 0.5 - 0.5 * math.cos(2 * math.pi * 100 / 400)
    np.testing.assert_allclose(wave[clicks], window / math.sqrt(40 * 400 / LOW), rtol=1e-4)


def test_one_grain_at_twice_the_speed_against_a_loop(tmp_path):
    source = np.random.default_rng(0).uniform(-1, 1, 500)
    synth = make_synth("granular", LOW, write_source(tmp_path / "noise.wav", source))
    params = np.array([0.0, 0.7, 0.3, 0.95])  # one grain a second
    source = source.astype(np.float32).astype(float)
    grain = round((0.01 + 0.49 * 0.09) * LOW)
    expected = np.zeros(LOW)
    for n in range(grain):
        place = round(0.7 * 499) + (0.1 + 1.9 * 0.95) * n
        low = math.floor(place)
        value = source[low % 500] + (place - low) * (source[(low + 1) % 500] - source[low % 500])
        expected[n] = value * math.sin(math.pi * n / grain) ** 2
    np.testing.assert_allclose(synth.render(params, 1.0), expected, atol=1e-6)


def test_parameters_count_where_a_grain_begins(tmp_path):
    synth = make_synth("granular", LOW, write_source(tmp_path / "one.wav", np.ones(100)))
    few, many = [0.0, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.5]  # 1 and 40 grains a second, of 80 samples
    wave = synth.render_path(np.array([few, many]), LOW)
    assert np.abs(wave[80:LOW]).max() == 0
    # the second grain begins with the first sample of the ramp, a fortieth of the way to the new density
    third = LOW + round(LOW / (1 + 39 / 40))
    assert np.abs(wave[LOW + 80 : third]).max() == 0
    peaks = wave[third + 40 :: 200]
    assert len(peaks) == 20 and (peaks > 0.99).all()
    assert (wave[third + 100 :: 200] == 0).all()


def test_the_generated_source():
    wave = generated_source(LOW)
    assert wave.dtype == np.float32 and len(wave) == 4 * LOW
    assert np.abs(wave).max() == pytest.approx(0.9) and np.isfinite(wave).all()
    generated_source.cache_clear()
    np.testing.assert_array_equal(wave, generated_source(LOW))
    # it rises: the loudest partial of the last note is far above that of the first
    first, last = (np.abs(np.fft.rfft(wave[n * LOW // 2 :][: LOW // 2])).argmax() * 2 for n in (0, 7))
    assert abs(first - 110) <= 2 and abs(last - 110 * 2 ** (35 / 12)) <= 2


@pytest.mark.parametrize("name", list(PARAMS))
def test_corners_are_finite_and_in_range(name):
    synth = make_synth(name, LOW)
    for corner in np.stack(np.meshgrid(*[[0.0, 1.0]] * synth.num_params), -1).reshape(-1, synth.num_params):
        wave = synth.render(corner, 0.2)
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 1.5


def test_a_source_of_another_rate_keeps_its_pitch(tmp_path):
    time = np.arange(16000) / 16000
    path = write_source(tmp_path / "tone.wav", np.sin(2 * np.pi * 300 * time), 16000)
    synth = make_synth("granular", LOW, path)
    # one grain of half a second as recorded
    wave = synth.render(np.array([0.0, 0.0, 1.0, 0.9 / 1.9]), 0.5)
    assert 2 * np.abs(np.fft.rfft(wave)).argmax() == 300


def test_descriptions_tell_sources_and_rates_apart(tmp_path):
    one, two = (write_source(tmp_path / f"{n}.wav", np.full(50, n / 4)) for n in (1, 2))
    described = [make_synth("granular", LOW, path).describe() for path in (None, one, two)]
    assert len({d["source"] for d in described}) == 3
    assert make_synth("sine", LOW).describe() != make_synth("sine").describe()
    assert make_synth("granular", LOW, one).describe() == described[1]


# ---- bad input ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bad", [[0.5, 1.0001], [-0.0001, 0.5], [np.nan, 0.5]])
def test_parameters_outside_are_refused(bad):
    synth = make_synth("sine", LOW)
    for attempt in (
        lambda: synth.render(np.array(bad), 0.1),
        lambda: synth.render_path(np.array([[0.5, 0.5], bad]), 100),
    ):
        with pytest.raises(UserError, match=r"of synthesizer sine must lie in \[0, 1\]"):
            attempt()


@pytest.mark.parametrize("bad", [[0.5], [0.5, 0.5, 0.5], 0.5, [[0.5, 0.5]]])
def test_another_number_of_parameters_is_refused(bad):
    with pytest.raises(UserError, match="synthesizer sine takes 2 parameters, found an array of shape"):
        make_synth("sine", LOW).render(np.array(bad), 0.1)
    with pytest.raises(UserError, match="takes 2 parameters"):
        check_params(bad, 2, "sine")


def test_names_and_sources_that_do_not_fit(tmp_path):
    with pytest.raises(
        UserError, match="no closed form of synthesizer 'piano'; expected one of sine, fm3, fm4"
    ):
        make_synth("piano")
    with pytest.raises(UserError, match=r"synthesizer fm3 reads no source, found .*a\.wav; leave it out"):
        make_synth("fm3", RATE, tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"a\.wav"):
        make_synth("granular", RATE, tmp_path / "a.wav")
    with pytest.raises(UserError, match=r"empty\.wav.* holds no sound"):
        make_synth("granular", LOW, write_source(tmp_path / "empty.wav", []))
