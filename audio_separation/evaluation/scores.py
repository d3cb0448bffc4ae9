"""Scores of every second of a batch of episodes, for every method (DESIGN section 8).

Methods
    silence         zeros
    mixture         the unprocessed mixture: mean of the ears, brought to the target's level
    passive         what the separators say about that second alone
    refined         after up to ``EVAL.REFINE_STEPS`` later seconds, as published
    refined_causal  the memory's estimate as of its own second

Metrics
    stft_l2                    half the MSE of the mono magnitudes; lower is better
    si_sdr_db                  mono, with the target's true phase (an oracle), as published
    bin_si_sdr_db              the masked complex mixture against the target's image, mean of the ears: what a
                               deployed system reaches
    bin_si_sdr_improvement_db  the same minus the unprocessed mixture's

On request also ``si_sir_db``, ``si_sar_db``, ``sd_sdr_db`` and ``snr_db`` of the mono estimate, given the dry
sounds of all sources. A distractor's remains carry the target's phase, so most of them count as artefacts, few
as interference.

The memory changes the mono estimate only, so ``refined`` and ``refined_causal`` share the binaural scores of
``passive`` along the same path. Silence has no ratio in dB, and neither has a second in which the target is
silent: these are NaN here, null in files, and left out of means.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Protocol, Sequence

import numpy as np
import torch
from torch import Tensor

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.metrics import (
    PUBLISHED_N_FFT,
    binaural_si_sdr,
    si_bss_eval,
    si_sdr,
    stft_l2,
    with_phase_of,
)
from audio_separation.audio.render import INT16_SCALE, fill_window
from audio_separation.audio.stft import RATE, istft, stft
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.envs.simulator import Observation
from audio_separation.models.separator import SeparatorOutput
from audio_separation.scenes.episodes import Episode

METHODS = ("silence", "mixture", "passive", "refined", "refined_causal")
BINAURAL_METRICS = ("bin_si_sdr_db", "bin_si_sdr_improvement_db")
METRICS = ("stft_l2", "si_sdr_db", *BINAURAL_METRICS)
EXTRA_METRICS = ("si_sir_db", "si_sar_db", "sd_sdr_db", "snr_db")

Scores = dict[str, dict[str, np.ndarray]]  # method -> metric -> [E, T], NaN where there is no score


class Step(NamedTuple):
    """One second as all agents of a batch heard it.

    Attributes:
        second: t, from 0.
        observation: what was there.
        heard: what the separators made of it.
        refined: ``[E, K, 1, F, N]``, the memory's present estimates of the last K seconds, this one last.
    """

    second: int
    observation: Observation
    heard: SeparatorOutput
    refined: Tensor


class Listener(Protocol):
    """Something that is told every step of a batch of episodes."""

    def add(self, step: Step) -> None: ...


class RefinedEstimates:
    """Keeps the newest estimate of every second while it is within reach of later ones."""

    def __init__(self) -> None:
        self.final: list[Tensor] = []  # T x [E, 1, F, N]

    def add(self, step: Step) -> None:
        """Take over the estimates that ``step`` renews."""
        renewed = step.refined.unbind(1)
        self.final.append(renewed[-1])
        for back, estimate in enumerate(reversed(renewed[:-1]), start=2):
            self.final[-back] = estimate


# step index -> dry signals [E, S, L] of all sources, target first
DrySources = Callable[[int], Tensor]


def dry_sources(clips: ClipLibrary, episodes: Sequence[Episode], device: torch.device) -> DrySources:
    """Return a function that reads the dry second ``[E, S, L]`` of every source."""

    def read(index: int) -> Tensor:
        seconds = np.zeros((len(episodes), episodes[0].num_sources, RATE), np.int16)
        for e, episode in enumerate(episodes):
            for s, (sound, start) in enumerate(zip(episode.sounds, episode.start_seconds)):
                fill_window(clips.samples(sound), start + index, seconds[e, s])
        return torch.from_numpy(seconds).to(device).float() / INT16_SCALE

    return read


class _Truth(NamedTuple):
    """The target's second, in the forms that scores need."""

    mag: Tensor  # [E, 1, F, N]
    phase: Tensor  # [E, 1, F, N] complex of magnitude 1
    wave: Tensor  # [E, L] by the published inverse STFT


def _truth_of(observation: Observation) -> _Truth:
    spectrum, mag = observation.target_mono_stft, observation.target_mono_mag
    phase = with_phase_of(torch.ones_like(mag), spectrum)
    return _Truth(mag, phase, istft(spectrum[:, 0], n_fft=PUBLISHED_N_FFT))


class ScoreKeeper:
    """Scores a batch of episodes while it is played.

    Args:
        mono_rms: level that the mixture is brought to (``AUDIO.TARGET_MONO_RMS``).
        sources: given, the metrics of :data:`EXTRA_METRICS` are computed too; they need all dry sources.
    """

    def __init__(self, mono_rms: float, sources: Optional[DrySources] = None) -> None:
        self._mono_rms, self._sources = mono_rms, sources
        self._refined = RefinedEstimates()
        self._truth: list[_Truth] = []
        self._steps: dict[str, dict[str, list[Tensor]]] = {method: {} for method in METHODS}

    def add(self, step: Step) -> None:
        """Score what is final at once; ``refined`` waits for the later seconds."""
        obs, heard = step.observation, step.heard
        self._refined.add(step)
        self._truth.append(_truth_of(obs))
        mixture = mixture_estimate(obs.mix_stft.abs(), self._mono_rms)
        self._note("silence", {"stft_l2": stft_l2(torch.zeros_like(mixture), obs.target_mono_mag)})
        estimates = torch.stack([mixture, heard.mono_mag, step.refined[:, -1]])
        mono = self._score_mono(step.second, estimates)
        assert obs.target_bin_stft is not None, "scores need a simulator with target_bin=True"
        binaural = binaural_si_sdr(heard.bin_mask, obs.mix_stft, obs.target_bin_stft)
        masked = dict(zip(BINAURAL_METRICS, binaural))
        plain = dict(zip(BINAURAL_METRICS, (binaural.si_sdr - binaural.improvement, 0 * binaural.si_sdr)))
        for k, (method, ears) in enumerate(
            (("mixture", plain), ("passive", masked), ("refined_causal", masked))
        ):
            self._note(method, {**{metric: values[k] for metric, values in mono.items()}, **ears})
        self._note("refined", masked)

    def finish(self) -> Scores:
        """All scores, once the last step was added."""
        for index, estimate in enumerate(self._refined.final):
            mono = self._score_mono(index, estimate[None])
            self._note("refined", {metric: values[0] for metric, values in mono.items()})
        return {
            method: {
                m: torch.stack(scores[m], 1).cpu().numpy() for m in (*METRICS, *EXTRA_METRICS) if m in scores
            }
            for method, scores in self._steps.items()
        }

    def _score_mono(self, index: int, estimates: Tensor) -> dict[str, Tensor]:
        """Scores ``[K, E]`` of magnitudes ``[K, E, 1, F, N]`` of second ``index``."""
        truth = self._truth[index]
        # one inverse STFT for all methods and environments: it is the costly part
        waves = istft((estimates * truth.phase)[:, :, 0], n_fft=PUBLISHED_N_FFT)
        scores = {
            "stft_l2": stft_l2(estimates, truth.mag.expand_as(estimates)),
            "si_sdr_db": si_sdr(waves, truth.wave.expand_as(waves)),
        }
        if self._sources is not None:
            scores.update(self._extra(index, waves, truth.wave))
        return scores

    def _extra(self, index: int, waves: Tensor, reference: Tensor) -> dict[str, Tensor]:
        assert self._sources is not None
        others = istft(stft(self._sources(index)[:, 1:]), n_fft=PUBLISHED_N_FFT)
        sources = torch.cat([reference[:, None], others], 1)  # [E, S, L]
        scores = si_bss_eval(waves, sources.expand(len(waves), *sources.shape))
        return {metric: scores[metric[: -len("_db")]] for metric in EXTRA_METRICS}

    def _note(self, method: str, scores: dict[str, Tensor]) -> None:
        for metric, values in scores.items():
            self._steps[method].setdefault(metric, []).append(values)
