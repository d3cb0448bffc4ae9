"""The STFT against its definition, written out with numpy, and its inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audio_separation.audio.stft import NUM_BINS, NUM_FRAMES, irfft, istft, magnitude, rfft, stft


def stft_by_definition(x: np.ndarray) -> np.ndarray:
    """sum_m w[m] x[m + 512 k - 511] exp(-2 pi i f m / 1023), float64, frame by frame."""
    m = np.arange(1023)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * m / 1023)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(512), m) / 1023)
    padded = np.concatenate([np.zeros(511), x, np.zeros(511)])
    num_frames = 1 + (len(padded) - 1023) // 512
    return np.stack([kernel @ (window * padded[512 * k : 512 * k + 1023]) for k in range(num_frames)], axis=1)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_stft_is_its_definition(dtype: torch.dtype, tolerance: float) -> None:
    x = noise(16000, dtype=dtype)
    spectrum = stft(x)
    assert spectrum.shape == (NUM_BINS, NUM_FRAMES) == (512, 32)
    assert spectrum.is_complex() and spectrum.real.dtype == dtype and spectrum.is_contiguous()
    assert np.abs(spectrum.numpy() - stft_by_definition(x.double().numpy())).max() < tolerance


def test_stft_of_other_lengths_and_batch_axes() -> None:
    x = noise(2, 3, 5000)
    spectrum = stft(x)
    assert spectrum.shape == (2, 3, 512, 10)
    assert np.abs(spectrum[1, 2].numpy() - stft_by_definition(x[1, 2].double().numpy())).max() < 1e-4


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_round_trip(dtype: torch.dtype, tolerance: float) -> None:
    x = noise(3, 2, 16000, dtype=dtype)
    back = istft(stft(x), length=16000)
    assert back.dtype == dtype
    assert (back - x).abs().max() < tolerance


def test_inverse_is_least_squares() -> None:
    # the inverse of an inconsistent spectrogram is the signal whose STFT is nearest: at that point the
    # remaining difference is orthogonal to the STFT of any signal
    target = torch.complex(noise(512, 32, seed=1), noise(512, 32, seed=2)).to(torch.complex128)
    # bin 0 is real in every STFT; bins 1..511 stand for themselves and their mirror image
    target[0] = target[0].real.to(torch.complex128)
    weight = torch.full((512, 1), 2.0, dtype=torch.float64)
    weight[0] = 1
    length = 32 * 512 - 512  # leaves out the last half frame, where hardly any window reaches
    nearest = istft(target, length=32 * 512)
    residual = target - stft(nearest)
    probe = stft(torch.nn.functional.pad(noise(length, seed=3, dtype=torch.float64), (0, 512)))
    product = (weight * (residual.conj() * probe).real).sum() / (residual.abs().norm() * probe.abs().norm())
    assert abs(float(product)) < 1e-9


def test_torch_and_scipy_paths_agree_and_gradient_flows() -> None:
    x = noise(2, 4000, dtype=torch.float64).requires_grad_()
    differentiable = istft(stft(x), length=4000)  # in torch, since a gradient is asked for
    assert (differentiable - x).abs().max() < 1e-9
    differentiable.sum().backward()
    assert x.grad is not None and (x.grad - 1).abs().max() < 1e-9
    with torch.no_grad():
        assert (stft(x) - stft(x.detach())).abs().max() == 0
    assert (stft(x).detach() - stft(x.detach())).abs().max() < 1e-9


def test_fft_helpers() -> None:
    x = noise(3, 100, dtype=torch.float64)
    spectrum = rfft(x, 128)
    assert (irfft(spectrum, 128)[..., :100] - x).abs().max() < 1e-12
    assert (rfft(x.T, 128, dim=0).T - spectrum).abs().max() < 1e-12
    # the inverse of a conjugate is the time-reversed signal; torch conjugates lazily
    assert (irfft(spectrum.conj(), 128).flip(-1).roll(1, -1)[..., :100] - x).abs().max() < 1e-12
    assert (magnitude(spectrum.conj()) - spectrum.abs()).abs().max() < 1e-12


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: stft(torch.zeros(16000, dtype=torch.int16)), "floating-point"),
        (lambda: stft(torch.zeros(2, 0)), "(2, 0)"),
        (lambda: istft(torch.zeros(512, 32)), "complex"),
        (lambda: istft(torch.zeros(511, 32, dtype=torch.complex64)), "512"),
        (lambda: istft(torch.zeros(512, 32, dtype=torch.complex64), length=16385), "16384"),
    ],
)
def test_wrong_input_names_what_was_expected(call, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        call()
