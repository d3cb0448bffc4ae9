"""Scripted agents that play a synthesizer: they hold still, move at random, or go to the nearest sound they know."""

from __future__ import annotations

from typing import Any

import numpy as np

from audio_separation.envs.synth.env import SynthEnv


def hold(env: SynthEnv, rng: np.random.Generator) -> Any:
    """Leave the parameters as they were drawn."""
    return encode(np.zeros(env.world.num_params), env.settings.ACTIONS)


def random(env: SynthEnv, rng: np.random.Generator) -> Any:
    """Any action of the space, evenly."""
    size = env.world.num_params
    if env.settings.ACTIONS == "delta":
        return rng.uniform(-1.0, 1.0, size).astype(np.float32)
    return encode(rng.integers(-1, 2, size), env.settings.ACTIONS)


def greedy(env: SynthEnv, rng: np.random.Generator) -> Any:
    """Towards the parameters of the table's row that sounds most like the target that is heard now."""
    wanted, _ = env.world.instrument.nearest_params(env.target_sound)
    away = (wanted - env.params) / env.settings.STEP_SIZE
    if env.settings.ACTIONS != "delta":
        away = np.round(
            np.clip(away, -1.0, 1.0)
        )  # no move that would pass the place by more than it comes nearer
    return encode(np.clip(away, -1.0, 1.0), env.settings.ACTIONS)


def encode(direction: np.ndarray, actions: str) -> Any:
    """The action that moves parameters by ``direction`` ``[P]`` in [-1, 1], in steps of SYNTH.STEP_SIZE."""
    if actions == "delta":
        return direction.astype(np.float32)
    digits = np.asarray(direction, int) + 1
    if actions == "steps":
        return digits
    number = 0
    for digit in digits:
        number = 3 * number + int(digit)
    return number


AGENTS = {"hold": hold, "random": random, "greedy": greedy}
