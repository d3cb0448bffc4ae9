"""The audition tasks' transform and cues, on signals whose phases, levels and volumes are known."""

from __future__ import annotations

import math

import pytest
import torch

from audio_separation.audio.cues import (
    FLOOR_DB,
    ILD_UNIT_DB,
    MIDDLE_DB,
    SPREAD_DB,
    VOLUME_UNIT_DB,
    cue_size,
    ild_db,
    ipd,
    pooled_cues,
    volume_db,
)
from audio_separation.audio.transform import Stft

RATE = 8000
VARIANTS = [(pool, weight) for pool in ("time_frequency", "time") for weight in ("mask", "energy")]


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tone(hz: float, delay_s: float = 0.0, gain: float = 1.0) -> torch.Tensor:
    """One second, ``[L]``."""
    return gain * torch.sin(2 * math.pi * hz * (torch.arange(RATE) / RATE - delay_s))


def _ears(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Spectra ``[1, 2, F, N]``."""
    return Stft(256, 64)(torch.stack([left, right])[None])


# ---- transform ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("n_fft", "hop", "length"), [(256, 64, 8000), (256, 128, 1), (256, 100, 777), (512, 64, 63), (30, 7, 500)]
)
def test_the_inverse_is_exact_for_any_length(n_fft: int, hop: int, length: int) -> None:
    stft = Stft(n_fft, hop)
    x = _noise(3, 2, length).double()
    spectra = stft(x)
    assert spectra.shape == (3, 2, n_fft // 2 + 1, 1 + length // hop)
    torch.testing.assert_close(stft.inverse(spectra, length), x, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        stft.inverse(stft(x.float()[0, 0]), length), x.float()[0, 0], rtol=0, atol=1e-5
    )


def test_a_bin_is_the_sum_it_stands_for() -> None:
    stft, x = Stft(16, 4), _noise(40).double()
    window = torch.sqrt(0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(16, dtype=torch.float64) / 16))
    window = window / window.norm()
    frame, k = 5, 3  # centred on sample 20
    wave = torch.exp(-2j * math.pi * k * torch.arange(16, dtype=torch.float64) / 16)
    expected = (window * x[12:28] * wave).sum()
    torch.testing.assert_close(stft(x)[k, frame], expected)


def test_bins_of_noise_have_its_level() -> None:
    for n_fft in (128, 512):
        spectra = Stft(n_fft, 64)(0.1 * _noise(64_000))
        assert spectra[1:-1].abs().square().mean().sqrt() == pytest.approx(0.1, rel=0.02)


def test_gradients_pass_the_transform_and_its_inverse() -> None:
    stft, x = Stft(16, 4), _noise(1, 37).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda wave: stft.inverse(stft(wave) * 0.5, 37), (x,))


def test_what_the_transform_cannot_do_is_refused() -> None:
    with pytest.raises(ValueError, match="even n_fft"):
        Stft(255, 64)
    with pytest.raises(ValueError, match="at most half"):
        Stft(256, 129)
    with pytest.raises(ValueError, match=r"\[..., 129, 126\]"):
        Stft(256, 64).inverse(torch.zeros(129, 125, dtype=torch.complex64), 8000)


# ---- cues of bins ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("delay_s", [2e-4, -3e-4])
def test_a_delay_is_the_phase_it_should_be(delay_s: float) -> None:
    hz = 500.0  # in the middle of bin 16
    mix_stft = _ears(_tone(hz), _tone(hz, delay_s))
    expected = 2 * math.pi * hz * delay_s  # positive: the left ear leads
    assert ipd(mix_stft)[0, 16, 4:-4] == pytest.approx(expected, abs=1e-3)
    ones = torch.ones(1, 1, *mix_stft.shape[-2:])
    cos, sin = pooled_cues(mix_stft, ones, "time_frequency", "energy")[0, :2]
    assert math.atan2(sin, cos) == pytest.approx(expected, abs=5e-3)
    assert math.hypot(sin, cos) == pytest.approx(1, abs=1e-4)


def test_phases_are_wrapped_to_one_name_of_pi() -> None:
    mix_stft = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], dtype=torch.complex64).T[None, :, :, None].clone()
    mix_stft[0, :, 1] = mix_stft[0, :, 1].conj().resolve_conj()
    mix_stft[0, 0, 1, 0] = complex(-1.0, -0.0)
    assert ipd(mix_stft).flatten().tolist() == pytest.approx([math.pi, math.pi])
    far = ipd(_ears(_tone(3000), _tone(3000, 3e-4)))[0, 96, 4:-4]  # 1.8 pi
    assert far == pytest.approx(-0.2 * math.pi, abs=1e-3)


@pytest.mark.parametrize("gain_db", [6.0, -10.0])
def test_a_gain_is_the_level_difference(gain_db: float) -> None:
    left, right = torch.tensor(1e-2 * 10 ** (gain_db / 10)), torch.tensor(1e-2)
    assert ild_db(left, right) == pytest.approx(gain_db, abs=0.05)
    x = _noise(RATE)
    mix_stft = _ears(x * 10 ** (gain_db / 20), x)
    ones = torch.ones(1, 1, *mix_stft.shape[-2:])
    for weight, place in (("mask", 1), ("energy", 2)):
        cue = pooled_cues(mix_stft, ones, "time_frequency", weight)[0, place]
        assert cue * ILD_UNIT_DB == pytest.approx(gain_db, abs=0.05)


def test_level_differences_and_volumes_have_bounds() -> None:
    zero, loud = torch.tensor(0.0), torch.tensor(1e4)
    assert 29 < ild_db(loud, zero) < 30.1
    assert ild_db(zero, loud) == -ild_db(loud, zero)
    assert ild_db(zero, zero) == 0
    assert volume_db(zero) == pytest.approx(FLOOR_DB)
    assert volume_db(torch.tensor(0.01)) == pytest.approx(-20, abs=1e-4)


# ---- pooled cues ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("pool", "weight"), VARIANTS)
@pytest.mark.parametrize("sources", [1, 3])
def test_pooled_cues_against_loops(pool: str, weight: str, sources: int) -> None:
    mix_stft = torch.view_as_complex(_noise(2, 2, 5, 7, 2) * 0.1)
    masks = _noise(2, sources, 5, 7, seed=1).softmax(1)
    found = pooled_cues(mix_stft, masks, pool, weight)
    assert found.shape == (2, cue_size(sources, 5, pool, weight))
    bands = [slice(0, 5)] if pool == "time_frequency" else [slice(f, f + 1) for f in range(5)]
    values = found.view(2, sources, -1, len(bands))
    for b in range(2):
        for s in range(sources):
            for place, band in enumerate(bands):
                mask = masks[b, s, band]
                left, right = mix_stft[b, 0, band], mix_stft[b, 1, band]
                if weight == "mask":
                    level = 10 * torch.log10((left.abs() ** 2 + right.abs() ** 2) / 2)
                    volume = (mask * (level - FLOOR_DB) / VOLUME_UNIT_DB).mean()
                    difference = (mask * ild_db(left.abs() ** 2, right.abs() ** 2)).mean() / ILD_UNIT_DB
                    expected = [(mask * ipd(mix_stft)[b, band]).mean(), difference, volume]
                else:
                    cross = (mask * left * right.conj()).mean()
                    powers = (mask * left.abs() ** 2).mean(), (mask * right.abs() ** 2).mean()
                    volume = 10 * math.log10((powers[0] + powers[1]) / 2)
                    phase = cross / cross.abs()
                    difference = ild_db(*powers) / ILD_UNIT_DB
                    expected = [phase.real, phase.imag, difference, (volume - MIDDLE_DB) / SPREAD_DB]
                assert values[b, s, :, place].tolist() == pytest.approx(
                    [float(x) for x in expected], abs=1e-4
                )


def test_masks_that_part_two_sources_give_each_its_own_cues() -> None:
    # 500 Hz leads and is louder on the left; 2,000 Hz lags and is louder on the right
    low, high = (2e-4, 6.0), (-1e-4, -6.0)
    left = _tone(500) + _tone(2000)
    right = _tone(500, low[0], 10 ** (-low[1] / 20)) + _tone(2000, high[0], 10 ** (-high[1] / 20))
    mix_stft = _ears(left, right)
    masks = torch.zeros(1, 2, 129, mix_stft.shape[-1])
    masks[:, 0, :40], masks[:, 1, 40:] = 1, 1
    cues = pooled_cues(mix_stft, masks, "time_frequency", "energy").view(2, 4)
    for cue, (delay_s, gain_db), hz in zip(cues, (low, high), (500, 2000)):
        assert math.atan2(cue[1], cue[0]) == pytest.approx(2 * math.pi * hz * delay_s, abs=0.01)
        assert cue[2] * ILD_UNIT_DB == pytest.approx(gain_db, abs=0.05)


@pytest.mark.parametrize(("pool", "weight"), VARIANTS)
@pytest.mark.parametrize("case", ["silence", "left_silent", "right_silent", "identical", "loud", "zero_mask"])
def test_cues_and_their_gradients_are_finite_and_bounded(pool: str, weight: str, case: str) -> None:
    x = _noise(1, 2, 2000)
    if case == "silence":
        x = torch.zeros_like(x)
    elif case == "left_silent":
        x[:, 0] = 0
    elif case == "right_silent":
        x[:, 1] = 0
    elif case == "identical":
        x[:, 1] = x[:, 0]
    elif case == "loud":
        x *= 1e3
    x.requires_grad_()
    mix_stft = Stft(256, 64)(x)
    masks = torch.full((1, 2, 129, mix_stft.shape[-1]), 0.5)
    if case == "zero_mask":
        masks[:, 0], masks[:, 1] = 0, 1
    masks.requires_grad_()
    cues = pooled_cues(mix_stft, masks, pool, weight)
    assert cues.abs().max() < 12
    if case == "silence":
        of_level = (FLOOR_DB - MIDDLE_DB) / SPREAD_DB if weight == "energy" else 0.0
        assert set(cues.unique().tolist()) == {0.0, of_level}
    cues.square().sum().backward()
    assert masks.grad is not None and x.grad is not None
    assert masks.grad.isfinite().all() and x.grad.isfinite().all()
    assert masks.grad.abs().max() > 0 or case == "silence"


def test_wrong_shapes_and_words_are_refused() -> None:
    mix_stft, masks = torch.zeros(1, 2, 5, 3, dtype=torch.complex64), torch.zeros(1, 2, 5, 3)
    with pytest.raises(ValueError, match=r"\[B, 2, F, N\]"):
        pooled_cues(mix_stft[:, :1], masks, "time", "mask")
    with pytest.raises(ValueError, match="'frequency'"):
        pooled_cues(mix_stft, masks, "frequency", "mask")
    with pytest.raises(ValueError, match="'power'"):
        pooled_cues(mix_stft, masks, "time", "power")
