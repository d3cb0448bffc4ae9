"""What one rollout holds. Episodes begin with it and end with it, so it is also the external memory."""

from __future__ import annotations

from typing import NamedTuple, Optional

import numpy as np
from torch import Tensor


class Rollout(NamedTuple):
    """T steps of E environments, ``[T, E, ...]``; the memory's past estimates are rows of ``mono_mag``."""

    rgb: Optional[Tensor]  # [T, E, H, W, 3] uint8, at the policy's image size
    depth: Optional[Tensor]  # [T, E, H, W, 1]
    bin_mag: Tensor  # [T, E, C, F, N] masked mixture
    mono_mag: Tensor  # [T, E, 1, F, N] passive estimate
    refined: Tensor  # [T, E, 1, F, N] the memory's estimate of each second when it was the current one
    target_mono_mag: Tensor  # [T, E, 1, F, N]
    actions: Tensor  # [T, E] int64
    log_prob: Tensor  # [T, E]
    values: Tensor  # [T, E]
    rewards: Tensor  # [T, E]

    def envs(self, index: Tensor) -> Rollout:
        """The same steps of some environments."""
        picked = [None if field is None else field[:, index] for field in self]
        return Rollout(*picked)  # type: ignore[arg-type]


class RolloutBuffer:
    """Room for one rollout, made at its first step and filled step by step.

    Args:
        num_steps: T.
    """

    def __init__(self, num_steps: int):
        self._num_steps = num_steps
        self._fields: dict[str, Optional[Tensor]] = {}

    def write(self, step: int, **fields: Optional[Tensor]) -> None:
        """Put in ``[E, ...]`` of one step, by the names of :class:`Rollout`."""
        for name, value in fields.items():
            if name not in self._fields:
                self._fields[name] = None if value is None else value.new_empty(self._num_steps, *value.shape)
            room = self._fields[name]
            if room is not None and value is not None:
                room[step] = value

    def rollout(self, rewards: Tensor) -> Rollout:
        """The rollout whose steps were all written; shares its memory."""
        return Rollout(**self._fields, rewards=rewards)  # type: ignore[arg-type]


def episode_order(num_episodes: int, update: int, num_envs: int, seed: int) -> list[int]:
    """Indices of the episodes that the environments of all ranks play in rollout ``update``, ``num_envs`` of them.

    Every episode comes once before any comes again, in an order drawn anew for each pass. The order depends on
    nothing but its arguments, so a resumed run needs no state.
    """
    chosen = []
    for position in range(update * num_envs, (update + 1) * num_envs):
        turn, place = divmod(position, num_episodes)
        chosen.append(int(np.random.default_rng((seed, 2, turn)).permutation(num_episodes)[place]))
    return chosen
