"""Networks from the config tree; sizes that do not fit together are refused here, by key."""

from __future__ import annotations

import math
from typing import Sequence

from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.models.encoders import VISION_PLANES
from audio_separation.models.memory import OUTPUTS, TransformerMemory
from audio_separation.models.policy import Policy
from audio_separation.models.separator import VARIANTS, PassiveSeparator

NUM_ACTIONS = 3  # forward, left, right (DESIGN section 4)


def _one_of(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"config key {key} must be one of {', '.join(choices)}, found {value!r}")


def _widths(key: str, value: Sequence[int], count: int = 0) -> list[int]:
    fits = len(value) == count if count else len(value) > 0
    if not fits or not all(isinstance(width, int) and width > 0 for width in value):
        wanted = f"{count} positive integers" if count else "positive integers"
        raise UserError(f"config key {key} must list {wanted}, found {list(value)}")
    return list(value)


def _spectrum(config: CfgNode) -> tuple[int, int, int]:
    """F, N and the number of bands."""
    bins = (config.AUDIO.N_FFT + 1) // 2
    frames = config.AUDIO.RATE // config.AUDIO.HOP + 1
    bands = config.SEPARATOR.NUM_BANDS
    if bands < 1 or bins % bands:
        raise UserError(
            f"config key SEPARATOR.NUM_BANDS must divide the {bins} frequency bins, found {bands}; try 16"
        )
    return bins, frames, bands


def build_separator(config: CfgNode, num_classes: int) -> PassiveSeparator:
    """Build the passive separators from ``config.SEPARATOR``.

    Raises:
        UserError: a key of SEPARATOR that is unknown or does not fit the spectrogram.
    """
    c = config.SEPARATOR
    _one_of("SEPARATOR.VARIANT", c.VARIANT, VARIANTS)
    channels = _widths("SEPARATOR.CHANNELS", c.CHANNELS)
    bins, frames, bands = _spectrum(config)
    for size in (bins // bands, frames):
        if size % 2 ** len(channels):
            raise UserError(
                f"config key SEPARATOR.CHANNELS has {len(channels)} levels, which halve {bins // bands} bins "
                f"x {frames} frames too often; use at most {int(math.log2(size & -size))} levels"
            )
    if c.VARIANT == "masked" and (c.MASK_MAX <= 1 or c.CLASS_EMBEDDING < 1):
        raise UserError(
            f"config keys SEPARATOR.MASK_MAX and SEPARATOR.CLASS_EMBEDDING must exceed 1 and 0, "
            f"found {c.MASK_MAX} and {c.CLASS_EMBEDDING}"
        )
    return PassiveSeparator(
        num_classes,
        variant=c.VARIANT,
        channels=channels,
        num_bands=bands,
        class_embedding=c.CLASS_EMBEDDING,
        mask_max=c.MASK_MAX,
        mono_rms=config.AUDIO.TARGET_MONO_RMS,
    )


def build_memory(config: CfgNode) -> TransformerMemory:
    """Build the transformer memory from ``config.MEMORY``.

    Raises:
        UserError: a key of MEMORY that is unknown or does not fit.
    """
    c = config.MEMORY
    _one_of("MEMORY.OUTPUT", c.OUTPUT, OUTPUTS)
    bins, frames, bands = _spectrum(config)
    if bins // bands % 4 or frames % 4:
        raise UserError(
            f"the memory needs bands of 4, 8, ... bins; SEPARATOR.NUM_BANDS {bands} makes {bins // bands}"
        )
    token = c.CHANNELS * (bins // bands // 4) * (frames // 4)
    if c.HEADS < 1 or token % c.HEADS:
        raise UserError(
            f"config key MEMORY.HEADS must divide the token size {token} (64 x CHANNELS), found {c.HEADS}"
        )
    return TransformerMemory(
        channels=c.CHANNELS,
        layers=c.LAYERS,
        heads=c.HEADS,
        feedforward=c.FEEDFORWARD,
        output=c.OUTPUT,
        num_bins=bins,
        num_frames=frames,
        num_bands=bands,
    )


def build_policy(config: CfgNode) -> Policy:
    """Build the actor-critic from ``config.POLICY``.

    Raises:
        UserError: a key of POLICY that is unknown, or torchvision is missing for ``resnet18``.
    """
    c = config.POLICY
    _one_of("POLICY.VISION", c.VISION, tuple(VISION_PLANES))
    _one_of("POLICY.VISUAL_ENCODER", c.VISUAL_ENCODER, ("cnn", "resnet18"))
    bins, frames, bands = _spectrum(config)
    return Policy(
        num_actions=NUM_ACTIONS,
        vision=c.VISION,
        visual_encoder=c.VISUAL_ENCODER,
        image_size=c.IMAGE_SIZE,
        visual_channels=_widths("POLICY.VISUAL_CHANNELS", c.VISUAL_CHANNELS, 3),
        audio_channels=_widths("POLICY.AUDIO_CHANNELS", c.AUDIO_CHANNELS, 3),
        hidden_size=c.HIDDEN,
        bin_gain=c.BIN_GAIN,
        num_bins=bins,
        num_frames=frames,
        num_bands=bands,
    )
