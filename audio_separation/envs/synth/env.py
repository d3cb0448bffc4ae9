"""The listening synthesizer agent as a Gymnasium environment: move the parameters so that it sounds like the target."""

from __future__ import annotations

import zlib
from typing import Any, Iterable, Optional

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.envs.synth.rewards import noisy_rmse, shape_reward, weighted_rmse
from audio_separation.envs.synth.targets import Target, draw_target
from audio_separation.envs.synth.world import SynthWorld, open_world


class SynthEnv(gymnasium.Env):
    """One synthesizer and one target (Madaghiele and Fasciani, AIMC 2024).

    Observes, float32 ``[2 D + P]``: the agent's descriptors, the target's, and the parameters, all standardised by the
    lookup table and clipped. An action moves each parameter (``SYNTH.ACTIONS``); a step is a control period. The reward
    compares the sound that was moved to with the target that sounds meanwhile, so an agent that follows is a step late.
    No episode terminates; it is truncated after SYNTH.MAX_STEPS, or where the target's recording ends.

    Args:
        config: a resolved config; without it, ``exp_config`` (a YAML file) and ``overrides`` are read.
        split: of the corpus, and that numbered episodes are counted in; default DATA.SPLIT.

    Raises:
        UserError: for a missing or foreign table, a missing corpus, or settings that do not fit.
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
        self.settings = self.config.SYNTH
        self.split = split or self.config.DATA.SPLIT
        self.world: SynthWorld = open_world(self.config, self.split)
        self.render_mode = render_mode
        self.action_space = action_space(self.settings.ACTIONS, self.world.num_params)
        size = 2 * self.world.space.size + self.world.num_params
        self.observation_space = spaces.Box(-self.settings.CLIP, self.settings.CLIP, (size,), np.float32)
        self._target: Optional[Target] = None
        self.params = np.zeros(self.world.num_params)
        self.step_count = 0

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[np.ndarray, dict]:
        """Begin an episode drawn with ``seed``, or ``options={"episode": n}``, the n-th of the split.

        Episode n follows from SEED, the split, and the section SYNTH alone.
        """
        super().reset(seed=seed)
        rng = self.np_random
        if options and "episode" in options:
            rng = np.random.default_rng(
                [self.config.SEED, zlib.crc32(self.split.encode()), options["episode"]]
            )
        # what the episode draws while it goes on does not depend on how the one before it ended
        self._rng = np.random.default_rng(rng.integers(2**63, size=4))
        self.params = self._rng.random(self.world.num_params)
        self._target = draw_target(
            self.settings.TARGETS,
            self.world.pieces,
            self.world.instrument,
            self.settings.CHANGE_PROBABILITY,
            self.settings.MAX_STEPS,
            self._rng,
        )
        self.step_count = 0
        self.agent_sound = self.world.instrument.sound(self.params)
        first = self._target.at(0)
        assert first is not None
        self.target_sound = first
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Move the parameters, then hear both sounds of the next control period.

        Raises:
            ResetNeeded: no episode has begun, or it has ended.
        """
        if self._target is None:
            raise ResetNeeded("no episode is being played: call reset() before step()")
        self.params = move(self.params, action, self.settings.ACTIONS, self.settings.STEP_SIZE)
        self.step_count += 1
        self.agent_sound = self.world.instrument.sound(self.params)
        heard = self._target.at(self.step_count)
        assert heard is not None
        self.target_sound = heard
        info = self._info()
        noisy = noisy_rmse(info["rmse"], self.world.space.weights, self.settings.REWARD_NOISE, self._rng)
        reward = shape_reward(noisy, self.settings.REWARD)
        over = self.step_count >= self.settings.MAX_STEPS or self._target_ends()
        if over:
            self._target = None
        return self._observation(), reward, False, over, info

    def _target_ends(self) -> bool:
        # of a recording alone; asking a random target would draw
        target = self._target
        return target is not None and target.mode == "corpus" and target.at(self.step_count + 1) is None

    def _observation(self) -> np.ndarray:
        return np.concatenate(
            [self.agent_sound, self.target_sound, self.world.space.params_scaler(self.params)]
        ).astype(np.float32)

    def _info(self) -> dict[str, Any]:
        assert self._target is not None
        params = self._target.params
        return {
            "rmse": float(weighted_rmse(self.agent_sound, self.target_sound, self.world.space.weights)),
            "params": self.params.copy(),
            "target_sound": self.target_sound.copy(),
            "target_params": None if params is None else params.copy(),
            "mode": self._target.mode,
            "piece": self._target.name,
            "start": self._target.start,
        }


def action_space(actions: str, num_params: int) -> spaces.Space:
    """The space of ``SYNTH.ACTIONS`` for P parameters."""
    if actions == "steps":
        return spaces.MultiDiscrete([3] * num_params)
    if actions == "joint":
        return spaces.Discrete(3**num_params)
    return spaces.Box(-1.0, 1.0, (num_params,), np.float32)


def move(params: np.ndarray, action: Any, actions: str, step_size: float) -> np.ndarray:
    """``params`` ``[P]`` after an action, kept in [0, 1].

    ``steps``: 0, 1, 2 of each parameter are down, stay, up. ``joint``: the same as one number, the first parameter's
    digit the highest. ``delta``: [-1, 1] of each, times ``step_size``.
    """
    if actions == "joint":
        digits = [int(action) // 3**power % 3 for power in range(len(params) - 1, -1, -1)]
        direction = np.array(digits) - 1.0
    elif actions == "steps":
        direction = np.asarray(action) - 1.0
    else:
        direction = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
    return np.clip(params + step_size * direction, 0.0, 1.0)
