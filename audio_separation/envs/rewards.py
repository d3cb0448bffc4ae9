"""Rewards of the tasks, as pure functions."""

from __future__ import annotations

from torch import Tensor

# The published reward divides by 1.44 = 1.2^2: the power of target_mono_mag, so that silence earns -1.
REWARD_SCALE = 1.44


def separation_reward(estimate: Tensor, target_mono_mag: Tensor) -> Tensor:
    """Quality of an estimated second: ``-MSE / 1.44`` (DESIGN section 7).

    Args:
        estimate, target_mono_mag: ``[..., 1, F, N]`` linear magnitudes.

    Returns:
        ``[...]``; 0 is perfect, -1 is silence.
    """
    return -(estimate - target_mono_mag).square().mean((-3, -2, -1)) / REWARD_SCALE


def mixture_estimate(mix_mag: Tensor, mono_rms: float = 1.2) -> Tensor:
    """The unprocessed mixture as an estimate of the target: mean of the ears, brought to the target's level.

    Args:
        mix_mag: ``[..., C, F, N]`` linear magnitudes.

    Returns:
        ``[..., 1, F, N]`` with RMS ``mono_rms`` over F x N; silence stays silence.
    """
    mono = mix_mag.mean(-3, keepdim=True)
    rms = mono.square().mean((-2, -1), keepdim=True).sqrt()
    return mono * (mono_rms / rms.clamp_min(1e-8))
