"""Why the agent of the question stays at the same values for ever: each cause by itself, as numbers.

Of keras-rl, which these functions do not need, the facts are from its documentation and source: its agent trains the
critic and the actor only after so many steps each, acts by the actor as it is plus Ornstein-Uhlenbeck noise, whose time
step is 0.01, and clips nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.signal import butter

from audio_separation.envs.step_signal.published import (
    EPISODE_STEPS,
    FIT_STEPS,
    GOAL,
    HIGH,
    LENGTH,
    LOW,
    ORDER,
    RATE_HZ,
    THRESHOLD,
    WARM_UP_ACTOR,
    WARM_UP_CRITIC,
    PublishedStepSignalEnv,
    low_pass_by_coefficients,
    published_rescale,
    published_signal,
)
from audio_separation.envs.step_signal.signals import low_pass, rms_distance

HIDDEN = (128, 64)  # of the question's actor
ACTORS, EPISODES = 200, 5  # that are drawn, and that each plays
THETA, SIGMA, TIME_STEP = 0.6, 0.3, 0.01  # of its noise


# ---- 1: never reaching the warm-up ------------------------------------------------------------------------
def changed_by_training(env: Any, warm_up: int, steps: int, seed: int) -> dict[str, float]:
    """Train DDPG of Stable-Baselines3 and compare its weights with those before.

    Args:
        warm_up: steps before the first update.

    Returns:
        ``parameters`` of actor, critic and their targets; ``changed``, those that differ at all; ``largest`` change.
    """
    import torch
    from stable_baselines3 import DDPG

    model = DDPG(
        "MultiInputPolicy", env, learning_starts=warm_up, batch_size=32, seed=seed, device="cpu", buffer_size=2000,
        policy_kwargs={"net_arch": list(HIDDEN), "n_critics": 1},
    )  # fmt: skip
    before = torch.cat([value.flatten() for value in model.policy.state_dict().values()]).clone()
    model.learn(steps)
    after = torch.cat([value.flatten() for value in model.policy.state_dict().values()])
    return {
        "parameters": float(len(before)),
        "changed": float((before != after).sum()),
        "largest": float((before - after).abs().max()),
    }


# ---- 2: a linear actor ----------------------------------------------------------------------------------------
class LinearActor(NamedTuple):
    """The question's actor before any training: dense layers with ReLU between them, and nothing after the last."""

    layers: tuple[np.ndarray, ...]  # [in, out] each; biases begin at 0

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Its output ``[2]``, without any bound."""
        x = observation
        for weights in self.layers[:-1]:
            x = np.maximum(x @ weights, 0)
        return x @ self.layers[-1]


def draw_actor(rng: np.random.Generator) -> LinearActor:
    """Weights as Keras draws them: evenly in +-sqrt(6 / (in + out)), after Glorot and Bengio (2010)."""
    sizes = (2 * LENGTH, *HIDDEN, 2)
    limits = [(6 / (a + b)) ** 0.5 for a, b in zip(sizes, sizes[1:])]
    return LinearActor(
        tuple(rng.uniform(-limit, limit, size) for limit, size in zip(limits, zip(sizes, sizes[1:])))
    )


def play_actor(actor: LinearActor, episodes: int, rng: np.random.Generator) -> np.ndarray:
    """What an actor puts out, with its noise, in the question's environment: ``[episodes, 5, 2]``."""
    env = PublishedStepSignalEnv()
    outputs = []
    for _ in range(episodes):
        observation, _ = env.reset()
        noise = np.zeros(2)
        for _ in range(EPISODE_STEPS):
            noise = noise - THETA * noise * TIME_STEP + SIGMA * TIME_STEP**0.5 * rng.standard_normal(2)
            output = actor(np.concatenate([observation["observation"], observation["desired_goal"]])) + noise
            outputs.append(output)
            observation, *_ = env.step(output)
    return np.reshape(outputs, (episodes, EPISODE_STEPS, 2))


def linear_actors(count: int, episodes: int, rng: np.random.Generator) -> np.ndarray:
    """Outputs of ``count`` untrained actors, ``[count, episodes, 5, 2]``."""
    return np.stack([play_actor(draw_actor(rng), episodes, rng) for _ in range(count)])


def actor_numbers(outputs: np.ndarray) -> dict[str, float]:
    """What outputs ``[actors, episodes, 5, 2]`` come to.

    Returns:
        ``outside``: share outside [-1, 1]. ``cutoff_at_bound``, ``offset_at_bound``: share of the knobs that the
        clipping brings to an end of their range. ``noise``: standard deviation between episodes at the same step of
        one actor, mean. ``between_actors``: that between actors at the first step. ``same_corner``: share of actors
        whose knobs, both clipped, are the same at the first step of all episodes.
    """
    knobs = published_rescale(outputs)
    at_bound = (knobs == LOW) | (knobs == HIGH)
    first = knobs[:, :, 0]
    same = (first == first[:, :1]).all((1, 2))
    return {
        "outside": float((np.abs(outputs) > 1).mean()),
        "cutoff_at_bound": float(at_bound[..., 0].mean()),
        "offset_at_bound": float(at_bound[..., 1].mean()),
        "noise": float(outputs[:, :, 0].std(1).mean()),
        "between_actors": float(outputs[:, :, 0].mean(1).std(0).mean()),
        "same_corner": float(same.mean()),
    }


# ---- 3: the rescaling ---------------------------------------------------------------------------------------------
def rescaling(points: int = 2001) -> dict[str, float]:
    """What the actions in [-1, 1] reach of the range of the offset.

    Returns:
        ``offset_low``, ``offset_high``: the ends. ``reached``: share of the range. ``wasted``: share of the actions
        that all give the highest offset. ``sampled_cutoff_high``: share of actions drawn evenly from the declared
        space, which are rescaled once more, that end at the highest cutoff.
    """
    actions = np.linspace(-1, 1, points)
    offsets = published_rescale(np.stack([actions, actions], -1))[:, 1]
    cutoffs = np.linspace(LOW[0], HIGH[0], points)
    twice = published_rescale(np.stack([cutoffs, cutoffs], -1))[:, 0]
    return {
        "offset_low": float(offsets.min()),
        "offset_high": float(offsets.max()),
        "reached": float(np.ptp(offsets) / (HIGH[1] - LOW[1])),
        "wasted": float((offsets == HIGH[1]).mean()),
        "sampled_cutoff_high": float((twice == HIGH[0]).mean()),
    }


# ---- 4: filtered again and again ----------------------------------------------------------------------------------
def filtered_again(cutoff_hz: float, offset: float, times: int) -> np.ndarray:
    """The question's signal after each of ``times`` equal actions: ``[times, L]``."""
    signal, out = published_signal(), []
    for _ in range(times):
        signal = low_pass(signal, cutoff_hz, RATE_HZ, ORDER) - offset
        out.append(signal)
    return np.stack(out)


def drift(cutoff_hz: float, offset: float, times: int) -> np.ndarray:
    """RMS distance ``[times]`` of :func:`filtered_again` from the original filtered once."""
    signals = filtered_again(cutoff_hz, offset, times)
    return rms_distance(signals, signals[0])


# ---- 5: the region of success -------------------------------------------------------------------------------------
def residual_norms(cutoffs_hz: np.ndarray) -> np.ndarray:
    """L2 norm of the filtered signal around its mean, what the best offset leaves: ``[K]`` -> ``[K]``."""
    signal = published_signal()
    return np.array([low_pass(signal, hz, RATE_HZ, ORDER).std() * LENGTH**0.5 for hz in cutoffs_hz])


def success_region() -> dict[str, float]:
    """How much of the question's actions succeeds in one step.

    Returns:
        ``highest_hz``: the highest cutoff that does, at the best offset. ``of_zero``: it over the highest of all
        cutoffs. ``linear``, ``logarithmic``: share of the cutoff's range. ``offset``: share of the offset's range at
        the lowest cutoff. ``area``: of all pairs.
    """
    low, high = LOW[0], HIGH[0]
    below, above = low, 1.0
    for _ in range(60):  # the norm rises with the cutoff there
        middle = (below + above) / 2
        if residual_norms(np.array([middle]))[0] < THRESHOLD:
            below = middle
        else:
            above = middle
    grid = np.linspace(low, below, 500)
    left = np.maximum(
        THRESHOLD**2 - residual_norms(grid) ** 2, 0
    )  # norm² = residual² + L · (mean offset error)²
    widths = 2 * np.sqrt(left / LENGTH) / (HIGH[1] - LOW[1])
    return {
        "highest_hz": float(below),
        "of_zero": float(below / high),
        "linear": float((below - low) / (high - low)),
        "logarithmic": float(np.log(below / low) / np.log(high / low)),
        "offset": float(widths[0]),
        "area": float(np.mean(widths) * (below - low) / (high - low)),
    }


# ---- 6: coefficients of whole polynomials ---------------------------------------------------------------------------
def coefficient_errors(cutoffs_hz: np.ndarray) -> np.ndarray:
    """RMS error ``[K]`` of filtering by (b, a) against second-order sections, on the question's signal."""
    signal = published_signal()
    return np.array(
        [
            float(rms_distance(low_pass_by_coefficients(signal, hz), low_pass(signal, hz, RATE_HZ, ORDER)))
            for hz in cutoffs_hz
        ]
    )


def coefficient_gain(cutoff_hz: float) -> float:
    """Gain at 0 Hz of one pass by (b, a); 1 without rounding."""
    b, a = butter(ORDER, cutoff_hz, fs=RATE_HZ)
    return float(b.sum() / a.sum())


def pole_distance(cutoff_hz: float) -> tuple[float, float]:
    """How far the outermost pole is inside the unit circle: as designed, and as the rounded (b, a) have it."""
    _, poles, _ = butter(ORDER, cutoff_hz, output="zpk", fs=RATE_HZ)
    _, a = butter(ORDER, cutoff_hz, fs=RATE_HZ)
    return 1 - float(np.abs(poles).max()), 1 - float(np.abs(np.roots(a)).max())


# ---- 7: the sign of the reward -------------------------------------------------------------------------------------
class Relabelled(NamedTuple):
    """Transitions of the question's environment.

    Attributes:
        distances: to the goal that each is judged by, ``[N]``.
        given: rewards by ``step``.
        relabelled: what its ``compute_reward`` says of the same, which is what hindsight stores.
        batch_size: number of rewards that ``compute_reward`` gives for all at once; right is N.
    """

    distances: np.ndarray
    given: np.ndarray
    relabelled: np.ndarray
    batch_size: int


def relabel(count: int, rng: np.random.Generator) -> Relabelled:
    """Play random actions and compare the rewards of ``step`` with those of ``compute_reward``."""
    env = PublishedStepSignalEnv()
    achieved, given = [], []
    for number in range(count):
        if number % EPISODE_STEPS == 0:
            env.reset()
        observation, reward, *_ = env.step(rng.uniform(-1, 1, 2))
        achieved.append(observation["achieved_goal"])
        given.append(reward)
    goals = np.full((count, LENGTH), GOAL)
    together = np.size(env.compute_reward(np.stack(achieved), goals))
    relabelled = [env.compute_reward(a, g) for a, g in zip(achieved, goals)]
    distances = rms_distance(np.stack(achieved), goals) * LENGTH**0.5
    return Relabelled(distances, np.array(given), np.array(relabelled), together)


# ---- 8: no end -----------------------------------------------------------------------------------------------------
def play_on(env: Any, action: np.ndarray, steps: int) -> tuple[int, list[dict]]:
    """Repeat an action, beginning again after each end: how many ends there were, and all observations."""
    observation, _ = env.reset(seed=0)
    ends, observations = 0, []
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        if terminated or truncated:
            ends += 1
            env.reset()
    return ends, observations


# ---- all of them -----------------------------------------------------------------------------------------------------
def measure_causes(env: Any, seed: int) -> dict[str, dict[str, float]]:
    """All numbers of ``docs/step_signal.md`` but those of trainings.

    Args:
        env: a StepSignalEnv, for what has to be trained or to end.
    """
    rng = np.random.default_rng(seed)
    lowest = float(LOW[0])
    designed, rounded = pole_distance(lowest)
    found = relabel(100, rng)
    ends, _ = play_on(PublishedStepSignalEnv(), np.zeros(2), 1000)
    low_end = play_on(PublishedStepSignalEnv(), np.array([-1.0, -0.75]), 100)[1]
    exploded = [float(rms_distance(o["achieved_goal"], o["desired_goal"])) for o in low_end]
    repeated = drift(0.05, 0.5, EPISODE_STEPS)
    return {
        "1 warm-up": {
            "fit_steps": float(FIT_STEPS),
            "warm_up_critic": float(WARM_UP_CRITIC),
            "warm_up_actor": float(WARM_UP_ACTOR),
            **changed_by_training(env, WARM_UP_ACTOR, FIT_STEPS, seed),
            "changed_without": changed_by_training(env, 2, FIT_STEPS, seed)["changed"],
        },
        "2 linear actor": actor_numbers(linear_actors(ACTORS, EPISODES, rng)),
        "3 rescaling": rescaling(),
        "4 filtered again": {f"rms_after_{k}": float(value) for k, value in enumerate(repeated, start=1)},
        "5 region of success": success_region(),
        "6 coefficients": {
            **{
                f"rms_error_{hz:g}_hz": float(coefficient_errors(np.array([hz]))[0])
                for hz in (0.1, 0.01, lowest)
            },
            "gain": coefficient_gain(lowest),
            "pole_designed": designed,
            "pole_rounded": rounded,
        },
        "7 sign of the reward": {
            "correlation_given": float(np.corrcoef(found.distances, found.given)[0, 1]),
            "correlation_relabelled": float(np.corrcoef(found.distances, found.relabelled)[0, 1]),
            "rewards_of_100_at_once": float(found.batch_size),
        },
        "8 no end": {
            "ends_in_1000": float(ends),
            "ends_of_ours_in_1000": float(play_on(env, np.zeros(2), 1000)[0]),
            "rms_after_1": exploded[0],
            "rms_after_100": exploded[-1],
        },
    }
