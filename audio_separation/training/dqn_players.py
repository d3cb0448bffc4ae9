"""Environments that the DQN training plays in, and what is told of a finished episode."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np

from audio_separation.envs.audition.env import AuditionEnv


class Step(NamedTuple):
    """What an action led to."""

    observation: dict[str, np.ndarray]
    reward: float
    terminated: bool
    ended: bool


class Player:
    """One environment in the middle of an episode, whose actions so far it remembers.

    Attributes:
        number: of the episode in its split.
        actions: so far.
    """

    def __init__(self, env: AuditionEnv):
        self.env = env
        self.number = -1
        self.actions: list[int] = []

    def begin(self, number: int) -> dict[str, np.ndarray]:
        """Begin episode ``number``; returns the first observation."""
        self.number, self.actions, self._reward = number, [], 0.0
        observation, info = self.env.reset(options={"episode": self.env.episode(number)})
        self._terms = dict.fromkeys(info["reward_terms"], 0.0)
        self._initial_distance_m = float(info["distance_m"])
        return observation

    def step(self, action: int) -> Step:
        """Act."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._note(action, reward, info["reward_terms"])
        self._found, self._success = info["found"], terminated
        return Step(observation, reward, terminated, terminated or truncated)

    def resume(self, number: int, actions: Sequence[int]) -> None:
        """Come to where ``actions`` lead in episode ``number``, without rendering what is heard on the way."""
        self.begin(number)
        for action in actions:
            terms = self.env.world.step(action).terms
            self._note(action, terms.total, terms._asdict())

    def summary(self) -> dict[str, Any]:
        """Of the episode that has ended."""
        return {
            "episode": self.number,
            "steps": len(self.actions),
            "reward": self._reward,
            "reward_terms": self._terms,
            "found": self._found,
            "success": self._success,
            "initial_distance_m": self._initial_distance_m,
        }

    def _note(self, action: int, reward: float, terms: dict[str, float]) -> None:
        self.actions.append(action)
        self._reward += reward
        for name, value in terms.items():
            self._terms[name] += value


def stack(observations: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Observations as one of arrays ``[E, ...]``."""
    return {name: np.stack([o[name] for o in observations]) for name in observations[0]}
