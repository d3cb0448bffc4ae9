"""Frequency slicing (DESIGN section 6): a tall spectrogram becomes a square stack of bands."""

from __future__ import annotations

from torch import Tensor


def slice_bands(spectra: Tensor, num_bands: int = 16) -> Tensor:
    """Cut the bins into bands and stack them as channels.

    Args:
        spectra: ``[B, c, F, N]``.
        num_bands: number of bands; must divide F.

    Returns:
        ``[B, c * num_bands, F / num_bands, N]``, channel index ``c * num_bands + band``.
    """
    if spectra.dim() != 4 or spectra.shape[2] % num_bands:
        raise ValueError(f"expected [B, c, F, N] with F divisible by {num_bands}, got {list(spectra.shape)}")
    batch, channels, bins, frames = spectra.shape
    # [B, c, F, N] -> [B, c, band, F / bands, N] -> [B, c * band, F / bands, N]
    return spectra.reshape(batch, channels * num_bands, bins // num_bands, frames)


def unslice_bands(bands: Tensor, num_bands: int = 16) -> Tensor:
    """Undo :func:`slice_bands`: ``[B, c * num_bands, F / num_bands, N]`` to ``[B, c, F, N]``."""
    if bands.dim() != 4 or bands.shape[1] % num_bands:
        raise ValueError(f"expected [B, c * {num_bands}, F / {num_bands}, N], got {list(bands.shape)}")
    batch, channels, bins, frames = bands.shape
    return bands.reshape(batch, channels // num_bands, bins * num_bands, frames)
