"""Losses of separators that do not know which of their outputs is which source: the best permutation counts.

Permutation-invariant training (Yu et al. 2017) of waveforms by SI-SDR (Le Roux et al. 2019) or of magnitudes by L1.
Pure functions; shapes: B batch, S sources, L samples, F bins, N frames.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from audio_separation.audio.metrics import SILENCE_RMS

# bounds SI-SDR smoothly to +-30 dB: beyond, one easy example would outweigh a batch of hard ones
SOFT_FLOOR = 1e-3


def soft_si_sdr_db(est: Tensor, ref: Tensor) -> Tensor:
    """SI-SDR of each estimate ``[B, S, L]`` to each reference ``[B, S, L]``, dB ``[B, S, S]`` (estimate, reference).

    ``10 log10((c + t) / (1 - c + t))`` where c is the squared correlation (means removed) and t ``SOFT_FLOOR``:
    within 0.1 dB of SI-SDR up to 13 dB, never beyond 30 dB, and differentiable also for silent estimates.
    """
    est, ref = est - est.mean(-1, keepdim=True), ref - ref.mean(-1, keepdim=True)
    products = est @ ref.transpose(-1, -2)
    energies = est.square().sum(-1)[..., :, None] * ref.square().sum(-1)[..., None, :]
    # far below the product of two audible signals
    least = (SILENCE_RMS**2 * est.shape[-1]) ** 2
    match = (products.square() / (energies + least)).clamp(0, 1)
    return 10 * torch.log10((match + SOFT_FLOOR) / (1 - match + SOFT_FLOOR))


def l1_of_each(est_mag: Tensor, ref_mag: Tensor, level: Tensor) -> Tensor:
    """Mean absolute difference of every pair of magnitudes ``[B, S, F, N]`` -> ``[B, S, S]`` (estimate, reference).

    Args:
        level: ``[B]``, that differences are divided by, so that loud examples count no more than quiet ones.
    """
    difference = (est_mag[:, :, None] - ref_mag[:, None]).abs().mean((-2, -1))
    return difference / level[:, None, None]


def best_permutation(costs: Tensor, sounding: Tensor) -> tuple[Tensor, Tensor]:
    """The least mean cost over all ways to give each source an estimate of its own.

    Args:
        costs: ``[B, S, S]`` (estimate, reference).
        sounding: bool ``[B, S]``; references that are silent take an estimate, but cost nothing.

    Returns:
        The cost ``[B]`` (0 where all are silent), and ``[B, S]``: the number of each source's estimate.
    """
    num_sources = costs.shape[-1]
    every = torch.tensor(list(permutations(range(num_sources))), device=costs.device)  # [P, S]
    sources = torch.arange(num_sources, device=costs.device)
    weighted = costs.masked_fill(~sounding[:, None, :], 0.0)
    counts = sounding.sum(-1).clamp_min(1)
    totals = weighted[:, every, sources].sum(-1) / counts[:, None]  # [B, P]
    best = totals.min(-1)
    return best.values, every[best.indices]


def is_sounding(ref: Tensor) -> Tensor:
    """Which references ``[B, S, L]`` are more than silence, bool ``[B, S]``: of those alone a ratio says something."""
    centred = ref - ref.mean(-1, keepdim=True)
    return centred.square().mean(-1) >= SILENCE_RMS**2


def si_sdr_loss(est: Tensor, ref: Tensor) -> Tensor:
    """Negative soft SI-SDR (dB) of the best permutation, averaged over the batch; ``[B, S, L]`` each."""
    return best_permutation(-soft_si_sdr_db(est, ref), is_sounding(ref))[0].mean()


def l1_loss(est_mag: Tensor, ref_mag: Tensor, mix_mag: Tensor) -> Tensor:
    """L1 of magnitudes ``[B, S, F, N]`` over the mean of the mixture's ``[B, F, N]``, best permutation, batch mean."""
    level = mix_mag.mean((-2, -1)).clamp_min(SILENCE_RMS)
    costs = l1_of_each(est_mag, ref_mag, level)
    return best_permutation(costs, torch.ones_like(costs[:, 0], dtype=torch.bool))[0].mean()
