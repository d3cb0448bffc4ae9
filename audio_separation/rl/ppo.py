"""The PPO objective (Schulman et al., 2017), as pure functions of tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PPOLoss(NamedTuple):
    """The loss to minimise and its parts; all are scalars, all but ``total`` are for the log."""

    total: Tensor
    action: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def sample_actions(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw actions by inverse transform of given uniform numbers.

    Args:
        logits: ``[..., A]``.
        uniform: ``[...]`` in [0, 1); passing them in makes a draw independent of how environments are
            spread over processes.

    Returns:
        ``[...]`` int64.
    """
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    drawn = (uniform.double().unsqueeze(-1) >= cumulative).sum(-1)
    return drawn.clamp_max(logits.shape[-1] - 1)


def log_prob(logits: Tensor, actions: Tensor) -> Tensor:
    """Log-probability of ``actions`` ``[...]`` under categorical ``logits`` ``[..., A]``."""
    return torch.log_softmax(logits, -1).gather(-1, actions.unsqueeze(-1)).squeeze(-1)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of categorical ``logits`` ``[..., A]`` in nats, ``[...]``."""
    logp = torch.log_softmax(logits, -1)
    return -(logp.exp() * logp).sum(-1)


def ppo_loss(
    logits: Tensor,
    values: Tensor,
    actions: Tensor,
    old_log_prob: Tensor,
    advantages: Tensor,
    returns: Tensor,
    clip: float,
    value_coef: float,
    entropy_coef: float,
) -> PPOLoss:
    """Clipped surrogate + value error - entropy bonus.

    Args:
        logits: ``[T, E, A]`` of the policy being learnt; the rest ``[T, E]`` as collected.
        clip: the ratio is clipped to [1 - clip, 1 + clip].
    """
    log_ratio = log_prob(logits, actions) - old_log_prob
    ratio = log_ratio.exp()
    surrogate = torch.min(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    action_loss = -surrogate.mean()
    value_loss = 0.5 * (returns - values).square().mean()
    mean_entropy = entropy(logits).mean()
    return PPOLoss(
        total=action_loss + value_coef * value_loss - entropy_coef * mean_entropy,
        action=action_loss.detach(),
        value=value_loss.detach(),
        entropy=mean_entropy.detach(),
        approx_kl=((ratio - 1) - log_ratio).mean().detach(),
        clip_fraction=((ratio - 1).abs() > clip).float().mean().detach(),
    )


def explained_variance(values: Tensor, returns: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns): 1 is a perfect critic, 0 no better than the mean."""
    variance = returns.var(unbiased=False)
    return 1 - (returns - values).var(unbiased=False) / variance.clamp_min(1e-12)
