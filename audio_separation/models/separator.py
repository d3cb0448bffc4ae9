"""Passive separators: a binaural mask for the target class, then the target's dry mono magnitude.

``paper`` is the published form (AAViDSS, ECCV 2022, section 4.1); ``masked`` is the default for homes
(DESIGN section 6): blind to the mixture's overall level, mask and mono magnitude bounded.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.models.slicing import slice_bands, unslice_bands
from audio_separation.models.unet import UNet

VARIANTS = ("masked", "paper")
LOSSES = ("l1", "mse")
MONO_RMS = 1.2  # RMS over F x N of every target_mono_mag (DESIGN section 4)
# Mixtures quieter than this RMS magnitude are not amplified to the common level. One step of int16 is
# 1/32768, so rounding noise alone has about sqrt(384 / 12) / 32768 = 1.7e-4 in a 1023-point Hann STFT.
LEVEL_FLOOR = 1e-4
# A masked mixture more than 60 dB below its mixture counts as "the target is silent": no amplification.
SILENCE = 1e-3
# Spectra at the common level are amplified by this before log1p, so that faint bins count in the input too.
# Trial (11 speakers, two at a time, quarter width, 150 steps of 32): at 1, 10, 100, 1000 the binaural L1 on
# other seconds was 0.127, 0.119, 0.118, 0.134 (mixture: 0.189).
LOG_GAIN = 30.0
GAIN_MAX = 8.0  # of the mono magnitude over the level-normalised masked mixture: +18 dB


class SeparatorOutput(NamedTuple):
    """What the passive separators say about one second.

    Attributes:
        bin_mask: ``[B, C, F, N]``, to be multiplied with the linear mixture magnitude.
        mono_mag: ``[B, 1, F, N]``, estimate of ``target_mono_mag``.
        bin_mag: ``[B, C, F, N]``, ``bin_mask`` times the mixture magnitude.
    """

    bin_mask: Tensor
    mono_mag: Tensor
    bin_mag: Tensor


class SeparatorLoss(NamedTuple):
    """Scalar losses of the two networks."""

    bin_loss: Tensor
    mono_loss: Tensor


def bounded_gain(raw: Tensor, maximum: float) -> Tensor:
    """Map reals to ``(0, maximum)``, zero to exactly 1: ``(2 sigmoid(raw)) ** log2(maximum)``.

    ``maximum`` must exceed 1.
    """
    power = math.log2(maximum)
    if power < 1:
        raw = raw.clamp(min=-30)  # a root's slope is infinite where the sigmoid underflows to 0
    gain = 2 * raw.sigmoid()
    return gain if power == 1 else gain**power


def rms_level(mag: Tensor) -> Tensor:
    """RMS over channels, bins and frames: ``[B, c, F, N]`` to ``[B, 1, 1, 1]``."""
    return mag.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


class PassiveSeparator(nn.Module):
    """Binaural separator followed by the binaural-to-mono network (two U-Nets).

    Args:
        num_classes: number of target classes.
        variant: ``masked`` or ``paper``.
        channels: encoder widths of both U-Nets.
        num_bands: frequency slicing.
        num_ears: C.
        class_embedding: values of the class vector (``masked`` only): planes at the input and FiLM inside.
        mask_max: upper bound of the mask (``masked`` only).
        mono_rms: RMS that ``target_mono_mag`` is scaled to.
    """

    def __init__(
        self,
        num_classes: int,
        variant: str = "masked",
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        num_bands: int = 16,
        num_ears: int = 2,
        class_embedding: int = 32,
        mask_max: float = 2.0,
        mono_rms: float = MONO_RMS,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {VARIANTS}, got {variant!r}")
        if mask_max <= 1:
            raise ValueError(f"mask_max must exceed 1, got {mask_max}")
        self.num_classes = num_classes
        self.variant = variant
        self.num_bands = num_bands
        self.mask_max = mask_max
        self.mono_rms = mono_rms
        planes = num_ears * num_bands
        masked = variant == "masked"
        class_planes = class_embedding if masked else 1
        self.embedding = nn.Embedding(num_classes, class_embedding) if masked else None
        self.bin_unet = UNet(planes + class_planes, planes, channels, class_embedding if masked else 0)
        self.mono_unet = UNet(planes, num_bands, channels)
        if masked:
            # mask 1 and gain 1: untrained, the estimate is the mixture itself
            nn.init.zeros_(self.bin_unet.head.weight)
            nn.init.zeros_(self.mono_unet.head.weight)

    def forward(self, mix_logmag: Tensor, target_class: Tensor) -> SeparatorOutput:
        """Separate the target class.

        Args:
            mix_logmag: ``[B, C, F, N]``, log1p of the binaural mixture's magnitude.
            target_class: ``[B]`` int64 in ``[0, num_classes)``.
        """
        if mix_logmag.dim() != 4 or target_class.shape != mix_logmag.shape[:1]:
            raise ValueError(
                f"expected mix_logmag [B, C, F, N] and target_class [B], "
                f"got {list(mix_logmag.shape)} and {list(target_class.shape)}"
            )
        if self.variant == "paper":
            return self._forward_paper(mix_logmag, target_class)
        return self._forward_masked(mix_logmag, target_class)

    def _forward_paper(self, mix_logmag: Tensor, target_class: Tensor) -> SeparatorOutput:
        bands = slice_bands(mix_logmag, self.num_bands)
        plane = (target_class.to(bands) + 1)[:, None, None, None].expand(-1, 1, *bands.shape[2:])
        bin_mask = unslice_bands(self.bin_unet(torch.cat([bands, plane], dim=1)).float(), self.num_bands)
        bin_mag = bin_mask * torch.expm1(mix_logmag)
        mono_input = torch.log1p(bin_mag.detach().clamp(min=0))
        mono_mag = unslice_bands(
            self.mono_unet(slice_bands(mono_input, self.num_bands)).float(), self.num_bands
        )
        return SeparatorOutput(bin_mask, mono_mag, bin_mag)

    def _forward_masked(self, mix_logmag: Tensor, target_class: Tensor) -> SeparatorOutput:
        assert self.embedding is not None
        mix_mag = torch.expm1(mix_logmag)
        levelled_mag = mix_mag * (self.mono_rms / rms_level(mix_mag).clamp(min=LEVEL_FLOOR))
        bands = slice_bands(torch.log1p(LOG_GAIN * levelled_mag), self.num_bands)
        condition = self.embedding(target_class)
        planes = condition[:, :, None, None].expand(-1, -1, *bands.shape[2:])
        raw_mask = self.bin_unet(torch.cat([bands, planes], dim=1), condition).float()
        bin_mask = bounded_gain(unslice_bands(raw_mask, self.num_bands), self.mask_max)

        masked_mag = bin_mask.detach() * levelled_mag
        mono_guess = masked_mag.mean(dim=1, keepdim=True)
        # back to the mixture's level: a faint target fills the same range as a loud one
        level = rms_level(levelled_mag).clamp(min=1e-20)  # mono_rms, less only below LEVEL_FLOOR
        relevel = level / torch.maximum(rms_level(mono_guess), SILENCE * level)
        raw_gain = self.mono_unet(slice_bands(torch.log1p(LOG_GAIN * relevel * masked_mag), self.num_bands))
        gain = bounded_gain(unslice_bands(raw_gain.float(), self.num_bands), GAIN_MAX)
        return SeparatorOutput(bin_mask, gain * mono_guess * relevel, bin_mask * mix_mag)


def separator_loss(
    output: SeparatorOutput,
    target_bin_mag: Tensor,
    target_mono_mag: Tensor,
    kind: str = "l1",
    mix_level: Optional[Tensor] = None,
) -> SeparatorLoss:
    """Compare an output with the truth (mean over everything).

    Args:
        output: of a :class:`PassiveSeparator`.
        target_bin_mag: ``[B, C, F, N]``.
        target_mono_mag: ``[B, 1, F, N]``.
        kind: ``l1`` (published) or ``mse``.
        mix_level: ``[B, 1, 1, 1]`` RMS level of each mixture (:func:`rms_level`); where given, the binaural
            loss is taken relative to it, so that quiet mixtures count as much as loud ones.
    """
    if kind not in LOSSES:
        raise ValueError(f"kind must be one of {LOSSES}, got {kind!r}")
    distance = functional.l1_loss if kind == "l1" else functional.mse_loss
    bin_mag = output.bin_mag
    if mix_level is not None:
        scale = MONO_RMS / mix_level.clamp(min=LEVEL_FLOOR)
        bin_mag, target_bin_mag = bin_mag * scale, target_bin_mag * scale
    return SeparatorLoss(distance(bin_mag, target_bin_mag), distance(output.mono_mag, target_mono_mag))
