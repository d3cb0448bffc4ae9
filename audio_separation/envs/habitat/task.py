"""The near-target task: it lasts its seconds, and there is no stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from habitat.config.default_structured_configs import TaskConfig
from habitat.core.registry import registry
from habitat.tasks.nav.nav import NavigationTask

# a worker process that unpickles a config imports the modules of its classes, and finds all that is registered there
from audio_separation.envs.habitat import gym_env  # noqa: F401


@dataclass
class AudioSeparationTaskConfig(TaskConfig):
    """The reward is the quality of separation and nothing else.

    habitat-lab's RL environments insist on a measure of success; ``at_target`` is only logged, as its reward is 0.
    """

    type: str = "AudioSeparation-v0"
    reward_measure: Optional[str] = "separation_reward"
    success_measure: Optional[str] = "at_target"
    success_reward: float = 0.0
    slack_reward: float = 0.0
    end_on_success: bool = False


@registry.register_task(name="AudioSeparation-v0")
class AudioSeparationTask(NavigationTask):
    """Ends after ``TASK.EPISODE_STEPS`` actions.

    ``habitat/task/actions: stop`` is not among the actions. Where someone adds it, it means what it means in
    habitat-lab: the agent stands still for one last second and the episode ends.
    """

    def _check_episode_is_active(self, *args: Any, **kwargs: Any) -> bool:
        return super()._check_episode_is_active(*args, **kwargs) and not self._sim.episode_over
