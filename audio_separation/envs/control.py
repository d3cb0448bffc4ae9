"""The tasks that agents by Stable-Baselines3 learn, by name, and episodes that are played by their numbers."""

from __future__ import annotations

from typing import Any, Optional

import gymnasium
from yacs.config import CfgNode

from audio_separation.errors import UserError

TASKS = ("synth", "step_signal")


def build_control_env(config: CfgNode, split: str) -> gymnasium.Env:
    """The environment of ``TASK.NAME``, one of :data:`TASKS`.

    Args:
        split: that its numbered episodes are counted in.

    Raises:
        UserError: for another task, or what the environment refuses.
    """
    check_control_task(config)
    # imported when asked for: librosa takes seconds
    if config.TASK.NAME == "synth":
        from audio_separation.envs.synth.env import SynthEnv

        return SynthEnv(config, split=split)
    from audio_separation.envs.step_signal.env import StepSignalEnv

    return StepSignalEnv(config, split=split)


def check_control_task(config: CfgNode) -> None:
    """Refuse a config of another task.

    Raises:
        UserError: that names the key.
    """
    if config.TASK.NAME not in TASKS:
        raise UserError(
            f"TRAINER sb3 learns TASK.NAME {' or '.join(TASKS)}, found {config.TASK.NAME!r}; use a config in "
            "configs/synth or configs/step_signal"
        )


class NumberedEpisodes(gymnasium.Wrapper):
    """Plays episodes first, first + stride, ... of the environment's split, one at each reset.

    So what an environment plays follows from two numbers, and where it stands in an episode from the actions since.
    """

    def __init__(self, env: gymnasium.Env, first: int, stride: int):
        super().__init__(env)
        self._first, self._stride = first, stride
        self._next = first
        self.number = -1  # of the episode that is being played
        self.actions: list[Any] = []  # since its first observation

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[Any, dict]:
        """Begin the next episode; neither argument changes which."""
        return self._begin(self._next)

    def _begin(self, number: int) -> tuple[Any, dict]:
        self.number, self.actions, self._next = number, [], number + self._stride
        return self.env.reset(options={"episode": number})

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict]:
        """As the environment's own."""
        self.actions.append(action)
        return self.env.step(action)

    def rewind(self) -> None:
        """The next reset begins the first episode again."""
        self._next = self._first

    def resume(self, number: int, actions: list[Any]) -> None:
        """Go to where episode ``number`` stands after ``actions``."""
        self._begin(number)
        for action in actions:
            self.step(action)
