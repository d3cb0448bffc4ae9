"""Scripted agents of the step signal: they hold still, turn the knobs at random, or know where to turn them."""

from __future__ import annotations

import math

import numpy as np

from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.signals import low_pass


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
    flattest = low_pass(env.original, lowest_hz, settings.RATE, settings.ORDER)[env.points]
    cutoff = (math.log(lowest_hz) - math.log(env.cutoff_hz)) / settings.LOG_CUTOFF_STEP
    offset = (flattest.mean() - episode.goal - env.offset) / settings.OFFSET_STEP
    return np.clip([cutoff, offset], -1.0, 1.0).astype(np.float32)


AGENTS = {"hold": hold, "random": random, "oracle": oracle}
