"""The environment of the question, as posted, in today's Gymnasium: for showing what is wrong with it, not for use.

A question on the web asks why a DDPG agent of keras-rl that shall flatten a step stays at the same values for ever.
What follows is our own writing of what its environment computes, with its numbers; ``docs/step_signal.md`` answers it.
"""

from __future__ import annotations

import warnings
from typing import Any, Optional

import gymnasium
import numpy as np
from gymnasium import spaces
from scipy.signal import BadCoefficients, butter, filtfilt

RATE_HZ = 30
SECONDS = 20
LENGTH = RATE_HZ * SECONDS
GOAL = 3.0
ORDER = 4
THRESHOLD = 10e-1  # of the L2 norm of the difference over all samples, below which it counts as success
LOW = np.array([10e-4, -2.0])  # of the actions: cutoff in Hz, offset
HIGH = np.array([RATE_HZ / 2 - 0.1, 2.0])
# of keras-rl's agent
WARM_UP_CRITIC, WARM_UP_ACTOR, FIT_STEPS, EPISODE_STEPS = 2000, 10000, 10, 5


def published_signal() -> np.ndarray:
    """The step from 4 to 5 a quarter into 20 s, float64 ``[600]``."""
    return 0.5 * (np.sign(np.linspace(0, SECONDS, LENGTH) - 5) + 9)


def low_pass_by_coefficients(signal: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Filter forwards and backwards with the coefficients of the two whole polynomials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BadCoefficients)
        b, a = butter(ORDER, cutoff_hz / (RATE_HZ / 2))
    return filtfilt(b, a, signal)


def published_rescale(action: Any) -> np.ndarray:
    """From what the networks put out, ``[..., 2]``, to cutoff (Hz) and offset.

    Half the range times (action + 1), then clipped: the lower end of the range is not added.
    """
    return np.clip((HIGH - LOW) / 2 * (np.asarray(action, np.float64) + 1), LOW, HIGH)


class PublishedStepSignalEnv(gymnasium.Env):
    """One and the same step and goal in every episode; the signal of the last step is filtered again by the next.

    ``step`` takes what the networks put out, whatever its size, although the action space says cutoff and offset. No
    episode ends.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's class attribute

    def __init__(self) -> None:
        self.goal = np.full(LENGTH, GOAL)
        self.signal = published_signal()
        self.action_space = spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32))
        signals = spaces.Box(-np.inf, np.inf, (LENGTH,), np.float64)
        names = ("observation", "achieved_goal", "desired_goal")
        self.observation_space = spaces.Dict(dict.fromkeys(names, signals))

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[dict, dict]:
        """Put the signal back."""
        super().reset(seed=seed)
        self.signal = published_signal()
        return self._observation(), {}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Filter the signal of the last step, subtract the offset, and negate what :meth:`compute_reward` says."""
        cutoff_hz, offset = published_rescale(action)
        self.signal = low_pass_by_coefficients(self.signal, float(cutoff_hz)) - offset
        observation = self._observation()
        distance = self.compute_reward(observation["achieved_goal"], self.goal)
        return observation, -distance, False, False, {"is_success": distance < THRESHOLD}

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any = None) -> float:
        """The L2 norm of the difference, positive; of a batch it is one number."""
        return float(np.linalg.norm(np.asarray(desired_goal) - np.asarray(achieved_goal)))

    def _observation(self) -> dict[str, np.ndarray]:
        return {
            "observation": self.signal.copy(),
            "achieved_goal": self.signal.copy(),
            "desired_goal": self.goal.copy(),
        }
