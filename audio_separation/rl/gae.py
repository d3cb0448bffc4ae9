"""Generalised advantage estimation (Schulman et al., 2016)."""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    rewards: Tensor, values: Tensor, not_done: Tensor, last_value: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of a rollout.

    Args:
        rewards: ``[T, E]``, for the action at each step.
        values: ``[T, E]``, of the observation before that action.
        not_done: ``[T, E]``, 0 where the action at that step ended the episode.
        last_value: ``[E]``, of the observation after the last step.

    Returns:
        advantages ``[T, E]`` and returns ``[T, E]`` = advantages + values.
    """
    advantages = torch.zeros_like(rewards)
    running = torch.zeros_like(last_value)
    for t in range(len(rewards) - 1, -1, -1):
        following = values[t + 1] if t + 1 < len(values) else last_value
        delta = rewards[t] + gamma * following * not_done[t] - values[t]
        running = delta + gamma * lam * not_done[t] * running
        advantages[t] = running
    return advantages, advantages + values
