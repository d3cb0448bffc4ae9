"""The state of an audition episode and what an action does to it, without Gymnasium."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

import numpy as np
from yacs.config import CfgNode

from audio_separation.envs.audition.acoustics import ResponseCache, filter_delay
from audio_separation.envs.audition.episodes import AuditionEpisode
from audio_separation.envs.audition.paths import Paths
from audio_separation.envs.audition.rewards import RewardTerms, reward_terms
from audio_separation.envs.audition.rooms import Point
from audio_separation.envs.audition.sounds import Sounds, hear

# kind of AUDITION.ACTIONS -> for each action, its name and what it does: "ahead" moves along the heading turned by the
# degrees, "move" along the degrees, "turn" turns by TURN_DEG times the number
ACTIONS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "turn": (
        ("forward", "ahead", 0),
        ("backward", "ahead", 180),
        ("turn left", "turn", 1),
        ("turn right", "turn", -1),
    ),
    "compass": (
        ("up", "move", 90),
        ("down", "move", 270),
        ("left", "move", 180),
        ("right", "move", 0),
        ("turn left", "turn", 1),
        ("turn right", "turn", -1),
    ),
}


class Pose(NamedTuple):
    """Where the agent is: metres, degrees anticlockwise from +x in [0, 360)."""

    position: np.ndarray  # [2]
    heading_deg: float


class Outcome(NamedTuple):
    """What a step did."""

    terms: RewardTerms
    moved_m: float
    terminated: bool
    truncated: bool


def ear_points(pose: Pose, settings: CfgNode) -> tuple[Point, Point]:
    """The two ears; the first is channel 0.

    ``lateral``: left and right of the agent's point. ``heading``: behind and ahead of it, as published.
    """
    turned = pose.heading_deg + (90.0 if settings.EARS == "lateral" else 180.0)
    offset = settings.EAR_DISTANCE_M / 2 * _direction(turned)
    first, second = (pose.position + offset).tolist(), (pose.position - offset).tolist()
    return (first[0], first[1]), (second[0], second[1])


class AuditionWorld:
    """An agent with two ears among sounding sources.

    Args:
        settings: the section ``AUDITION``.
        sounds: what the sources play.

    Attributes:
        episode: the one being played.
        position: of the agent, ``[2]`` metres.
        heading_deg: of the agent.
        active: which sources still sound, bool ``[S]``.
        step_count: actions since the episode began.
        path_m: length of the agent's path.
        paths: shortest ways in the room.
    """

    def __init__(self, settings: CfgNode, sounds: Sounds) -> None:
        self.settings = settings
        self.sounds = sounds
        self.actions = ACTIONS[settings.ACTIONS]
        self.length = round(settings.RATE * settings.SECONDS)
        self.responses = ResponseCache(settings.RATE, int(settings.CACHE_MB * 2**20))
        self._delay = filter_delay()

    def reset(self, episode: AuditionEpisode) -> None:
        """Begin ``episode``."""
        self.episode = episode
        self.paths = Paths(episode.plan)
        self.position = episode.start.copy()
        self.heading_deg = float(episode.heading_deg)
        self.active = np.ones(len(episode.sources), bool)
        self.step_count = 0
        self.path_m = 0.0
        self._images: Optional[np.ndarray] = None

    def pose_after(self, action: int, pose: Optional[Pose] = None) -> Pose:
        """Where an action leads from the current pose or ``pose``; nothing changes.

        A step whose straight way would leave the walkable part of the room leads nowhere.

        Raises:
            ValueError: there is no such action.
        """
        position, heading_deg = pose or Pose(self.position, self.heading_deg)
        if not 0 <= action < len(self.actions):
            raise ValueError(f"actions are 0..{len(self.actions) - 1}, found {action}")
        _, kind, number = self.actions[action]
        if kind == "turn":
            return Pose(position, round(heading_deg + number * self.settings.TURN_DEG, 9) % 360)
        along = _direction(number + (heading_deg if kind == "ahead" else 0))
        # whole micrometres: a place that is reached again is the same place, whatever the way
        reached = (position + self.settings.STEP_M * along).round(6)
        return Pose(reached if self.paths.area.clear(position, reached) else position, heading_deg)

    def step(self, action: int) -> Outcome:
        """Act, then turn off what is near enough."""
        before_m = self._way_to(self.active)
        was_active = self.active
        pose = self.pose_after(action)
        moved_m = math.dist(pose.position, self.position)
        self.position, self.heading_deg = pose
        self.active = was_active & (self.source_distances() > self.settings.RADIUS_M)
        self.step_count += 1
        self.path_m += moved_m
        self._images = None
        terms = reward_terms(
            self.settings.REWARD,
            self.actions[action][1] == "turn",
            int(was_active.sum() - self.active.sum()),
            self.distance_m(),
            before_m - self._way_to(was_active),
        )
        terminated = not self.active.any()
        return Outcome(
            terms, moved_m, terminated, not terminated and self.step_count >= self.settings.MAX_STEPS
        )

    def source_distances(self) -> np.ndarray:
        """Straight distances to all sources, ``[S]`` metres."""
        return np.hypot(*(self.episode.sources - self.position).T)

    def distance_m(self) -> float:
        """Straight distance to the nearest source that still sounds, metres; 0 if none does."""
        return float(self.source_distances()[self.active].min(initial=math.inf)) if self.active.any() else 0.0

    def source_images(self) -> np.ndarray:
        """What each source alone sounds like at the ears now: float32 ``[S, 2, L]``, read-only; zeros if it is off.

        Step t hears samples t L to (t + 1) L of each loop, through the response of the pose that step t led to, with
        all that sounded before: a standing agent hears one long convolution without seams. The sum over the sources
        is the observation. Rendered once a step.
        """
        if self._images is None:
            self._images = self._render()
            self._images.flags.writeable = False
        return self._images

    def _render(self) -> np.ndarray:
        episode, on = self.episode, np.flatnonzero(self.active)
        images = np.zeros((len(self.active), 2, self.length), np.float32)
        ears = ear_points(Pose(self.position, self.heading_deg), self.settings)
        points = [(float(x), float(y)) for x, y in episode.sources[on]]
        for s, response in zip(on, self.responses.responses(episode.plan, points, ears)):
            first = episode.starts[s] + self.step_count * self.length
            images[s] = hear(self.sounds, episode.clips[s], first, self.length, response, self._delay)
        return images

    def shortest_path_m(self) -> float:
        """Lower bound of the path that turns all sources of the episode off; see :meth:`Paths.shortest_tour`."""
        return self.paths.shortest_tour(
            self.episode.start, list(self.episode.sources), self.settings.RADIUS_M
        )

    def _way_to(self, sources: np.ndarray) -> float:
        """Length of the shortest way to the nearest of ``sources`` (bool [S]), metres."""
        return float(self.paths.area.distances(self.position[None], self.episode.sources[sources]).min())


def _direction(degrees: float) -> np.ndarray:
    angle = math.radians(degrees)
    return np.array([math.cos(angle), math.sin(angle)])
