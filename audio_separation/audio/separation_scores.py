"""Scores of separated sources that come in no order: each estimate is held against the source that suits it best."""

from __future__ import annotations

from itertools import permutations

import torch

from audio_separation.audio.metrics import si_bss_eval, si_sdr_of_each


def separation_scores(waves: torch.Tensor, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Score estimates ``[B, S, L]`` against the sources' images at the ears ``[B, S, C, L]``.

    References are the images averaged over the ears, the mixture is their sum. The estimates are assigned to the
    sources so that the mean SI-SDR is the highest, which decides for SI-SIR too.

    Returns:
        dB ``[B]``, float64, means over the sources that sound: ``si_sdr_db``, ``si_sdr_mixture_db`` (the mixture as
        everybody's estimate), ``si_sdr_improvement_db`` (their difference) and ``si_sir_db`` (Le Roux et al. 2019).
        NaN where fewer than two sources sound, for then there is nothing to separate.

    Raises:
        ValueError: the shapes do not agree.
    """
    if images.dim() != 4 or waves.shape != images[:, :, 0].shape:
        raise ValueError(
            f"separation_scores expects waves [B, S, L] and images [B, S, C, L], got {tuple(waves.shape)} and "
            f"{tuple(images.shape)}"
        )
    sources = waves.shape[1]
    refs = images.mean(2)
    ests = torch.cat([waves, refs.sum(1, keepdim=True)], 1)  # [B, S + 1, L], the mixture last
    pairs = si_sdr_of_each(ests[:, None].expand(-1, sources, -1, -1), refs)  # [B, S of refs, S + 1]
    orders = torch.tensor(list(permutations(range(sources))), device=waves.device)  # [S!, S]
    # silent references are NaN whatever the estimate, so they must not take part in the choice
    totals = pairs.nan_to_num(0.0)[:, torch.arange(sources), orders].sum(-1)  # [B, S!]
    order = orders[totals.argmax(1)]  # [B, S]: the estimate of each reference
    chosen = waves.gather(1, order[..., None].expand_as(waves))
    sir = [si_bss_eval(chosen[:, s], refs, target=s)["si_sir"] for s in range(sources)]
    sdr = pairs.gather(2, order[..., None])[..., 0]
    scores = {
        "si_sdr_db": sdr,
        "si_sdr_mixture_db": pairs[..., -1],
        "si_sdr_improvement_db": sdr - pairs[..., -1],
        "si_sir_db": torch.stack(sir, 1),
    }
    alone = (~sdr.isnan()).sum(1) < 2
    return {name: score.nanmean(1).masked_fill(alone, torch.nan) for name, score in scores.items()}
