"""Short-time Fourier transform of the audition tasks, whose lengths and rates are the config's.

The frames of the published system (n_fft 256, hop 64, square root of a Hann window), here with an exact inverse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Stft(nn.Module):
    """Centred frames under the square root of a periodic Hann window, zeros before and after the signal.

    The window has unit energy: white noise of RMS r has bins of RMS r, whatever the ``n_fft``.

    Args:
        n_fft: samples of a frame, even; F = n_fft // 2 + 1 bins.
        hop: samples from frame to frame, at most half of ``n_fft``.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int):
        super().__init__()
        if n_fft < 2 or n_fft % 2 or not 0 < hop <= n_fft // 2:
            raise ValueError(
                f"Stft expects an even n_fft and a hop of at most half of it, got {n_fft} and {hop}"
            )
        self.n_fft, self.hop = n_fft, hop
        self.num_bins = n_fft // 2 + 1
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64).sqrt()
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map signals ``[..., L]`` to complex spectra ``[..., F, N]``, N = 1 + L // hop.

        Frame k is centred on sample k * hop. Differentiable.

        Raises:
            ValueError: ``x`` is not floating point, or empty along the last axis.
        """
        if not x.is_floating_point() or x.dim() < 1 or x.shape[-1] < 1:
            raise ValueError(f"Stft expects a floating-point tensor [..., L], got {x.dtype} {tuple(x.shape)}")
        spectra = torch.stft(
            x.reshape(-1, x.shape[-1]),
            self.n_fft,
            self.hop,
            window=self.window.to(x.dtype),
            pad_mode="constant",
            return_complex=True,
        )
        return spectra.unflatten(0, x.shape[:-1]) if x.dim() > 1 else spectra[0]

    def inverse(self, spectra: Tensor, length: int) -> Tensor:
        """Least-squares inverse: complex ``[..., F, N]`` to signals ``[..., length]``.

        ``stft.inverse(stft(x), x.shape[-1])`` is ``x`` to rounding. Differentiable.

        Raises:
            ValueError: the spectra are not complex, not of F bins, or of another number of frames than
                ``length`` samples have.
        """
        shape = (self.num_bins, 1 + length // self.hop)
        if not spectra.is_complex() or length < 1 or tuple(spectra.shape[-2:]) != shape:
            raise ValueError(
                f"Stft.inverse to {length} samples expects a complex tensor [..., {shape[0]}, {shape[1]}], got "
                f"{spectra.dtype} {tuple(spectra.shape)}"
            )
        window = self.window.to(spectra.real.dtype)
        flat = spectra.reshape(-1, *shape)
        waves = torch.istft(flat, self.n_fft, self.hop, window=window, length=length)
        return waves.reshape(*spectra.shape[:-2], length)
