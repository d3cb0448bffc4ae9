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

from typing import Callable, NamedTuple, Optional, Protocol, Sequence, TypeVar

import numpy as np
import torch
from torch import Tensor

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.metrics import (
    PUBLISHED_N_FFT,
    binaural_si_sdr,
    si_bss_eval,
    si_sdr_of_each,
    stft_l2,
    with_phase_of,
)
from audio_separation.audio.spectra import INT16_SCALE, fill_window
from audio_separation.audio.stft import RATE, istft, stft
from audio_separation.audio.threads import in_threads
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.envs.simulator import Observation
from audio_separation.models.separator import SeparatorOutput
from audio_separation.scenes.episodes import Episode

METHODS = ("silence", "mixture", "passive", "refined", "refined_causal")
BINAURAL_METRICS = ("bin_si_sdr_db", "bin_si_sdr_improvement_db")
METRICS = ("stft_l2", "si_sdr_db", *BINAURAL_METRICS)
EXTRA_METRICS = ("si_sir_db", "si_sar_db", "sd_sdr_db", "snr_db")

# environments scored together: on a CPU as many as stay in its second-level cache (a quarter less time than 16)
CHUNK = 4

Part = TypeVar("Part")
Scores = dict[str, dict[str, np.ndarray]]  # method -> metric -> [E, T], NaN where there is no score


class Step(NamedTuple):
    """One second as all agents of a batch heard it.

    Attributes:
        second: t, from 0.
        observation: what was there.
        heard: what the separators made of it.
        refined: ``[E, 1, F, N]``, the memory's estimate of this second as of now.
        final: the estimates ``[E, 1, F, N]`` that no later second will improve, by the second that they are of;
            over an episode every second comes once, in order.
    """

    second: int
    observation: Observation
    heard: SeparatorOutput
    refined: Tensor
    final: dict[int, Tensor]


class Listener(Protocol):
    """Something that is told every step of a batch of episodes."""

    def add(self, step: Step) -> None: ...


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


def _in_parts(work: Callable[[slice], Part], envs: int, device: torch.device) -> list[Part]:
    """Do ``work`` for runs of at most :data:`CHUNK` environments, on a CPU in as many threads as torch has."""
    size = CHUNK if device.type == "cpu" else envs
    return in_threads(work, [slice(first, first + size) for first in range(0, envs, size)], device)


class _Truth(NamedTuple):
    """The target's second, in the forms that scores need."""

    mag: Tensor  # [E, 1, F, N]
    phase: Tensor  # [E, 1, F, N] complex of magnitude 1
    wave: Tensor  # [E, L] by the published inverse STFT
    others: Optional[
        Tensor
    ]  # [E, S - 1, L], the other sources by the same; None where they are not asked for

    def of(self, envs: slice) -> _Truth:
        """The same of some environments."""
        return _Truth(*(None if value is None else value[envs] for value in self))  # type: ignore[arg-type]


class ScoreKeeper:
    """Scores a batch of episodes while it is played.

    Args:
        mono_rms: level that the mixture is brought to (``AUDIO.TARGET_MONO_RMS``).
        sources: given, the metrics of :data:`EXTRA_METRICS` are computed too; they need all dry sources.
    """

    def __init__(self, mono_rms: float, sources: Optional[DrySources] = None) -> None:
        self._mono_rms, self._sources = mono_rms, sources
        self._truth: dict[int, _Truth] = {}  # of the seconds whose refined estimate is not final yet
        self._steps: dict[str, dict[str, list[Tensor]]] = {method: {} for method in METHODS}

    def add(self, step: Step) -> None:
        """Score the second, and ``refined`` of every one that is final."""
        obs, heard = step.observation, step.heard
        self._truth[step.second] = self._truth_of(step)
        mixture = mixture_estimate(torch.expm1(obs.mix_logmag), self._mono_rms)
        self._note("silence", {"stft_l2": 0.5 * obs.target_mono_mag.double().square().mean((1, 2, 3))})
        mono = self._score_mono(step.second, [mixture, heard.mono_mag, step.refined])
        mix_stft, target_bin_stft = obs.mix_stft, obs.target_bin_stft
        assert mix_stft is not None and target_bin_stft is not None
        ears = _in_parts(
            lambda part: binaural_si_sdr(heard.bin_mask[part], mix_stft[part], target_bin_stft[part]),
            len(mixture),
            mixture.device,
        )
        score, improvement = (torch.cat(values) for values in zip(*ears))
        masked = dict(zip(BINAURAL_METRICS, (score, improvement)))
        plain = dict(zip(BINAURAL_METRICS, (score - improvement, 0 * score)))
        for k, (method, binaural) in enumerate(
            (("mixture", plain), ("passive", masked), ("refined_causal", masked))
        ):
            self._note(method, {**{metric: values[k] for metric, values in mono.items()}, **binaural})
        self._note("refined", masked)
        for second, estimate in step.final.items():
            self._note(
                "refined", {m: values[0] for m, values in self._score_mono(second, [estimate]).items()}
            )
            del self._truth[second]

    def finish(self) -> Scores:
        """All scores, once the last step was added."""
        assert not self._truth, f"seconds {list(self._truth)} have no final estimate"
        return {
            method: {
                m: torch.stack(scores[m], 1).cpu().numpy() for m in (*METRICS, *EXTRA_METRICS) if m in scores
            }
            for method, scores in self._steps.items()
        }

    def _truth_of(self, step: Step) -> _Truth:
        spectrum, mag = step.observation.target_mono_stft, step.observation.target_mono_mag
        assert spectrum is not None, "scores need a simulator with target_bin=True"
        phase = with_phase_of(torch.ones_like(mag), spectrum)
        others = None
        if self._sources is not None:
            others = istft(stft(self._sources(step.second)[:, 1:]), n_fft=PUBLISHED_N_FFT)
        return _Truth(mag, phase, istft(spectrum[:, 0], n_fft=PUBLISHED_N_FFT), others)

    def _score_mono(self, second: int, estimates: Sequence[Tensor]) -> dict[str, Tensor]:
        """Scores ``[K, E]`` of K magnitudes ``[E, 1, F, N]`` of one second."""
        whole = self._truth[second]
        scores = _in_parts(
            lambda part: _mono_scores(whole.of(part), torch.cat([e[part] for e in estimates], 1)),
            len(whole.mag),
            whole.mag.device,
        )
        return {metric: torch.cat([part[metric] for part in scores]).T for metric in scores[0]}

    def _note(self, method: str, scores: dict[str, Tensor]) -> None:
        for metric, values in scores.items():
            self._steps[method].setdefault(metric, []).append(values)


def _mono_scores(truth: _Truth, mags: Tensor) -> dict[str, Tensor]:
    """Scores ``[G, K]`` of magnitudes ``[G, K, F, N]``."""
    # the real and the imaginary part times the magnitude: no complex copy of it
    spectra = torch.view_as_complex(torch.view_as_real(truth.phase) * mags[..., None])
    waves = istft(spectra, n_fft=PUBLISHED_N_FFT)
    scores = {
        "stft_l2": stft_l2(mags[:, :, None], truth.mag[:, :, None].expand_as(mags[:, :, None])),
        "si_sdr_db": si_sdr_of_each(waves, truth.wave),
    }
    if truth.others is not None:
        sources = torch.cat([truth.wave[:, None], truth.others], 1)[:, None]  # [G, 1, S, L]
        found = si_bss_eval(waves, sources.expand(-1, waves.shape[1], -1, -1))
        scores.update({metric: found[metric[: -len("_db")]] for metric in EXTRA_METRICS})
    return scores
