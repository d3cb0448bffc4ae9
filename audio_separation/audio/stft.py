"""Short-time Fourier transform of the paper: n_fft 1023, hop 512, periodic Hann, centred, zero padding.

One second at 16 kHz becomes 512 bins x 32 frames (DESIGN section 4). Nothing else in the package computes an
STFT. On the CPU, where no gradient is asked for, the transforms run in scipy's pocketfft, which takes the
awkward length 1023 = 3 * 11 * 31 about four times faster than torch's CPU backend; elsewhere in torch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
import torch

RATE = 16000  # Hz; one step of an episode is one second, so also the samples per step
N_FFT = 1023
HOP = 512
NUM_BINS = N_FFT // 2 + 1
NUM_FRAMES = 1 + (RATE - 1) // HOP


def _in_scipy(x: torch.Tensor) -> bool:
    return x.device.type == "cpu" and not (torch.is_grad_enabled() and x.requires_grad)


def rfft(x: torch.Tensor, n: int, dim: int = -1) -> torch.Tensor:
    """Real FFT of ``x`` over axis ``dim``, zero-padded to ``n`` -> ``n // 2 + 1`` bins on that axis."""
    if _in_scipy(x):
        return torch.from_numpy(scipy.fft.rfft(x.detach().numpy(), n=n, axis=dim))
    return torch.fft.rfft(x, n=n, dim=dim)


def irfft(spectrum: torch.Tensor, n: int) -> torch.Tensor:
    """Inverse of :func:`rfft`: ``[..., n // 2 + 1]`` -> real ``[..., n]``."""
    if _in_scipy(spectrum):
        # resolve_conj: a lazily conjugated tensor has no numpy view
        return torch.from_numpy(scipy.fft.irfft(spectrum.detach().resolve_conj().numpy(), n=n, axis=-1))
    return torch.fft.irfft(spectrum, n=n, dim=-1)


def magnitude(spectrum: torch.Tensor) -> torch.Tensor:
    """``spectrum.abs()``; numpy's is five times faster than torch's on one CPU thread."""
    if _in_scipy(spectrum):
        return torch.from_numpy(np.abs(spectrum.detach().resolve_conj().numpy()))
    return spectrum.abs()


@lru_cache(maxsize=16)
def _window(n_fft: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # computed in float64 so that both dtypes hold the same window to the last digit
    return torch.hann_window(n_fft, periodic=True, dtype=torch.float64).to(device, dtype)


def stft(x: torch.Tensor) -> torch.Tensor:
    """Complex spectrogram of ``x [..., L]`` (float32 or float64) -> ``[..., F, N]``.

    ``F`` = 512 and ``N`` = 1 + (L - 1) // 512: 32 frames for one second of 16,000 samples. Frame k is centred
    on sample 512 * k; the signal is padded with zeros at both ends.

    Raises:
        ValueError: ``x`` is not floating point, or empty along the last axis.
    """
    if not x.is_floating_point() or x.dim() < 1 or x.shape[-1] < 1:
        raise ValueError(f"stft expects a floating-point tensor [..., L], got {x.dtype} {tuple(x.shape)}")
    padded = torch.nn.functional.pad(x, (N_FFT // 2, N_FFT // 2))
    frames = padded.unfold(-1, N_FFT, HOP) * _window(N_FFT, x.dtype, x.device)  # [..., N, n_fft]
    # transforming the transposed view writes [..., F, N] in place of a copy later
    return rfft(frames.transpose(-1, -2), N_FFT, dim=-2).contiguous()


def istft(spectrum: torch.Tensor, length: int = RATE, n_fft: int = N_FFT) -> torch.Tensor:
    """Least-squares inverse of :func:`stft`: ``[..., F, N]`` complex -> real ``[..., length]``.

    ``n_fft`` = 1022 exists for the published SI-SDR alone, whose inverse guesses the FFT length from the 512
    bins (see :mod:`audio_separation.audio.metrics`).

    Raises:
        ValueError: not complex, not 512 bins, or ``length`` beyond what the frames cover (512 * N samples).
    """
    if not spectrum.is_complex() or spectrum.dim() < 2 or spectrum.shape[-2] != n_fft // 2 + 1:
        found = f"{spectrum.dtype} {tuple(spectrum.shape)}"
        raise ValueError(f"istft expects a complex tensor [..., {n_fft // 2 + 1}, N], got {found}")
    num_frames = spectrum.shape[-1]
    if not 0 < length <= num_frames * HOP:
        raise ValueError(
            f"istft of {num_frames} frames gives at most {num_frames * HOP} samples, not {length}"
        )
    frames = irfft(spectrum.transpose(-1, -2), n_fft)  # [..., N, n_fft]
    window = _window(n_fft, frames.dtype, frames.device)
    start = n_fft // 2
    signal = _overlap_add(frames * window)
    weight = _overlap_add((window**2).expand(num_frames, n_fft))
    return signal[..., start : start + length] / weight[start : start + length]


def _overlap_add(frames: torch.Tensor) -> torch.Tensor:
    """Add frames ``[..., N, n_fft]`` at hops of 512; n_fft <= 1024, so a frame reaches only into the next."""
    frames = torch.nn.functional.pad(frames, (0, 2 * HOP - frames.shape[-1]))
    first, second = frames[..., :HOP], frames[..., HOP:]  # [..., N, hop] each
    blocks = torch.nn.functional.pad(first, (0, 0, 0, 1)) + torch.nn.functional.pad(second, (0, 0, 1, 0))
    return blocks.flatten(-2)  # [..., N + 1, hop] -> [..., (N + 1) * hop]
