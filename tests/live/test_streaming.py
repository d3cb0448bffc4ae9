"""Sound in pieces is the sound of the whole, and has no clicks."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audio_separation.audio.synths import PARAMS, make_synth
from audio_separation.errors import UserError
from audio_separation.live.streaming import StreamingSynth

RATE = 16000


@pytest.mark.parametrize("name", list(PARAMS))
@pytest.mark.parametrize("period", [1024, 333, 50])  # also less than the way between parameters
def test_pieces_are_the_whole(name, period):
    path = np.random.default_rng(1).random((8, len(PARAMS[name])))
    synth = StreamingSynth(name, RATE)
    pieces = [synth.play(params, period) for params in path]
    assert all(piece.shape == (period,) and piece.dtype == np.float32 for piece in pieces)
    whole = make_synth(name, RATE).render_path(path, period)
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-6


def test_grains_of_a_sound_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 5000), RATE, subtype="FLOAT")
    path = np.random.default_rng(2).random((6, 4))
    synth = StreamingSynth("granular", RATE, tmp_path / "a.wav")
    whole = make_synth("granular", RATE, tmp_path / "a.wav").render_path(path, 2000)
    assert np.abs(np.concatenate([synth.play(params, 2000) for params in path]) - whole).max() < 1e-6


def test_no_clicks_where_parameters_jump():
    """Between samples, a sine of amplitude a and f Hz moves by less than 2 pi f a / rate, and its level by 1 / ramp."""
    synth = StreamingSynth("sine", RATE)
    path = [[0.1, 1.0], [0.2, 0.0], [0.0, 1.0], [0.15, 0.3]] * 5
    wave = np.concatenate([synth.play(np.array(params), 512) for params in path])
    bound = 2 * np.pi * 520 / RATE + 1 / 80
    assert np.abs(np.diff(wave)).max() < bound
    # as jumps they would be clicks
    jumps = np.concatenate([make_synth("sine", RATE).render(np.array(params), 512 / RATE) for params in path])
    assert np.abs(np.diff(jumps)).max() > 3 * bound


def test_nothing_and_bad_parameters():
    synth = StreamingSynth("fm3", RATE)
    assert synth.play(np.zeros(3), 0).shape == (0,)
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        synth.play(np.array([0.5, 0.5, 1.1]), 10)
    with pytest.raises(UserError, match="no closed form of synthesizer 'mine'"):
        StreamingSynth("mine", RATE)
