"""Deep Q-learning as pure tensor functions (Mnih et al. 2015; double DQN: van Hasselt et al. 2016)."""

from __future__ import annotations

import math
from bisect import insort
from typing import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

DRAWS = 5  # second word of the seed of the numbers that draw actions where a policy is judged


def dqn_targets(
    reward: Tensor, terminated: Tensor, next_online: Tensor, next_target: Tensor, gamma: float, double: bool
) -> Tensor:
    """What the value of the action taken should have been, ``[B]``.

    ``reward + gamma * (1 - terminated) * Q_target(s', a')``. The action a' is the best by the online network where
    ``double``, else the best by the target network. An episode that was truncated goes on, so it is not terminated.

    Args:
        reward: ``[B]``.
        terminated: ``[B]``, bool or 0 and 1.
        next_online: values of the next observations by the online network, ``[B, A]``; read where ``double``.
        next_target: by the target network, ``[B, A]``.
    """
    if double:
        following = next_target.gather(1, next_online.argmax(1, keepdim=True))[:, 0]
    else:
        following = next_target.amax(1)
    # not a product: the values of what follows an end have no meaning, so they may be anything
    return reward + gamma * following.masked_fill(terminated.bool(), 0.0)


def dqn_loss(values: Tensor, actions: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Mean error of the values ``[B, A]`` of the ``actions`` (int64 ``[B]``) against ``targets [B]``.

    Args:
        kind: ``huber`` (quadratic below an error of 1) or ``mse``.
    """
    taken = values.gather(1, actions[:, None])[:, 0]
    return (functional.smooth_l1_loss if kind == "huber" else functional.mse_loss)(taken, targets)


def epsilon_at(step: int, start: float, end: float, decay_steps: int, decay: str) -> float:
    """Share of random actions after ``step`` steps.

    Args:
        decay: ``linear`` reaches ``end`` at ``decay_steps`` and stays; ``exponential`` comes nearer to ``end`` by the
            factor e every ``decay_steps``.
    """
    left = math.exp(-step / decay_steps) if decay == "exponential" else max(0.0, 1 - step / decay_steps)
    return end + (start - end) * left


def times_due(before: int, after: int, every: int) -> int:
    """How many multiples of ``every`` lie in ``(before, after]``."""
    return after // every - before // every


@torch.no_grad()
def move_towards(target: nn.Module, online: nn.Module, fraction: float) -> None:
    """Move the weights of ``target`` by ``fraction`` of the way to those of ``online``; buffers are copied."""
    for weight, learnt in zip(target.parameters(), online.parameters()):
        weight.lerp_(learnt, fraction)
    for buffer, other in zip(target.buffers(), online.buffers()):
        buffer.copy_(other)


class AutoClip:
    """Clips gradients at a percentile of all their norms so far (Seetharaman et al. 2020, "AutoClip").

    The history is whole and kept in order: 8 bytes and a binary search each update.

    Args:
        percentile: 0 to 100, of the norms including the current one, interpolated linearly.
    """

    def __init__(self, percentile: float):
        self.percentile = percentile
        self._norms: list[float] = []

    def threshold(self, norm: float) -> float:
        """Take ``norm`` into the history and return the norm to clip at."""
        insort(self._norms, norm)
        place = self.percentile / 100 * (len(self._norms) - 1)
        below = math.floor(place)
        above = min(below + 1, len(self._norms) - 1)
        return self._norms[below] + (place - below) * (self._norms[above] - self._norms[below])

    def state_dict(self) -> dict[str, Tensor]:
        """The history, for a checkpoint."""
        return {"norms": torch.tensor(self._norms, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from :meth:`state_dict`."""
        self._norms = state["norms"].tolist()


def gradient_norm(gradients: Sequence[Tensor]) -> float:
    """Euclidean norm of all gradients together."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])).item()


def clip_gradients(gradients: Sequence[Tensor], norm: float, limit: float) -> None:
    """Scale gradients of Euclidean norm ``norm`` down to ``limit``, in place; smaller ones stay as they are."""
    if norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)


def episode_draws(seed: int, number: int, steps: int) -> np.ndarray:
    """Uniform numbers ``[T, 2]`` of a judged episode: its own, whatever else is played beside it."""
    return np.random.default_rng((seed, DRAWS, number)).random((steps, 2))


def stray(action: int, draw: np.ndarray, epsilon: float, num_actions: int) -> int:
    """``action``, or with the chance ``epsilon`` any; ``draw [2]`` are uniform numbers that decide."""
    return int(draw[1] * num_actions) if draw[0] < epsilon else action
