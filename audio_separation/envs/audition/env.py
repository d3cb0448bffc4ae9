"""The audition tasks as a Gymnasium environment: find the sounding sources of a room and reach each to turn it off."""

from __future__ import annotations

from typing import Any, Iterable, Optional

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.envs.audition.checks import check_audition
from audio_separation.envs.audition.episodes import AuditionEpisode, draw_episode, episode_of
from audio_separation.envs.audition.rewards import RewardTerms
from audio_separation.envs.audition.sounds import open_sounds
from audio_separation.envs.audition.world import AuditionWorld


class AuditionEnv(gymnasium.Env):
    """One agent in one room.

    Observes ``audio`` (float32 ``[2, L]``, left and right, the sum of the sources that sound) and, with
    AUDITION.POSE, ``pose`` (float32 ``[4]``: x and y from the middle of the room in metres, cos and sin of the
    heading). The episode terminates when all sources are off and is truncated after AUDITION.MAX_STEPS; either way its
    last observation is rendered, and :meth:`reset` comes next.

    Args:
        config: a resolved config; without it, ``exp_config`` (a YAML file) and ``overrides`` are read.
        split: that :meth:`episode` counts in; default DATA.SPLIT.

    Raises:
        UserError: for values that no episode can be played with, or a missing corpus.
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
        check_audition(self.config)
        self.split = split or self.config.DATA.SPLIT
        self.settings = self.config.AUDITION
        self.world = AuditionWorld(self.settings, open_sounds(self.config))
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(self.world.actions))
        self.observation_space = self._observation_space()
        self._playing = False

    def episode(self, number: int) -> AuditionEpisode:
        """Episode ``number`` of the split, see :func:`episode_of`."""
        return episode_of(self.config, self.split, number, self.world.sounds)

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> tuple[dict, dict]:
        """Begin an episode drawn with ``seed``, or ``options={"episode": AuditionEpisode}``.

        With AUDITION.FIXED_EPISODE it is always the same one.

        Raises:
            UserError: no room was large enough.
        """
        super().reset(seed=seed)
        episode = (options or {}).get("episode")
        if episode is None and self.settings.FIXED_EPISODE:
            episode = self.episode(0)
        if episode is None:
            episode = draw_episode(self.settings, self.world.sounds, self.np_random)
        self.world.reset(episode)
        self._playing = True
        return self._observation(), self._info(RewardTerms(), 0.0)

    def step(self, action: int) -> tuple[dict, float, bool, bool, dict]:
        """Act, turn off what is near enough, then hear AUDITION.SECONDS of what still sounds.

        Raises:
            ResetNeeded: no episode has begun, or it has ended.
        """
        if not self._playing:
            raise ResetNeeded("no episode is being played: call reset() before step()")
        done = self.world.step(int(action))
        self._playing = not (done.terminated or done.truncated)
        info = self._info(done.terms, done.moved_m)
        return self._observation(), done.terms.total, done.terminated, done.truncated, info

    def _observation_space(self) -> spaces.Dict:
        # how loud a room can be has no bound worth stating, and Gymnasium frowns on infinity
        loudest = float(np.finfo(np.float32).max)
        parts: dict[str, spaces.Space] = {
            "audio": spaces.Box(-loudest, loudest, (2, self.world.length), np.float32)
        }
        if self.settings.POSE:
            far = float(self.settings.ROOM.WIDTH_M[1])
            high = np.array([far, far, 1, 1], np.float32)
            parts["pose"] = spaces.Box(-high, high, dtype=np.float32)
        return spaces.Dict(parts)

    def _observation(self) -> dict[str, np.ndarray]:
        world = self.world
        observation = {"audio": world.source_images().sum(0)}
        if self.settings.POSE:
            heading = np.deg2rad(world.heading_deg)
            place = world.position - world.episode.plan.middle
            observation["pose"] = np.array([*place, np.cos(heading), np.sin(heading)], np.float32)
        return observation

    def _info(self, terms: RewardTerms, moved_m: float) -> dict[str, Any]:
        world = self.world
        return {
            "reward_terms": terms._asdict(),
            "position": world.position.copy(),
            "heading_deg": world.heading_deg,
            "distance_m": world.distance_m(),
            "active": world.active.copy(),
            "found": int((~world.active).sum()),
            "moved_m": moved_m,
        }
