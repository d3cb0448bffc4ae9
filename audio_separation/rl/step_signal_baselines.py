"""Scripted agents of the step signal: they hold still, turn the knobs at random, or know where to turn them."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.episodes import StepEpisode
from audio_separation.envs.step_signal.signals import low_pass, make_step, point_indices


def hold(env: StepSignalEnv, rng: np.random.Generator) -> np.ndarray:
    """Leave both knobs where they are."""
    return np.zeros(2, np.float32)


def random(env: StepSignalEnv, rng: np.random.Generator) -> np.ndarray:
    """Any action of the space, evenly."""
    return rng.uniform(-1.0, 1.0, 2).astype(np.float32)


def oracle(env: StepSignalEnv, rng: np.random.Generator) -> np.ndarray:
    """Straight to the lowest cutoff, and to the offset that is best there."""
    settings, episode = env.settings, env.playing
    assert episode is not None
    lowest_hz = settings.CUTOFF_HZ[0]
    level = _flattened_level(episode, env.length, settings.POINTS, lowest_hz, settings.RATE, settings.ORDER)
    cutoff = (math.log(lowest_hz) - math.log(env.cutoff_hz)) / settings.LOG_CUTOFF_STEP
    offset = (level - episode.goal - env.offset) / settings.OFFSET_STEP
    return np.clip([cutoff, offset], -1.0, 1.0).astype(np.float32)


@lru_cache(maxsize=64)  # the same at every step of an episode
def _flattened_level(
    episode: StepEpisode, length: int, count: int, cutoff_hz: float, rate_hz: float, order: int
) -> float:
    """Mean of the filtered step over the points that are observed."""
    step = make_step(length, episode.at, episode.before, episode.after)
    return float(low_pass(step, cutoff_hz, rate_hz, order)[point_indices(length, count)].mean())


AGENTS = {"hold": hold, "random": random, "oracle": oracle}
