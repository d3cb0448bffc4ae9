"""What was heard and estimated in an episode, second by second, for pictures and sound files."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audio_separation.audio.metrics import with_phase_of
from audio_separation.audio.stft import istft
from audio_separation.evaluation.scores import DrySources, Step

RMS_FLOOR = 1e-6


class Recording(NamedTuple):
    """A whole episode: waveforms ``[C, T * L]`` and magnitudes ``[C, F, T * N]``, C = 1 for mono.

    Attributes:
        mixture, target_bin, separated_bin: at the ears; ``separated_bin`` is the mixture times the
            separators' mask, phase and all: what a deployed system could play.
        target_mono: the target's dry sound.
        passive_mono, refined_mono: the estimated magnitudes with the target's true phase and, second by
            second, its true level: as they are scored, which no deployed system could play.
        mags: ``mixture`` ``[2, F, T * N]``; ``target``, ``passive``, ``refined`` ``[1, F, T * N]``, every
            second at the same level, as scored.
    """

    mixture: np.ndarray
    target_bin: np.ndarray
    separated_bin: np.ndarray
    target_mono: np.ndarray
    passive_mono: np.ndarray
    refined_mono: np.ndarray
    mags: dict[str, np.ndarray]


class Recorder:
    """Listens to a batch of episodes and hands out a :class:`Recording` of each.

    Args:
        sources: dry signals of the same episodes, for the target's true level.
    """

    def __init__(self, sources: DrySources) -> None:
        self._sources = sources
        self._steps: list[Step] = []
        self._refined: list[Tensor] = []  # T x [E, 1, F, N]

    def add(self, step: Step) -> None:
        """Keep a second."""
        self._steps.append(step)
        self._refined += step.final.values()

    def recording(self, env: int) -> Recording:
        """The episode of environment ``env``."""
        observations = [step.observation for step in self._steps]
        # None only without target_bin, which scores need as well
        mix, target_bin, truth = (
            torch.stack([spectra[env] for spectra in every if spectra is not None])  # [T, C, F, N]
            for every in zip(*((o.mix_stft, o.target_bin_stft, o.target_mono_stft) for o in observations))
        )
        mask = torch.stack([step.heard.bin_mask[env] for step in self._steps])
        passive = torch.stack([step.heard.mono_mag[env] for step in self._steps])
        refined = torch.stack([estimate[env] for estimate in self._refined])
        dry = torch.stack([self._sources(step.second)[env, :1] for step in self._steps])  # [T, 1, L]
        level = _levels(dry, istft(truth))
        return Recording(
            mixture=_joined(istft(mix)),
            target_bin=_joined(istft(target_bin)),
            separated_bin=_joined(istft(mask * mix)),
            target_mono=_joined(dry),
            passive_mono=_joined(istft(with_phase_of(passive, truth)) * level),
            refined_mono=_joined(istft(with_phase_of(refined, truth)) * level),
            mags={
                "mixture": _joined(mix.abs()),
                "target": _joined(truth.abs()),
                "passive": _joined(passive),
                "refined": _joined(refined),
            },
        )


def _levels(dry: Tensor, scaled: Tensor) -> Tensor:
    """Factor ``[T, 1, 1]`` from the scored level to the true one; silent seconds take the others' mean."""
    wanted, given = (x.square().mean(-1, keepdim=True).sqrt() for x in (dry, scaled))
    sounding = given > RMS_FLOOR
    if not sounding.any():
        return torch.ones_like(given)
    level = wanted / given.clamp_min(RMS_FLOOR)
    return torch.where(sounding, level, level[sounding].mean())


def _joined(seconds: Tensor) -> np.ndarray:
    # [T, C, ..., K] -> [C, ..., T * K]
    return np.concatenate(list(seconds.cpu().numpy()), axis=-1)
