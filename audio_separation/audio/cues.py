"""Interaural cues of sources in a two-eared mixture: what a Q-network is told of them.

Signs: channel 0 is the left ear. The interaural phase is positive where the left ear leads, that is where the source
lies to the left and its delay is below half a period; the level difference is positive where the left ear is louder.
Spectra are of :class:`audio_separation.audio.transform.Stft`, whose bins have the level of the signal: dB are re full
scale. Shapes: B batch, S sources, F bins, N frames.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

FLOOR_DB = -100.0  # what is quieter counts as silence
FLOOR = 10 ** (FLOOR_DB / 10)  # power
# of both ears' power that is added to either: bounds the level difference smoothly at +-30 dB; 10 dB read 9.96 dB
ILD_LEAK = 1e-3
# what makes 1 of a cue: the differences and levels heard in a room are then of order 1
ILD_UNIT_DB = 5.0
VOLUME_UNIT_DB = 20.0  # above FLOOR_DB, weight mask
# weight energy: what is heard in rooms lies about 10 dB to either side of this, so cues are about 0 with a spread of 1
MIDDLE_DB, SPREAD_DB = -40.0, 10.0

POOLS = ("time_frequency", "time")
WEIGHTS = ("mask", "energy")


def ipd(mix_stft: Tensor) -> Tensor:
    """Interaural phase difference of ``[B, 2, F, N]``, radians in (-pi, pi] ``[B, F, N]``; 0 where an ear is silent.

    ``angle(X_left * conj(X_right))``.
    """
    angle = torch.angle(mix_stft[:, 0] * mix_stft[:, 1].conj())
    # an imaginary part of -0.0 gives -pi, and +0.0 gives pi, of the same phase
    return torch.where(angle <= -math.pi, -angle, angle)


def ild_db(left: Tensor, right: Tensor) -> Tensor:
    """Interaural level difference (dB) of the powers at the ears, within +-30 dB; 0 in silence."""
    both = ILD_LEAK * (left + right) + FLOOR
    return 10 * torch.log10((left + both) / (right + both))


def volume_db(power: Tensor) -> Tensor:
    """Level (dB re full scale) of powers, never below ``FLOOR_DB``."""
    return 10 * torch.log10(power + FLOOR)


def cue_size(num_sources: int, num_bins: int, pool: str, weight: str) -> int:
    """D of :func:`pooled_cues`."""
    values = 3 if weight == "mask" else 4
    return num_sources * values * (1 if pool == "time_frequency" else num_bins)


def pooled_cues(mix_stft: Tensor, masks: Tensor, pool: str, weight: str) -> Tensor:
    """Cues of every source, averaged under its mask: ``[B, D]``, ordered by source, then cue (, then bin).

    ``weight`` ``mask``, three cues as published: the means of mask x phase (radians), mask x level difference
    (5 dB) and mask x volume (20 dB above ``FLOOR_DB``). A mean of angles is only near 0 a phase, and the masks' own
    size is in all three.

    ``weight`` ``energy``, four cues, of the powers under the mask: cos and sin of the phase of the summed cross
    spectrum (an angle would jump at +-pi), the ratio of the ears' summed powers (5 dB) and the level of the mean
    power of a frame's bins (10 dB around ``MIDDLE_DB``). Loud bins count, and the level difference and the phase do
    not depend on the mask's size.

    All are finite, with finite gradients, for any input. Silence gives zeros, but for the level of ``energy``, which
    is then that of ``FLOOR_DB``.

    Args:
        mix_stft: complex ``[B, 2, F, N]``.
        masks: ``[B, S, F, N]`` in [0, 1].
        pool: ``time_frequency`` averages over both, ``time`` keeps the bins.
        weight: ``mask`` or ``energy``.

    Raises:
        ValueError: for other shapes or words.
    """
    if mix_stft.dim() != 4 or mix_stft.shape[1] != 2 or masks.dim() != 4 or pool not in POOLS:
        raise ValueError(
            f"pooled_cues expects mix_stft [B, 2, F, N], masks [B, S, F, N] and a pool of {POOLS}, got "
            f"{tuple(mix_stft.shape)}, {tuple(masks.shape)} and {pool!r}"
        )
    if weight == "mask":
        cues = _pool(masks, _bin_cues(mix_stft), pool)
    elif weight == "energy":
        cues = _energy_cues(_pool(masks, _bin_powers(mix_stft), pool))
    else:
        raise ValueError(f"pooled_cues expects a weight of {WEIGHTS}, got {weight!r}")
    return cues.flatten(1)


def _pool(masks: Tensor, features: Tensor, pool: str) -> Tensor:
    """Means of mask x feature ``[B, C, F, N]``: ``[B, S, C]`` or ``[B, S, C, F]``."""
    frames = masks.shape[-1]
    # bfloat16 would round sums of powers that lie far apart
    with torch.autocast(masks.device.type, enabled=False):
        masks, features = masks.to(features.dtype), features / frames
        if pool == "time_frequency":
            # [B, S, F * N] x [B, F * N, C]
            return masks.flatten(2) @ features.flatten(2).transpose(1, 2) / masks.shape[2]
        # [B, F, S, N] x [B, F, N, C] -> [B, F, S, C] -> [B, S, C, F]
        return (masks.transpose(1, 2) @ features.permute(0, 2, 3, 1)).permute(0, 2, 3, 1)


def _powers(mix_stft: Tensor) -> Tensor:
    """Powers at the ears, ``[B, 2, F, N]``."""
    return mix_stft.real.square() + mix_stft.imag.square()


def _bin_cues(mix_stft: Tensor) -> Tensor:
    """Phase, level difference and volume of each bin, ``[B, 3, F, N]``."""
    left, right = _powers(mix_stft).unbind(1)
    volume = (volume_db((left + right) / 2) - FLOOR_DB) / VOLUME_UNIT_DB
    return torch.stack([ipd(mix_stft), ild_db(left, right) / ILD_UNIT_DB, volume], 1)


def _bin_powers(mix_stft: Tensor) -> Tensor:
    """Power at the left and the right ear, real and imaginary part of the cross spectrum, ``[B, 4, F, N]``."""
    cross = mix_stft[:, 0] * mix_stft[:, 1].conj()
    return torch.cat([_powers(mix_stft), torch.stack([cross.real, cross.imag], 1)], 1)


def _energy_cues(sums: Tensor) -> Tensor:
    """Of pooled powers ``[B, S, 4(, F)]`` cos and sin of the phase, level difference and volume, same shape."""
    left, right, cross_re, cross_im = sums.unbind(2)
    # fades the phase out below the floor, where it would be noise
    size = (cross_re.square() + cross_im.square() + FLOOR**2).sqrt()
    volume = (volume_db((left + right) / 2) - MIDDLE_DB) / SPREAD_DB
    return torch.stack([cross_re / size, cross_im / size, ild_db(left, right) / ILD_UNIT_DB, volume], 2)
