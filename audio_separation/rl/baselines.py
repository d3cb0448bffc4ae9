"""Scripted agents, judged under the same protocol as the learnt one (DESIGN section 8)."""

from __future__ import annotations

from typing import Callable

import numpy as np

from audio_separation.envs.simulator import ACTIONS, HOLD, TURN_RIGHT

# (number of environments, uniform numbers [E] in [0, 1)) -> actions [E]
ScriptedAgent = Callable[[int, np.ndarray], np.ndarray]


def stand(num_envs: int, uniform: np.ndarray) -> np.ndarray:
    """Stand in place: keep the starting pose."""
    return np.full(num_envs, HOLD)


def rotate(num_envs: int, uniform: np.ndarray) -> np.ndarray:
    """Rotate in place: turn right at every step."""
    return np.full(num_envs, TURN_RIGHT)


def random_walk(num_envs: int, uniform: np.ndarray) -> np.ndarray:
    """Draw each action with equal probability."""
    return np.minimum((uniform * len(ACTIONS)).astype(int), len(ACTIONS) - 1)


SCRIPTED: dict[str, ScriptedAgent] = {"stand": stand, "rotate": rotate, "random": random_walk}
