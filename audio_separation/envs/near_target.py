"""The near-target task as Gymnasium environments: a batched VectorEnv and a single Env over the same code.

``gymnasium.make_vec("audio_separation/NearTarget-v0", num_envs=8, exp_config="configs/train/near_target.yaml")``
steps eight agents together; ``gymnasium.make`` gives one. The time budget is part of the task (the pose holds
the step), so an episode that has used its seconds has *terminated*.

By itself the reward is what the unprocessed mixture at the new pose would score as an estimate of the target;
an ``estimator`` (a trained separator, say) replaces it.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Optional

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.stft import NUM_BINS, NUM_FRAMES
from audio_separation.config import get_config
from audio_separation.config.limits import check_limits
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.rewards import mixture_estimate, separation_reward
from audio_separation.envs.simulator import ACTIONS, BatchSimulator, Observation
from audio_separation.scenes.episodes import Episode

Estimator = Callable[[Observation], Tensor]  # -> [E, 1, F, N]


def _magnitude(channels: int) -> spaces.Box:
    return spaces.Box(0.0, np.inf, (channels, NUM_BINS, NUM_FRAMES), np.float32)


def with_simulator(config: CfgNode, kind: str) -> CfgNode:
    """The config with another SIMULATOR.TYPE."""
    config = config.clone()
    config.defrost()
    config.SIMULATOR.TYPE = kind
    check_limits(config)
    config.freeze()
    return config


def observation_space(simulator: BatchSimulator) -> spaces.Dict:
    """What one environment of ``simulator`` observes, as Gymnasium spaces."""
    parts: dict[str, spaces.Space] = {
        "mix_logmag": _magnitude(2),
        "target_class": spaces.Discrete(len(simulator.clips.classes)),
        "pose": spaces.Box(-np.inf, np.inf, (4,), np.float32),
        "target_mono_mag": _magnitude(1),
    }
    if simulator.target_bin:
        parts["target_bin_mag"] = _magnitude(2)
    if simulator.image_size is not None:
        height, width = simulator.image_size
        parts["rgb"] = spaces.Box(0, 255, (height, width, 3), np.uint8)
        parts["depth"] = spaces.Box(0.0, 1.0, (height, width, 1), np.float32)
    return spaces.Dict(parts)


class NearTargetVectorEnv(gymnasium.vector.VectorEnv):
    """E near-target environments rendered in one batch.

    Args:
        num_envs: E.
        config: a resolved config; without it, ``exp_config`` (a YAML file) and ``overrides`` are read.
        estimator: estimate of the target's mono magnitude that the reward scores; default the mixture.
        target_bin: also observe the target's own binaural magnitude (costs a second rendering).
        simulator: ``cached`` or ``live``, instead of what the config's SIMULATOR.TYPE says.

    All environments begin together and last equally long, so they end together. Autoreset is Gymnasium's
    NEXT_STEP: the step after the last one ignores its actions and returns the first observation of the next
    episodes with reward 0.
    """

    def __init__(
        self,
        num_envs: int = 1,
        config: Optional[CfgNode] = None,
        exp_config: Optional[str] = None,
        overrides: Iterable[str] = (),
        estimator: Optional[Estimator] = None,
        target_bin: bool = False,
        render_mode: Optional[str] = None,
        simulator: str = "",
    ):
        config = config if config is not None else get_config(exp_config, overrides)
        config = with_simulator(config, simulator) if simulator else config
        self.episodes = load_task_episodes(config)
        self.simulator = build_simulator(config, self.episodes, num_envs, torch.device("cpu"), target_bin)
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "render_modes": ["rgb_array"],
            "render_fps": 1,
        }
        self._spaces = observation_space(self.simulator)
        self.single_observation_space = self._spaces
        self.single_action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._estimator = estimator or (
            lambda obs: mixture_estimate(torch.expm1(obs.mix_logmag), config.AUDIO.TARGET_MONO_RMS)
        )
        self._queue: list[Episode] = []
        self._ended = False
        self._last_rgb: Optional[np.ndarray] = None

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[dict, dict]:
        """Begin new episodes, drawn in a shuffled order that ``seed`` starts anew.

        ``options={"episodes": [...]}`` plays the given ones instead.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._queue = []
        chosen = (options or {}).get("episodes") or [self._next_episode() for _ in range(self.num_envs)]
        observation = self.simulator.reset(chosen)
        self._ended = False
        return self._to_numpy(observation), self._info()

    def step(self, actions: Any) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray, dict]:
        """Move every agent, then hear one second."""
        none = np.zeros(self.num_envs, bool)
        if self._ended:
            observation, info = self.reset()
            return observation, np.zeros(self.num_envs), none, none.copy(), info
        current = self.simulator.step(np.asarray(actions))
        reward = separation_reward(self._estimator(current), current.target_mono_mag)
        self._ended = bool(self.simulator.step_count[0] >= self.simulator.episode_steps)
        return (
            self._to_numpy(current),
            reward.double().cpu().numpy(),
            np.full(self.num_envs, self._ended),
            none,
            self._info(),
        )

    def render(self) -> tuple[np.ndarray, ...]:
        """What each agent sees, ``E`` arrays ``[H, W, 3]``."""
        if self._last_rgb is None:
            raise RuntimeError("call reset() before render(), with scenes that have cached images")
        return tuple(self._last_rgb)

    def _next_episode(self) -> Episode:
        if not self._queue:
            order = self.np_random.permutation(len(self.episodes))
            self._queue = [self.episodes[i] for i in order]
        return self._queue.pop(0)

    def _info(self) -> dict[str, Any]:
        episodes = [e for e in self.simulator.episodes if e is not None]
        return {
            "scene": np.array([e.scene for e in episodes]),
            "episode_id": np.array([str(e.episode_id) for e in episodes]),
            "target_distance_m": self.simulator.target_distance(),
        }

    def _to_numpy(self, observation: Observation) -> dict[str, np.ndarray]:
        self._last_rgb = None if observation.rgb is None else observation.rgb.cpu().numpy()
        return {key: getattr(observation, key).cpu().numpy() for key in self._spaces}


class NearTargetEnv(gymnasium.Env):
    """One near-target environment: :class:`NearTargetVectorEnv` with E = 1 and no autoreset."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's class attribute

    def __init__(self, render_mode: Optional[str] = None, **kwargs: Any):
        self._batch = NearTargetVectorEnv(num_envs=1, **kwargs)
        self.render_mode = render_mode
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[dict, dict]:
        """Begin an episode; see :meth:`NearTargetVectorEnv.reset`."""
        super().reset(seed=seed)
        observation, info = self._batch.reset(seed=seed, options=options)
        return self._first(observation), self._first(info)

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        """One action, one second. After the last second, :meth:`reset` comes next."""
        if self._batch._ended:
            raise RuntimeError("the episode has ended: call reset() before the next step()")
        observation, reward, terminated, truncated, info = self._batch.step(np.array([action]))
        return (
            self._first(observation),
            float(reward[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            self._first(info),
        )

    def render(self) -> np.ndarray:
        """What the agent sees, ``[H, W, 3]`` uint8."""
        return self._batch.render()[0]

    def _first(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        spaces_ = self._batch._spaces
        return {
            k: np.int64(v[0]) if isinstance(spaces_.get(k), spaces.Discrete) else v[0]
            for k, v in batch.items()
        }
