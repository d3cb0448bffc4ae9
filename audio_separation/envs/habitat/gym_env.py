"""The Gym environment (gym 0.23) that ``habitat.gym`` and ``habitat.VectorEnv`` make of our task."""

from __future__ import annotations

from typing import Any

import gym
import numpy as np
from habitat.core.environments import RLTaskEnv
from habitat.core.registry import registry
from habitat.gym.gym_wrapper import HabGymWrapper


class _PictureWrapper(HabGymWrapper):
    """habitat-lab's wrapper renders every array observed as a picture; spectrograms are none."""

    def render(self, mode: str = "human", **kwargs: Any) -> np.ndarray:
        observed: Any = self._last_obs
        self._last_obs: Any = {key: observed[key] for key in ("rgb", "depth") if key in observed}
        try:
            return super().render(mode, **kwargs)
        finally:
            self._last_obs = observed


@registry.register_env(name="AudioSeparationGymEnv")
class AudioSeparationGymEnv(gym.Wrapper):
    """As habitat-lab's ``GymHabitatEnv``, which works too but cannot render where a spectrogram is observed."""

    def __init__(self, config: Any, dataset: Any = None):
        super().__init__(_PictureWrapper(RLTaskEnv(config, dataset)))
