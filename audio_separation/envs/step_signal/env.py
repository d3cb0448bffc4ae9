"""The step signal as a goal-conditioned Gymnasium environment: flatten a step to a level."""

from __future__ import annotations

import math
from typing import Any, Iterable, Optional

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.envs.step_signal.checks import check_step_signal, offset_range
from audio_separation.envs.step_signal.episodes import StepEpisode, draw_episode, episode_of, num_samples
from audio_separation.envs.step_signal.signals import low_pass, make_step, point_indices, rms_distance


class StepSignalEnv(gymnasium.Env):
    """One step, a low-pass filter and an offset; the achieved signal is the filtered step minus the offset.

    It begins with the cutoff at its upper end, where nothing is filtered, and the offset 0. An action ``[2]`` in
    [-1, 1] changes the logarithm of the cutoff by up to STEP_SIGNAL.LOG_CUTOFF_STEP and the offset by up to
    OFFSET_STEP; both stay in their ranges. It is always the original step that is filtered, so where the two knobs
    stand says all that is achieved, whatever the way there.

    Observes, float32, signals at STEP_SIGNAL.POINTS (G) evenly spaced samples, scaled so that the levels and goals lie
    in [-1, 1]:

    - ``observation`` ``[G + 2]``: the original step, then the log cutoff and the offset, each scaled to [-1, 1].
    - ``achieved_goal`` ``[G]``: the achieved signal.
    - ``desired_goal`` ``[G]``: the goal, flat.

    The goal is a signal and not its level alone: what was achieved on the way is seldom flat, and hindsight needs goals
    of the same kind.

    No episode terminates, so that an agent has to stay where it succeeds; it is truncated after
    STEP_SIGNAL.MAX_STEPS. ``is_success`` in the info says whether the distance is below STEP_SIGNAL.TOLERANCE; that of
    the last step is the episode's.

    Args:
        config: a resolved config; without it, ``exp_config`` (a YAML file) and ``overrides`` are read.
        split: that :meth:`episode` counts in; default DATA.SPLIT.

    Attributes:
        playing: the episode.
        original: the step, ``[L]`` in signal units.
        achieved: what is made of it now, ``[L]``.
        cutoff_hz, offset: where the knobs stand.

    Raises:
        UserError: for settings that no episode can be played or solved with.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's class attribute

    def __init__(
        self,
        config: Optional[CfgNode] = None,
        exp_config: Optional[str] = None,
        overrides: Iterable[str] = (),
        split: Optional[str] = None,
        render_mode: Optional[str] = None,
    ):
        self.config = config if config is not None else get_config(exp_config, overrides)
        check_step_signal(self.config)
        self.split = split or self.config.DATA.SPLIT
        self.settings = settings = self.config.STEP_SIGNAL
        self.render_mode = render_mode
        self.length = num_samples(settings)
        self.log_cutoffs = tuple(math.log(hz) for hz in settings.CUTOFF_HZ)
        self.offsets = offset_range(settings)
        self.points = point_indices(self.length, settings.POINTS)
        ends = (*settings.LEVELS, *settings.GOALS)
        self._middle, self._half = (max(ends) + min(ends)) / 2, (max(ends) - min(ends)) / 2
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = self._observation_space()
        self.playing: Optional[StepEpisode] = None
        self.step_count = 0
        self._ended = True

    def episode(self, number: int) -> StepEpisode:
        """Episode ``number`` of the split, see :func:`episode_of`."""
        return episode_of(self.config, self.split, number)

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[dict, dict]:
        """Begin an episode drawn with ``seed``, or ``options={"episode": ...}``: its number, or a StepEpisode."""
        super().reset(seed=seed)
        chosen = (options or {}).get("episode")
        if chosen is None:
            chosen = draw_episode(self.settings, self.np_random)
        elif not isinstance(chosen, StepEpisode):
            chosen = self.episode(int(chosen))
        self.playing = chosen
        self.original = make_step(self.length, chosen.at, chosen.before, chosen.after)
        self._log_cutoff, self.offset = self.log_cutoffs[1], 0.0
        self.filtered = self.achieved = self.original
        self.step_count, self._ended = 0, False
        observation = self._observation()
        return observation, self._info(observation)

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """Turn both knobs, filter the original signal and subtract the offset.

        Raises:
            ResetNeeded: no episode has begun, or it has ended.
        """
        if self._ended:
            raise ResetNeeded("no episode is being played: call reset() before step()")
        self.turn(np.clip(np.asarray(action, np.float64), -1.0, 1.0))
        self.step_count += 1
        self._ended = self.step_count >= self.settings.MAX_STEPS
        observation = self._observation()
        info = self._info(observation)
        reward = self.compute_reward(observation["achieved_goal"], observation["desired_goal"], info)
        return observation, float(reward), False, self._ended, info

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        """The reward of having achieved one where the other was desired; higher is better.

        ``dense``: minus their RMS distance, of signals as they are observed. ``sparse``: 0 for a success, else -1.

        Args:
            achieved_goal, desired_goal: ``[..., G]``, as observed.
            info: not read.

        Returns:
            float32 ``[...]``.
        """
        distance = rms_distance(achieved_goal, desired_goal)
        if self.settings.REWARD == "dense":
            return np.negative(distance, dtype=np.float32)
        return np.negative(~self._succeeds(distance), dtype=np.float32)

    @property
    def cutoff_hz(self) -> float:
        """Where the cutoff stands."""
        return math.exp(self._log_cutoff)

    def knobs(self) -> np.ndarray:
        """Log cutoff and offset ``[2]``, each scaled from its range to [-1, 1]."""
        low, high = np.transpose([self.log_cutoffs, self.offsets])
        return 2 * (np.array([self._log_cutoff, self.offset]) - low) / (high - low) - 1

    def turn(self, action: np.ndarray) -> None:
        """Turn both knobs by an action ``[2]`` in [-1, 1]."""
        log_cutoff = self._log_cutoff + float(action[0]) * self.settings.LOG_CUTOFF_STEP
        self.set_knobs(log_cutoff, self.offset + float(action[1]) * self.settings.OFFSET_STEP)

    def set_knobs(self, log_cutoff: float, offset: float) -> None:
        """Put the knobs somewhere, or to the nearer end of their range, and make the achieved signal."""
        before = self._log_cutoff
        self._log_cutoff = min(max(log_cutoff, self.log_cutoffs[0]), self.log_cutoffs[1])
        self.offset = min(max(offset, self.offsets[0]), self.offsets[1])
        if self._log_cutoff == self.log_cutoffs[1]:
            self.filtered = self.original
        elif self._log_cutoff != before:  # filtering takes most of a step's time
            self.filtered = self.low_pass(self.original)
        self.achieved = self.filtered - self.offset

    def low_pass(self, signal: np.ndarray) -> np.ndarray:
        """Filter at the cutoff that is set."""
        return low_pass(signal, self.cutoff_hz, self.settings.RATE, self.settings.ORDER)

    def _scaled(self, signal: Any) -> np.ndarray:
        return ((signal - self._middle) / self._half).astype(np.float32)

    def _succeeds(self, distance: np.ndarray) -> np.ndarray:
        return np.less(distance * self._half, self.settings.TOLERANCE)

    def _observation_space(self) -> spaces.Dict:
        # filters overshoot, by how much depends on their order, and Gymnasium frowns on infinity
        most = float(np.finfo(np.float32).max)
        sizes = {"observation": 2, "achieved_goal": 0, "desired_goal": 0}
        return spaces.Dict(
            {
                key: spaces.Box(-most, most, (len(self.points) + more,), np.float32)
                for key, more in sizes.items()
            }
        )

    def _observation(self) -> dict[str, np.ndarray]:
        assert self.playing is not None
        original = self._scaled(self.original[self.points])
        return {
            "observation": np.concatenate([original, self.knobs().astype(np.float32)]),
            "achieved_goal": self._scaled(self.achieved[self.points]),
            "desired_goal": self._scaled(np.full(len(self.points), self.playing.goal)),
        }

    def _info(self, observation: dict[str, np.ndarray]) -> dict[str, Any]:
        distance = rms_distance(observation["achieved_goal"], observation["desired_goal"])
        return {
            "is_success": bool(self._succeeds(distance)),
            "rms": float(distance * self._half),
            "cutoff_hz": self.cutoff_hz,
            "offset": self.offset,
        }
