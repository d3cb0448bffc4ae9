"""One fault of the question at a time, put into a training that otherwise succeeds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Sequence

import numpy as np
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from yacs.config import CfgNode

from audio_separation.envs.control import NumberedEpisodes
from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.published import low_pass_by_coefficients
from audio_separation.training.sb3.algorithms import build_algorithm


class AgainEnv(StepSignalEnv):
    """Filters the signal of the last step, and subtracts the offset from it once more."""

    def set_knobs(self, log_cutoff: float, offset: float) -> None:
        before = self.achieved
        super().set_knobs(log_cutoff, offset)
        at_top = self._log_cutoff == self.log_cutoffs[1]
        self.achieved = (before if at_top else self.low_pass(before)) - self.offset


class AbsoluteEnv(StepSignalEnv):
    """An action says where the knobs shall stand, from end to end of their ranges, the cutoff's logarithmic."""

    def turn(self, action: np.ndarray) -> None:
        low, high = np.transpose([self.log_cutoffs, self.offsets])
        log_cutoff, offset = low + (high - low) / 2 * (action + 1)
        self.set_knobs(float(log_cutoff), float(offset))


class LinearCutoffEnv(AbsoluteEnv):
    """The same with the cutoff's range linear."""

    def turn(self, action: np.ndarray) -> None:
        low_hz, high_hz = self.settings.CUTOFF_HZ
        (low, high), cutoff_hz = self.offsets, low_hz + (high_hz - low_hz) / 2 * (action[0] + 1)
        self.set_knobs(math.log(cutoff_hz), float(low + (high - low) / 2 * (action[1] + 1)))


class WithoutLowEndEnv(AbsoluteEnv):
    """The same as :class:`AbsoluteEnv`, but the lower end of the offset's range is not added."""

    def turn(self, action: np.ndarray) -> None:
        low, high = self.log_cutoffs
        offset = (self.offsets[1] - self.offsets[0]) / 2 * (action[1] + 1)
        self.set_knobs(float(low + (high - low) / 2 * (action[0] + 1)), float(offset))


class CoefficientsEnv(StepSignalEnv):
    """Filters by the coefficients of whole polynomials."""

    def low_pass(self, signal: np.ndarray) -> np.ndarray:
        return low_pass_by_coefficients(signal, self.cutoff_hz)


class SignEnv(StepSignalEnv):
    """``compute_reward`` says the distance, and ``step`` negates it."""

    def compute_reward(self, achieved_goal: np.ndarray, desired_goal: np.ndarray, info: Any) -> np.ndarray:
        return -super().compute_reward(achieved_goal, desired_goal, info)

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, -reward, terminated, truncated, info


class Fault(NamedTuple):
    """What is changed in the training.

    Attributes:
        cause: number of the cause in ``docs/step_signal.md``; 0 is a reference without a fault.
        env: the environment, in training and test.
        overrides: KEY VALUE words.
        training_only: those of the training alone.
        linear: without the hyperbolic tangent that bounds the actor.
    """

    cause: int
    env: type[StepSignalEnv] = StepSignalEnv
    overrides: tuple[str, ...] = ()
    training_only: tuple[str, ...] = ()
    linear: bool = False


HINDSIGHT = ("SB3.HER", "True")
LOWEST = ("STEP_SIGNAL.CUTOFF_HZ", "[0.001,14.9]")  # of the question
FAULTS = {
    "none": Fault(0),
    "10,000 steps of warm-up": Fault(1, training_only=("SB3.START_STEPS", "10000")),
    "linear actor": Fault(2, linear=True),
    "none, knobs set by the action": Fault(0, AbsoluteEnv),
    "... without the offset's lower end": Fault(3, WithoutLowEndEnv),
    "... on a linear cutoff": Fault(5, LinearCutoffEnv),
    "filtered again and again": Fault(4, AgainEnv),
    "none, cutoffs from 0.001 Hz": Fault(0, overrides=LOWEST),
    "... filtered by (b, a)": Fault(6, CoefficientsEnv, LOWEST),
    "none, hindsight": Fault(0, overrides=HINDSIGHT),
    "... rewarded for the distance": Fault(7, SignEnv, HINDSIGHT),
    "no episode ends": Fault(8, training_only=("STEP_SIGNAL.MAX_STEPS", "1000000")),
}


def train_with(fault: Fault, config: CfgNode, episodes: int) -> float:
    """Train with a fault, and test.

    Args:
        config: of a training that succeeds; its SEED is that of the weights, the noise and the episodes.
        episodes: of the split test.

    Returns:
        The share of test episodes that end in success.
    """
    tested = _changed(config, fault.overrides)
    trained = _changed(tested, fault.training_only)
    envs = VecMonitor(DummyVecEnv([lambda: NumberedEpisodes(fault.env(trained, split="train"), 0, 1)]))
    model = build_algorithm(trained, envs, torch.device("cpu"))
    if fault.linear:
        for actor in (model.actor, model.actor_target):  # type: ignore[attr-defined]
            assert isinstance(actor.mu[-1], torch.nn.Tanh)
            actor.mu[-1] = torch.nn.Identity()
    model.learn(trained.SB3.NUM_STEPS)
    return success_rate(model, [fault.env(tested, split="test") for _ in range(episodes)])


def success_rate(policy: Any, envs: Sequence[StepSignalEnv]) -> float:
    """Play episode n in environment n, all at once: the share that ends in success."""
    observations = [env.reset(options={"episode": number})[0] for number, env in enumerate(envs)]
    while True:
        batch = {key: np.stack([observation[key] for observation in observations]) for key in observations[0]}
        actions, _ = policy.predict(batch, deterministic=True)
        steps = [env.step(action) for env, action in zip(envs, actions)]
        if steps[0][3]:
            return float(np.mean([info["is_success"] for *_, info in steps]))
        observations = [step[0] for step in steps]


def _changed(config: CfgNode, words: Sequence[str]) -> CfgNode:
    changed = config.clone()
    changed.defrost()
    changed.merge_from_list(list(words))
    changed.freeze()
    return changed
