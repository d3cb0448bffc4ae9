"""Scores of an audition episode: how the sources were found, and how well they were separated on the way.

Of the way: ``success`` (1 where all sources were found), ``found_fraction``, ``steps`` (MAX_STEPS where not all were
found), ``spl`` (success weighted by path length, Anderson et al. 2018), ``path_m``, ``initial_distance_m`` (to the
nearest source), ``reward`` and each of its terms as ``reward_<term>``.

Of separation, in dB: ``si_sdr_db``, ``si_sdr_improvement_db`` and ``si_sir_db`` of the estimates against the sources'
images, averaged over the ears, best permutation, mean over the sources. ``first_...`` is that of the first
observation, which is the same for all agents; without ``first_`` it is the mean over the observations, before each
action, in which all sources sound. They are given for the policy's separator, for the unprocessed ``mixture`` and for
the ``ideal_mask`` (ratio of the images' magnitudes).
"""

from __future__ import annotations

import math
from typing import Mapping, NamedTuple, Optional, Sequence

import numpy as np
import torch
from yacs.config import CfgNode

from audio_separation.audio.ideal_mask import ideal_mask_waves
from audio_separation.audio.separation_scores import separation_scores
from audio_separation.audio.transform import Stft
from audio_separation.evaluation.audition.agents import Turn
from audio_separation.models.audition.separation import Separator

METRICS = ("si_sdr_db", "si_sdr_improvement_db", "si_sir_db")


class Way(NamedTuple):
    """What an agent did in an episode."""

    success: bool
    found: int
    num_sources: int
    steps: int
    max_steps: int
    path_m: float
    shortest_m: float
    initial_distance_m: float
    terms: Sequence[Mapping[str, float]]  # of the rewards, one mapping a step


def spl(success: bool, shortest_m: float, path_m: float) -> float:
    """Success weighted by path length: 1 for a shortest path, 0 where it failed (Anderson et al. 2018)."""
    longest = max(path_m, shortest_m)
    return float(success) * (shortest_m / longest if longest > 0 else 1.0)


def navigation_scores(way: Way) -> dict[str, float]:
    """Scores of the way, see the head of this file."""
    names = way.terms[0] if way.terms else ()
    sums = {f"reward_{name}": math.fsum(terms[name] for terms in way.terms) for name in names}
    return {
        "success": float(way.success),
        "found_fraction": way.found / way.num_sources,
        "steps": float(way.steps if way.success else way.max_steps),
        "spl": spl(way.success, way.shortest_m, way.path_m),
        "path_m": way.path_m,
        "initial_distance_m": way.initial_distance_m,
        "reward": math.fsum(sums.values()),
        **sums,
    }


class SeparationKeeper:
    """Scores separation while episodes are played, until each is taken.

    Args:
        separator: whose estimates are scored; None: mixture and ideal mask alone.
    """

    def __init__(self, config: CfgNode, separator: Optional[Separator], device: torch.device):
        self.device, self._agent, self._separator = device, config.EVAL.AGENT, separator
        self._stft = Stft(config.AUDITION.SEPARATOR.N_FFT, config.AUDITION.SEPARATOR.HOP).to(device)
        self._scores: dict[
            int, list[dict[str, dict[str, float]]]
        ] = {}  # of an episode: one entry an observation

    @torch.no_grad()
    def hear(self, turn: Turn) -> None:
        """Score the observations of the environments in which all sources sound."""
        rows = [k for k, world in enumerate(turn.worlds) if world.active.all()]
        if not rows:
            return
        images = torch.from_numpy(np.stack([turn.worlds[k].source_images() for k in rows])).to(self.device)
        mix = images.sum(1)  # [K, C, L]
        estimates = {
            "mixture": mix.mean(1, keepdim=True).expand(-1, images.shape[1], -1),
            "ideal_mask": ideal_mask_waves(images, self._stft),
        }
        if self._separator is not None:
            estimates[self._agent] = self._separator.waves(mix)
        scores = {method: separation_scores(waves, images) for method, waves in estimates.items()}
        for i, k in enumerate(rows):
            found = {m: {metric: float(s[metric][i]) for metric in METRICS} for m, s in scores.items()}
            self._scores.setdefault(turn.numbers[k], []).append(found)

    def take(self, number: int, way: Mapping[str, float]) -> dict[str, dict[str, Optional[float]]]:
        """``method -> metric -> value`` of an episode that has ended; the scores of its way are the agent's."""
        heard = self._scores.pop(number)
        scores: dict[str, dict[str, Optional[float]]] = {self._agent: {k: _plain(v) for k, v in way.items()}}
        for method in heard[0]:
            of_method = scores.setdefault(method, {})
            for metric in METRICS:
                values = np.array([step[method][metric] for step in heard])
                of_method[f"first_{metric}"] = _plain(values[0])
                of_method[metric] = _plain(np.nanmean(values)) if np.isfinite(values).any() else None
        return scores


def _plain(value: float) -> Optional[float]:
    # NaN is no JSON; seven digits are what float32 sounds carry
    return float(f"{value:.7g}") if np.isfinite(value) else None
