"""Metrics on signals that are built to have a known answer."""

from __future__ import annotations

import math

import pytest
import torch

from audio_separation.audio.metrics import (
    MAX_DB,
    binaural_si_sdr,
    si_bss_eval,
    si_sdr,
    si_sdr_from_mag,
    si_sdr_of_each,
    stft_l2,
    stft_l2_complex,
    with_phase_of,
)
from audio_separation.audio.stft import istft, stft

TOLERANCE_DB = {torch.float32: 1e-3, torch.float64: 1e-9}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(count: int, seed: int = 0) -> torch.Tensor:
    """[count, 16000] zero-mean signals of RMS 0.1, orthogonal to each other."""
    x = noise(count, 16000, seed=seed)
    basis = torch.linalg.qr((x - x.mean(-1, keepdim=True)).T)[0].T
    return basis * 0.1 * math.sqrt(16000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level_db", [-20.0, 0.0, 3.0, 40.0])
def test_si_sdr_of_orthogonal_noise_is_its_level(dtype: torch.dtype, level_db: float) -> None:
    s, n = orthonormal(2)
    est = (s + 10 ** (-level_db / 20) * n).to(dtype)
    for gain, offset in ((1.0, 0.0), (0.01, 0.0), (-3.0, 0.5)):  # neither scale, sign nor mean matters
        score = si_sdr(gain * est + offset, s.to(dtype))
        assert abs(float(score) - level_db) < 30 * TOLERANCE_DB[dtype]
    assert abs(float(si_sdr(est, s.to(dtype))) - level_db) < TOLERANCE_DB[dtype]


def test_si_sdr_of_two_samples_by_hand() -> None:
    # s = (1, -1), e = (3, 1) -> centred (1, -1): perfect. With three samples:
    # s = (1, 0, -1), e = (1, 1, -2): <s, e> = 3, |s|^2 = 2, a = 1.5, a s = (1.5, 0, -1.5),
    # e - a s = (-0.5, 1, -0.5): 10 log10(4.5 / 1.5) = 4.771 dB
    assert float(si_sdr(torch.tensor([3.0, 1.0]), torch.tensor([1.0, -1.0]))) == MAX_DB
    score = si_sdr(torch.tensor([1.0, 1.0, -2.0]), torch.tensor([1.0, 0.0, -1.0]))
    assert abs(float(score) - 10 * math.log10(3)) < 1e-9


def test_limits_and_silence() -> None:
    (s,) = orthonormal(1)
    silence = torch.zeros_like(s)
    assert float(si_sdr(s, s)) == MAX_DB and float(si_sdr(-2 * s, s)) == MAX_DB
    assert float(si_sdr(silence, s)) == -MAX_DB
    refs = torch.stack([silence, silence + 0.3, 1e-6 * s, s])  # digital silence, an offset, below int16
    assert torch.isnan(si_sdr(noise(4, 16000), refs)).tolist() == [True, True, True, False]


def test_si_sdr_is_the_same_in_any_batch() -> None:
    est, ref = noise(3, 4, 16000, seed=1).float(), noise(3, 4, 16000, seed=2).float()
    ref[1, 2] = 0
    together = si_sdr(est, ref)
    assert together.shape == (3, 4)
    alone = torch.stack([torch.stack([si_sdr(est[i, j], ref[i, j]) for j in range(4)]) for i in range(3)])
    assert torch.allclose(together, alone, rtol=0, atol=1e-9, equal_nan=True)
    assert int(torch.isnan(together).sum()) == 1


def test_si_sdr_of_each_is_si_sdr_of_every_pair() -> None:
    ests, ref = 3 + noise(2, 3, 16000), noise(2, 16000, seed=1) - 1
    ests[0, 0] += 5 * ref[0]
    together = si_sdr_of_each(ests, ref)
    # as it is defined, with the signals
    ests, ref = (x.double() - x.double().mean(-1, keepdim=True) for x in (ests, ref))
    target = ((ests * ref[:, None]).sum(-1) / ref.square().sum(-1)[:, None])[..., None] * ref[:, None]
    ratio = target.square().sum(-1) / (ests - target).square().sum(-1)
    torch.testing.assert_close(together, 10 * ratio.log10(), rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match=r"si_sdr_of_each .*\(2, 3, 16000\) and \(3, 16000\)"):
        si_sdr_of_each(ests, ests[0])


def test_stft_l2_by_hand_and_complex_form() -> None:
    est, true = torch.zeros(2, 1, 512, 32), torch.full((2, 1, 512, 32), 1.2)
    est[1] = 0.2
    # an all-zero estimate of a target of RMS 1.2 scores 0.72
    assert torch.allclose(stft_l2(est, true), torch.tensor([0.72, 0.5], dtype=torch.float64), atol=1e-6)
    spectrum = stft(noise(3, 2, 16000))
    mag = noise(3, 2, 512, 32).abs()
    by_phase = stft_l2_complex(with_phase_of(mag, spectrum), spectrum)
    assert torch.allclose(stft_l2(mag, spectrum.abs()), by_phase, rtol=1e-9)
    left, right = (stft_l2(mag[:, c : c + 1], spectrum[:, c : c + 1].abs()) for c in (0, 1))
    assert torch.allclose(2 * stft_l2(mag, spectrum.abs()), left + right)


@pytest.mark.parametrize("n_fft", [1022, 1023])
def test_si_sdr_from_mag(n_fft: int) -> None:
    true = stft(noise(3, 1, 16000).float())
    true[2] = 0
    est = true.abs()
    assert (si_sdr_from_mag(0.1 * est, true, n_fft)[:2] > 80).all()  # scale is free, the phase is true
    assert torch.isnan(si_sdr_from_mag(est + 1, true, n_fft)[2])
    assert (si_sdr_from_mag(torch.zeros_like(est), true, n_fft)[:2] == -MAX_DB).all()
    worse = [
        float(si_sdr_from_mag(est + level * noise(3, 1, 512, 32).abs(), true, n_fft)[0]) for level in (1, 4)
    ]
    assert 40 > worse[0] > worse[1]


def test_si_sdr_from_mag_with_the_exact_inverse_is_si_sdr_of_the_signals() -> None:
    (s,) = orthonormal(1)
    true = stft(s)
    # an estimate whose spectrogram has the true phase: louder in half of the frames
    gain = torch.ones(32, dtype=torch.float64)
    gain[16:] = 2
    expected = si_sdr(istft(true * gain), s)
    assert abs(float(si_sdr_from_mag(true.abs() * gain, true, 1023) - expected)) < 1e-6
    with pytest.raises(ValueError, match="n_fft is 1024"):
        si_sdr_from_mag(true.abs(), true, 1024)


def test_binaural_score_of_known_masks() -> None:
    s, n = orthonormal(2)
    # [B, C, L]: noise of 6 dB below the target on the left, 10 dB above on the right
    target = torch.stack([s, 0.5 * s])[None]
    mix = target + torch.stack([10 ** (-6 / 20) * n, 0.5 * 10 ** (10 / 20) * n])[None]
    mix_stft, target_stft = stft(mix), stft(target)
    one = binaural_si_sdr(torch.ones(1, 2, 512, 32).double(), mix_stft, target_stft)
    assert abs(float(one.si_sdr) - (6 - 10) / 2) < 1e-6 and abs(float(one.improvement)) < 1e-9
    # a constant mask is a scale
    half = binaural_si_sdr(torch.full((1, 2, 512, 32), 0.5).double(), mix_stft, target_stft)
    assert abs(float(half.si_sdr) - float(one.si_sdr)) < 1e-9
    # target and noise in bands apart: the ideal mask brings nearly all of it back
    t = torch.arange(16000, dtype=torch.float64) / 16000
    low, high = torch.sin(2 * math.pi * 500 * t), torch.sin(2 * math.pi * 5000 * t)
    mask = torch.zeros(1, 1, 512, 32, dtype=torch.float64)
    mask[:, :, :160] = 1  # below 2.5 kHz
    score = binaural_si_sdr(mask, stft((low + high)[None, None]), stft(low[None, None]))
    assert float(score.si_sdr) > 30
    assert abs(float(score.si_sdr - score.improvement)) < 0.1  # the mixture itself is at 0 dB


def test_binaural_score_skips_silence() -> None:
    mix = noise(2, 2, 16000)
    target = mix.clone()
    target[1] = 0
    mask = torch.ones(2, 2, 512, 32).double()
    score = binaural_si_sdr(mask, stft(mix), stft(target))
    assert torch.isnan(score.si_sdr).tolist() == [False, True] == torch.isnan(score.improvement).tolist()


def test_bss_eval_of_orthogonal_parts() -> None:
    s, other, artefact = orthonormal(3)
    est = 2 * s + 0.5 * other + 0.1 * artefact
    scores = si_bss_eval(est, torch.stack([s, other]))
    expected = {
        "si_sdr": 10 * math.log10(4 / 0.26),
        "si_sir": 10 * math.log10(4 / 0.25),
        "si_sar": 10 * math.log10(4 / 0.01),
        "snr": 10 * math.log10(1 / (1 + 0.26)),
        "sd_sdr": 10 * math.log10(4 / (1 + 0.26)),
    }
    assert scores.keys() == expected.keys()
    for name, value in expected.items():
        assert abs(float(scores[name]) - value) < 1e-9, name
    assert abs(float(scores["si_sdr"] - si_sdr(est, s))) < 1e-9
    # asked about the other source
    assert (
        abs(float(si_bss_eval(est, torch.stack([s, other]), target=1)["si_sir"]) - 10 * math.log10(0.25 / 4))
        < 1e-9
    )


def test_interference_of_correlated_and_very_quiet_sources() -> None:
    # what a source shares with the target is not interference: only its part across it counts
    s, across, artefact = orthonormal(3)
    for level in (1.0, 1e-7):
        other = level * (0.8 * s + 0.6 * across)
        scores = si_bss_eval(s + 0.3 * across + 0.1 * artefact, torch.stack([s, other]))
        assert abs(float(scores["si_sir"]) - 10 * math.log10(1 / 0.09)) < 1e-6
        assert abs(float(scores["si_sar"]) - 20) < 1e-6


def test_silent_or_repeated_distractor_does_no_harm() -> None:
    s, other = orthonormal(2)
    est = s + 0.1 * other
    plain = si_bss_eval(est, torch.stack([s, other]))
    for extra in (torch.zeros_like(s), other, s + other):
        more = si_bss_eval(est, torch.stack([s, other, extra]))
        for name, value in plain.items():
            assert abs(float(more[name] - value)) < 1e-6, name
    silent_target = si_bss_eval(est, torch.stack([torch.zeros_like(s), other]))
    assert all(bool(torch.isnan(value)) for value in silent_target.values())


def test_one_reference_has_no_interference() -> None:
    s, n = orthonormal(2)
    scores = si_bss_eval(torch.stack([s + 0.1 * n] * 2), torch.stack([s] * 2)[:, None])
    assert torch.isinf(scores["si_sir"]).all() and (scores["si_sir"] > 0).all()
    assert torch.allclose(scores["si_sar"], torch.tensor(20.0).double())


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: si_sdr(torch.zeros(2, 9), torch.zeros(9)), r"si_sdr .*\(2, 9\) and \(9,\)"),
        (lambda: stft_l2(torch.zeros(512, 32), torch.zeros(512, 32)), "stft_l2 .*3 or more"),
        (lambda: si_bss_eval(torch.zeros(9), torch.zeros(9)), r"si_bss_eval .*\[..., S, L\]"),
        (lambda: si_bss_eval(torch.zeros(9), torch.zeros(2, 9), target=2), "target is 2, expected 0 to 1"),
    ],
)
def test_wrong_shapes_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
