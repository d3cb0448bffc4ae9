"""Fading between the responses of successive poses: against a plain loop, exact at rest, and without clicks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audio_fakes import RATE, FakeClips, FakeRirs

from audio_separation.audio.crossfade import fade_weights, hear_moving, render_moving
from audio_separation.audio.render import BinauralRenderer, Listeners
from audio_separation.audio.stft import magnitude, stft

FADE = 800


def listeners(receivers: list[int], second: int = 4, sources: int = 2) -> Listeners:
    batch = len(receivers)
    return Listeners(
        ["home"] * batch,
        np.zeros(batch, int),
        np.array(receivers),
        np.tile(np.arange(sources), (batch, 1)),
        [["a", "b"][:sources]] * batch,
        np.full((batch, sources), second),
    )


@pytest.fixture(scope="module")
def renderer() -> BinauralRenderer:
    return BinauralRenderer(FakeRirs([900, 5000]), FakeClips({"a": 3.0, "b": 2.0}))


@pytest.mark.parametrize(("poses", "fade"), [(2, FADE), (2, 0), (2, RATE), (5, FADE), (5, 4000), (8, 100)])
def test_weights_are_ramps_that_add_up_to_one(poses, fade):
    weights = fade_weights(poses, fade).numpy()
    assert weights.shape == (poses, RATE) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    before = np.eye(poses, 1)  # the end of the second before
    steps = np.abs(np.diff(np.concatenate([before, weights], 1)))
    np.testing.assert_allclose(steps.max(), 1 / (fade + 1), rtol=1e-3)
    for k in range(1, poses):
        begin, end = (k - 1) * RATE // (poses - 1), k * RATE // (poses - 1)
        assert (weights[k, :begin] == 0).all() and (weights[k, begin + fade : end] == 1).all()
        assert weights[k, begin] == pytest.approx(1 / (fade + 1))


def test_a_fade_longer_than_a_part_is_refused():
    with pytest.raises(ValueError, match="longer than a part"):
        fade_weights(5, 4001)


def test_who_does_not_move_hears_the_plain_rendering_to_the_bit(renderer):
    still, moving = listeners([7, 7, 7]), listeners([7, 8, 7])
    plain = renderer.render(still, True)
    for poses in ([still, still, still], [moving, still, moving]):
        faded = render_moving(renderer, poses, FADE, True)
        for one, other in zip(plain, faded):
            assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert not torch.equal(plain.mix_bin[1], faded.mix_bin[1])
    heard, plain_heard = (
        hear_moving(renderer, [still, still], FADE, True, True),
        renderer.hear(still, True, True),
    )
    for one, other in zip(heard, plain_heard):
        assert torch.equal(one, other)


def test_a_moving_listener_hears_the_plain_signals_weighted(renderer):
    poses = [listeners([1, 7]), listeners([2, 7]), listeners([3, 7])]
    out = render_moving(renderer, poses, FADE, True)
    plain = [renderer.render(pose, True) for pose in poses]
    for name in ("mix_bin", "target_bin"):
        first, second, third = (getattr(p, name)[0].numpy().astype(float) for p in plain)
        expected = third.copy()
        for n in range(RATE):
            half, at = divmod(n, RATE // 2)
            before, after = ((first, second), (second, third))[half]
            w = min((at + 1) / (FADE + 1), 1)
            expected[:, n] = (1 - w) * before[:, n] + w * after[:, n]
        np.testing.assert_allclose(getattr(out, name)[0].numpy(), expected, atol=1e-6)
    assert torch.equal(out.target_mono, plain[0].target_mono)


def test_spectrograms_are_those_of_the_faded_signals(renderer):
    poses = [listeners([1, 7]), listeners([2, 7])]
    heard, signals = (
        hear_moving(renderer, poses, FADE, True, True),
        render_moving(renderer, poses, FADE, True),
    )
    torch.testing.assert_close(heard.mix_stft, stft(signals.mix_bin))
    torch.testing.assert_close(heard.mix_logmag, magnitude(stft(signals.mix_bin)).log1p())
    torch.testing.assert_close(heard.target_bin_stft, stft(signals.target_bin))
    torch.testing.assert_close(heard.target_bin_mag, magnitude(stft(signals.target_bin)))


class Gains(FakeRirs):
    """A single tap: +1 at even receivers, -1 at odd ones."""

    def _read(self, scene, azimuth, receiver, source):
        return np.full((2, 1), 1.0 if receiver % 2 == 0 else -1.0, np.float32)


def test_a_fade_has_no_click():
    hz, amplitude = 110, 0.5
    clips = FakeClips({"a": 2.0})
    tone = amplitude * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)
    clips._clips["a"] = np.round(32768 * tone).astype(np.int16)
    renderer = BinauralRenderer(Gains([1]), clips)
    here, there = listeners([0], 1, 1), listeners([1], 1, 1)

    def largest_jump(fade: int) -> float:
        before = renderer.render(listeners([0], 0, 1), False).mix_bin
        during = render_moving(renderer, [here, there, here, there], fade, False).mix_bin
        return float(torch.cat([before, during], -1).diff().abs().max())

    own = 2 * np.pi * hz / RATE * amplitude  # steepest step of the tone itself
    for fade in (200, FADE, 5000):
        assert largest_jump(fade) <= own + 2 * amplitude / (fade + 1) + 1e-4  # the bound of the docstring
    assert largest_jump(0) > 10 * own  # what a switch would do
