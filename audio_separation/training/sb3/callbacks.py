"""What happens around the updates of Stable-Baselines3: metrics, evaluations, saves, and stopping on a signal."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.vec_env import VecEnv

from audio_separation.training.logging import MetricWriter
from audio_separation.training.run_dir import Progress, StopRequest

SHOWN = ("rollout/ep_rew_mean", "rollout/success_rate", "eval/mean_reward", "eval/success_rate")


class MetricsOutput(KVWriter):
    """Sends the library's log to the run's own records and progress lines; what depends on the machine goes apart."""

    def __init__(self, writer: MetricWriter, progress: Progress):
        self._writer, self._progress = writer, progress

    def write(
        self, key_values: dict[str, Any], key_excluded: Mapping[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """One line of metrics."""
        # a mean over no episode is not a number
        numbers = {k: float(v) for k, v in key_values.items() if isinstance(v, (int, float, np.number))}
        numbers = {k: v for k, v in numbers.items() if np.isfinite(v)}
        timing = {k: v for k, v in numbers.items() if k.startswith("time/")}
        metrics = {k: v for k, v in numbers.items() if k not in timing}
        self._writer.write(step, metrics, timing)
        self._progress.line(step, **{k.split("/", 1)[1]: v for k, v in metrics.items() if k in SHOWN})

    def close(self) -> None:
        """The writer is closed by the trainer."""


class Evaluation(EvalCallback):
    """Plays the first episodes of the split val, the same ones each time, and hands over what they gave.

    Args:
        envs: of the split, with numbered episodes.
        every: steps of all training environments together.
        count: episodes.
        keep: called with (steps, mean reward, success rate or None) after each evaluation.
    """

    def __init__(
        self,
        envs: VecEnv,
        every: int,
        count: int,
        keep: Callable[[int, float, Optional[float]], None],
    ):
        super().__init__(envs, n_eval_episodes=count, eval_freq=1, verbose=0, warn=False)
        self._every, self._keep = every, keep
        self.evaluated = 0  # steps at the last evaluation

    def due(self) -> bool:
        """Whether ``every`` steps have passed, or the training has just ended."""
        before, now = self.evaluated, self.model.num_timesteps
        return now // self._every > before // self._every

    def _on_step(self) -> bool:
        return not self.due() or self.evaluate()

    def evaluate(self) -> bool:
        """Evaluate now."""
        self.num_timesteps = self.model.num_timesteps
        self.evaluated = self.num_timesteps
        self.eval_env.env_method("rewind")
        going_on = super()._on_step()
        successes = self._is_success_buffer
        self._keep(
            self.num_timesteps, self.last_mean_reward, float(np.mean(successes)) if successes else None
        )
        return going_on


class Saving(BaseCallback):
    """Saves the state before a rollout, when it is due or a signal has come; after the signal training ends.

    Args:
        every: steps between saves.
        save: writes the state.
    """

    def __init__(self, every: int, save: Callable[[], None], stop: StopRequest):
        super().__init__()
        self._every, self._save, self._stop = every, save, stop
        self.saved = 0  # steps at the last save
        self.stopped = False

    def _on_rollout_start(self) -> None:
        now = self.model.num_timesteps
        self.stopped = self._stop.signal is not None
        if self.stopped or now // self._every > self.saved // self._every:
            self.saved = now
            self._save()

    def _on_step(self) -> bool:
        return not self.stopped
