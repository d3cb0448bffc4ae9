"""A second in which listeners move: the responses of successive poses, faded into one another.

Each pose is rendered as if the listener had always been there (causal, with the clip's history), and the signals
are faded linearly from one to the next. Linear fades of signals that agree change nothing, and a fade of T samples
adds to the largest step from sample to sample at most the largest difference of the two signals over T.
"""

from __future__ import annotations

from typing import Optional, Sequence

import numpy as np
import torch

from audio_separation.audio.render import BinauralRenderer, Heard, Listeners, Rendered
from audio_separation.audio.stft import RATE, magnitude, stft


def fade_weights(poses: int, fade_samples: int) -> torch.Tensor:
    """Weights ``[poses, L]`` of the poses of a second, the first of which is the one before it.

    Pose k (from 1) fades in over ``fade_samples`` from the beginning of the k-th of ``poses - 1`` equal parts,
    while pose k - 1 fades out. The weights of every sample add up to 1.

    Raises:
        ValueError: a fade is longer than a part.
    """
    parts = poses - 1
    if parts < 1 or fade_samples > RATE // parts:
        raise ValueError(
            f"a fade of {fade_samples} samples is longer than a part of a second in {parts} parts"
        )
    samples = np.arange(RATE, dtype=np.float64)
    present = np.ones((poses + 1, RATE))  # how far pose k has come in; the last never does
    present[-1] = 0
    for k in range(1, poses):
        begun = samples - (k - 1) * RATE // parts
        # the first sample of a fade has moved by one step already: the last one before it was all the old pose
        present[k] = np.clip((begun + 1) / (fade_samples + 1), 0, 1)
    return torch.from_numpy((present[:-1] - present[1:]).astype(np.float32))


def moving_rows(poses: Sequence[Listeners]) -> np.ndarray:
    """Indices of the listeners whose pose or sources change within ``poses``."""
    changed = np.zeros(len(poses[-1].scenes), bool)
    for other in poses[:-1]:
        for name in ("azimuths", "receivers"):
            changed |= getattr(other, name) != getattr(poses[-1], name)
        changed |= (other.sources != poses[-1].sources).any(1)
    return np.flatnonzero(changed)


def render_moving(
    renderer: BinauralRenderer, poses: Sequence[Listeners], fade_samples: int, target_bin: bool
) -> Rendered:
    """As :meth:`BinauralRenderer.render`, for listeners who go through ``poses`` (see :func:`fade_weights`).

    Listeners that do not move hear what the plain rendering gives, to the bit.

    Args:
        poses: what the same B listeners hear in turn, with the same clips and seconds throughout.
    """
    plain = renderer.render(poses[-1], target_bin)
    rows = moving_rows(poses)
    if len(rows):
        for whole, part in zip(plain[:2], _faded(renderer, poses, rows, fade_samples, target_bin)):
            _put(whole, rows, part)
    return plain


def hear_moving(
    renderer: BinauralRenderer, poses: Sequence[Listeners], fade_samples: int, target_bin: bool, phases: bool
) -> Heard:
    """As :meth:`BinauralRenderer.hear`, for listeners who go through ``poses``; see :func:`render_moving`."""
    plain = renderer.hear(poses[-1], target_bin, phases)
    rows = moving_rows(poses)
    if len(rows):
        faded = _faded(renderer, poses, rows, fade_samples, target_bin)
        mix = stft(faded[0])
        plain.mix_logmag[rows] = magnitude(mix).log1p_()
        _put(plain.mix_stft, rows, mix)
        if target_bin:
            target = stft(faded[1])
            _put(plain.target_bin_mag, rows, magnitude(target))
            _put(plain.target_bin_stft, rows, target)
    return plain


def _put(whole: Optional[torch.Tensor], rows: np.ndarray, part: torch.Tensor) -> None:
    if whole is not None:
        whole[rows] = part


def _faded(
    renderer: BinauralRenderer,
    poses: Sequence[Listeners],
    rows: np.ndarray,
    fade_samples: int,
    target_bin: bool,
) -> list[torch.Tensor]:
    """Mixture, and if asked for the target's image, of some listeners: ``[len(rows), C, L]`` each."""
    weights = fade_weights(len(poses), fade_samples).to(renderer.device)
    sums: list[torch.Tensor] = []
    for weight, pose in zip(weights, poses):
        rendered = renderer.render(_some(pose, rows), target_bin)
        signals = [signal * weight for signal in rendered[: 1 + target_bin] if signal is not None]
        sums = [total + signal for total, signal in zip(sums, signals)] if sums else signals
    return sums


def _some(listeners: Listeners, rows: np.ndarray) -> Listeners:
    return Listeners(
        scenes=[listeners.scenes[row] for row in rows],
        azimuths=listeners.azimuths[rows],
        receivers=listeners.receivers[rows],
        sources=listeners.sources[rows],
        sounds=[listeners.sounds[row] for row in rows],
        seconds=listeners.seconds[rows],
    )
