"""Episodes of the step signal: a step and the level that it shall be flattened to."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from yacs.config import CfgNode

from audio_separation.envs.step_signal.signals import make_step, point_indices, rms_distance
from audio_separation.errors import UserError

DRAWS = 1000  # of an episode before it is given up


class StepEpisode(NamedTuple):
    """All that happens before the first action.

    Attributes:
        before, after: levels of the step.
        at: where it steps, as a fraction of the signal's length.
        goal: the flat signal's level.
    """

    before: float
    after: float
    at: float
    goal: float


def num_samples(settings: CfgNode) -> int:
    """Length of the signals in samples."""
    return round(settings.RATE * settings.SECONDS)


def draw_episode(settings: CfgNode, rng: np.random.Generator) -> StepEpisode:
    """Draw an episode as the config section ``STEP_SIGNAL`` asks.

    One that succeeds without any action is drawn again.

    Raises:
        UserError: all of ``DRAWS`` did.
    """
    length = num_samples(settings)
    points = point_indices(length, settings.POINTS)
    for _ in range(DRAWS):
        before, after, at, goal = (
            float(rng.uniform(low, high))
            for low, high in (settings.LEVELS, settings.LEVELS, settings.STEP_TIME, settings.GOALS)
        )
        if rms_distance(make_step(length, at, before, after)[points], goal) >= settings.TOLERANCE:
            return StepEpisode(before, after, at, goal)
    raise UserError(
        f"each of {DRAWS} episodes drawn from STEP_SIGNAL.LEVELS {list(settings.LEVELS)} and GOALS "
        f"{list(settings.GOALS)} lies within STEP_SIGNAL.TOLERANCE {settings.TOLERANCE} before any action: lower it"
    )


def episode_of(config: CfgNode, split: str, number: int) -> StepEpisode:
    """Return episode ``number`` of ``split``: it follows from SEED and the section ``STEP_SIGNAL`` alone."""
    key = [config.SEED, zlib.crc32(split.encode()), number]
    return draw_episode(config.STEP_SIGNAL, np.random.default_rng(key))
