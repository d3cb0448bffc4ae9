"""Playing numbered episodes side by side."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Optional, Sequence

import gymnasium
import numpy as np

from audio_separation.evaluation.control.kits import ScriptedAgent
from audio_separation.evaluation.control.trajectory import Trajectory
from audio_separation.training.run_dir import Progress, StopRequest

AGENT_SEED = 7  # first word of what chance decides in scripted agents


class Slot:
    """One environment and the episode that it plays."""

    def __init__(self, env: gymnasium.Env):
        self.env, self.ended = env, True

    def begin(self, number: int, seed: int) -> None:
        """Begin episode ``number`` of the environment's split."""
        self.observation, info = self.env.reset(options={"episode": number})
        self.trajectory = Trajectory(number, [info], [], [])
        self.rng = np.random.default_rng([AGENT_SEED, seed, number])
        self.ended = False

    def step(self, action: Any) -> None:
        """Act; ``ended`` says whether the episode is over."""
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self.trajectory.infos.append(info)
        self.trajectory.actions.append(np.asarray(action).tolist())
        self.trajectory.rewards.append(float(reward))
        self.ended = terminated or truncated


Actor = Callable[[Sequence[Slot]], Sequence[Any]]  # an action for each


def scripted(agent: ScriptedAgent) -> Actor:
    """Ask a scripted agent for each environment."""
    return lambda slots: [agent(slot.env.unwrapped, slot.rng) for slot in slots]


def learnt(policy: Any) -> Actor:
    """The likeliest actions of a policy of Stable-Baselines3, all environments in one batch."""

    def act(slots: Sequence[Slot]) -> Sequence[Any]:
        first = slots[0].observation
        if isinstance(first, dict):
            batch: Any = {key: np.stack([slot.observation[key] for slot in slots]) for key in first}
        else:
            batch = np.stack([slot.observation for slot in slots])
        actions, _ = policy.predict(batch, deterministic=True)
        return list(actions)

    return act


def play(
    slots: Sequence[Slot],
    numbers: Sequence[int],
    seed: int,
    actor: Actor,
    record: Callable[[gymnasium.Env, Trajectory], dict[str, Any]],
    stop: StopRequest,
    progress: Progress,
) -> Optional[list[dict[str, Any]]]:
    """Play episodes ``numbers``; what each is and what chance decides in it follow from its number.

    Returns:
        What ``record`` makes of each, in the order of ``numbers``; None if a signal came.
    """
    waiting = deque(numbers)
    records: dict[int, dict[str, Any]] = {}
    while True:
        idle = [slot for slot in slots if slot.ended]
        for slot in idle[: len(waiting)]:
            slot.begin(waiting.popleft(), seed)
        playing = [slot for slot in slots if not slot.ended]
        if not playing:
            return [records[number] for number in numbers]
        if stop.signal is not None:
            return None
        for slot, action in zip(playing, actor(playing)):
            slot.step(action)
            if slot.ended:
                records[slot.trajectory.number] = record(slot.env.unwrapped, slot.trajectory)
        progress.line(len(records))
