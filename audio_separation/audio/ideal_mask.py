"""The ideal ratio mask: how well masks of a mixture could separate it at best, short of correcting its phase."""

from __future__ import annotations

import torch
from torch import Tensor

from audio_separation.audio.transform import Stft


def ideal_mask_waves(images: Tensor, stft: Stft) -> Tensor:
    """Separate the mixture of ``images`` ``[B, S, C, L]`` by the ratio of the sources' magnitudes -> ``[B, S, L]``.

    Spectra are those of the ears' average, as separators' estimates are; the masks sum to 1 over the sources.
    """
    spectra = stft(images.mean(2))  # [B, S, F, N]
    size = spectra.abs()
    masks = size / size.sum(1, keepdim=True).clamp_min(torch.finfo(size.dtype).tiny)
    return stft.inverse(masks * spectra.sum(1, keepdim=True), images.shape[-1])
