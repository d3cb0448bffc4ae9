"""What every separator of the audition tasks does: from a two-eared mixture, a mask and a wave for each source."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audio_separation.audio.transform import Stft

SILENCE_RMS = 1e-6  # -120 dB re full scale: what is quieter is not amplified


class Separator(nn.Module):
    """Base of the separators; shapes: B batch, S sources, F bins, N frames, L samples.

    Args:
        num_sources: S.
        stft: transform that the masks are for.
    """

    def __init__(self, num_sources: int, stft: Stft):
        super().__init__()
        self.num_sources, self.stft = num_sources, stft

    def masks(self, mix: Tensor, mix_stft: Tensor) -> Tensor:
        """Masks ``[B, S, F, N]`` in [0, 1] that sum to 1 over the sources.

        Args:
            mix: ``[B, 2, L]``.
            mix_stft: ``self.stft(mix)``, complex ``[B, 2, F, N]``.
        """
        raise NotImplementedError

    def waves(self, mix: Tensor) -> Tensor:
        """Of ``[B, 2, L]`` an estimate of each source's sound, averaged over the ears, ``[B, S, L]``."""
        raise NotImplementedError


class WaveSeparator(Separator):
    """A separator that estimates waves; its masks are the shares that the waves have in the sum of their magnitudes.

    The mixture is brought to an RMS of 1 for it, and its waves back to the mixture's level. (The published AuralNav
    divides a wave's magnitude by the mixture's for a mask, which has no upper bound where sounds cancel.)
    """

    def masks(self, mix: Tensor, mix_stft: Tensor) -> Tensor:
        """As :meth:`Separator.masks`, from ``mix`` alone; even shares where all waves are silent."""
        magnitudes = self.stft(self.separate(mix / _level(mix)).float()).abs() + SILENCE_RMS
        return magnitudes / magnitudes.sum(1, keepdim=True)

    def waves(self, mix: Tensor) -> Tensor:
        """As :meth:`Separator.waves`."""
        level = _level(mix)
        return self.separate(mix / level).float() * level

    def separate(self, mix: Tensor) -> Tensor:
        """Waves ``[B, S, L]`` of a mixture ``[B, 2, L]`` whose RMS is 1."""
        raise NotImplementedError


def _level(mix: Tensor) -> Tensor:
    """RMS of ``[B, 2, L]``, never 0, ``[B, 1, 1]``."""
    return mix.square().mean((1, 2), keepdim=True).add(SILENCE_RMS**2).sqrt()


def require_ears(mix: Tensor) -> None:
    """Raise ValueError where ``mix`` is not ``[B, 2, L]``."""
    if mix.dim() != 3 or mix.shape[1] != 2 or not torch.is_floating_point(mix):
        raise ValueError(f"a separator expects a mixture [B, 2, L], got {mix.dtype} {tuple(mix.shape)}")
