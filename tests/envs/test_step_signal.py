"""The step signal's environment: signals, knobs, goals, rewards, episodes, and Gymnasium's rules."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from scipy.signal import butter, freqz

sys.path.insert(0, str(Path(__file__).parent))
from contract import assert_in_space, assert_same, check_contract

from audio_separation.config import get_config
from audio_separation.envs import STEP_SIGNAL_SPEC_ID, register_envs
from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.episodes import StepEpisode, episode_of
from audio_separation.envs.step_signal.signals import (
    least_length,
    low_pass,
    make_step,
    point_indices,
    rms_distance,
)
from audio_separation.errors import UserError
from audio_separation.rl.step_signal_baselines import AGENTS

PLAYED = StepEpisode(before=2.0, after=8.0, at=0.5, goal=3.0)


def config(**changes):
    words = [str(w) for key, value in changes.items() for w in (f"STEP_SIGNAL.{key}", value)]
    return get_config(None, ["TASK.NAME", "step_signal", *words])


def env_of(split="test", **changes):
    return StepSignalEnv(config(**changes), split=split)


# ---- signals


def test_a_step_by_hand():
    assert make_step(10, 0.3, 1, 4).tolist() == [1, 1, 1, 4, 4, 4, 4, 4, 4, 4]
    assert make_step(4, 0.6, 2, -1).tolist() == [2, 2, 2, -1]


@pytest.mark.parametrize("cutoff_hz", [0.5, 3.0, 12.0])
def test_the_filter_passes_a_sine_with_the_squared_gain_and_no_delay(cutoff_hz):
    rate_hz, hz = 30, 2.0
    n = np.arange(3000)
    sine = np.sin(2 * np.pi * hz * n / rate_hz)
    _, response = freqz(*butter(4, cutoff_hz, fs=rate_hz), worN=[hz], fs=rate_hz)
    middle = slice(1000, 2000)  # far from what happens at the ends
    expected = np.abs(response[0]) ** 2 * sine
    np.testing.assert_allclose(low_pass(sine, cutoff_hz, rate_hz, 4)[middle], expected[middle], atol=1e-6)


def test_the_filter_takes_batches_and_leaves_its_input_alone():
    batch = np.random.default_rng(0).standard_normal((3, 200))
    before = batch.copy()
    filtered = low_pass(batch, 1.0, 30, 4)
    for one, alone in zip(filtered, batch):
        np.testing.assert_allclose(one, low_pass(alone, 1.0, 30, 4), atol=1e-12)
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 8])
def test_the_shortest_signal_that_can_be_filtered(order):
    shortest = least_length(order) + 1
    assert np.isfinite(low_pass(np.ones(shortest), 1.0, 30, order)).all()


def test_points_lie_in_the_middle_of_equal_parts():
    assert point_indices(600, 40)[:2].tolist() == [7, 22] and point_indices(600, 40)[-1] == 592
    assert point_indices(5, 5).tolist() == [0, 1, 2, 3, 4]


def test_the_distance_at_the_points_is_near_that_of_all_samples():
    env = env_of()
    for number in range(50):
        env.reset(options={"episode": number})
        for _ in range(5):
            info = env.step(env.action_space.sample())[-1]
            whole = rms_distance(env.achieved, env.playing.goal)
            assert info["rms"] == pytest.approx(
                whole, abs=0.15
            )  # of a range of 10: the step falls between points


# ---- knobs


def test_actions_are_increments_on_log_cutoff_and_offset():
    env = env_of(LOG_CUTOFF_STEP=0.5, OFFSET_STEP=2.0)
    env.reset(options={"episode": PLAYED})
    assert env.cutoff_hz == pytest.approx(14.9) and env.offset == 0
    np.testing.assert_array_equal(env.achieved, env.original)
    env.step(np.array([-1.0, 0.25], np.float32))
    env.step(np.array([-0.5, -1.0], np.float32))
    assert env.cutoff_hz == pytest.approx(14.9 * np.exp(-0.75)) and env.offset == pytest.approx(0.5 - 2)
    env.step(np.array([-50.0, 50.0], np.float32))  # out of the space: as its ends
    assert env.cutoff_hz == pytest.approx(14.9 * np.exp(-1.25)) and env.offset == pytest.approx(0.5)


def test_knobs_stay_in_their_ranges():
    env = env_of(CUTOFF_HZ="[0.01,14.9]", LEVELS="[0.0,10.0]", GOALS="[2.0,12.0]")
    env.reset(options={"episode": PLAYED})
    for _ in range(20):
        observation = env.step(np.array([-1.0, -1.0]))[0]
    assert env.cutoff_hz == pytest.approx(0.01) and env.offset == -12
    np.testing.assert_allclose(observation["observation"][-2:], [-1, -1], atol=1e-6)
    env.reset(options={"episode": PLAYED})
    for _ in range(20):
        observation = env.step(np.array([1.0, 1.0]))[0]
    assert env.cutoff_hz == pytest.approx(14.9) and env.offset == 8
    np.testing.assert_allclose(observation["observation"][-2:], [1, 1], atol=1e-6)


def test_it_is_always_the_original_that_is_filtered():
    env = env_of()
    env.reset(options={"episode": PLAYED})
    rng = np.random.default_rng(0)
    for number in range(20):
        env.step(np.array([-1.0 if number < 2 else rng.uniform(-1, 0.5), rng.uniform(-1, 1)]))
        expected = low_pass(make_step(600, 0.5, 2, 8), env.cutoff_hz, 30, 4) - env.offset
        np.testing.assert_array_equal(env.achieved, expected)
    before = env.achieved
    env.step(np.zeros(2))
    np.testing.assert_array_equal(env.achieved, before)


def test_a_way_there_and_back_changes_nothing():
    env = env_of(LOG_CUTOFF_STEP=1.0)
    start, _ = env.reset(options={"episode": PLAYED})
    for turn in (-1.0, 1.0):
        for _ in range(9):
            observation, *_ = env.step(np.array([turn, 0.5 * turn]))
    assert_same(observation, start)


# ---- what is observed, and the reward


def test_the_observation_by_hand():
    env = env_of(POINTS=4)
    observation, info = env.reset(options={"episode": PLAYED})
    np.testing.assert_allclose(observation["observation"], [-0.6, -0.6, 0.6, 0.6, 1, 0], atol=1e-6)
    np.testing.assert_allclose(observation["achieved_goal"], [-0.6, -0.6, 0.6, 0.6], atol=1e-6)
    np.testing.assert_allclose(observation["desired_goal"], [-0.4] * 4, atol=1e-6)
    assert info["rms"] == pytest.approx(np.sqrt((1 + 25) / 2), rel=1e-6) and info["is_success"] is False
    observation, reward, _, _, info = env.step(np.array([1.0, 1.0]))  # the cutoff is at its upper end already
    np.testing.assert_allclose(observation["achieved_goal"], [-0.8, -0.8, 0.4, 0.4], atol=1e-6)
    assert info["rms"] == pytest.approx(np.sqrt((4 + 16) / 2), rel=1e-6)
    assert reward == pytest.approx(-np.sqrt((4 + 16) / 2) / 5, rel=1e-6)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_rewards_of_steps_are_those_of_compute_reward_alone_and_in_batches(kind):
    env = env_of(REWARD=kind, TOLERANCE=1.0)
    achieved, desired, rewards, infos = [], [], [], []
    for number in range(8):
        env.reset(options={"episode": number})
        for _ in range(25):
            action = AGENTS["oracle" if number % 2 else "random"](env, np.random.default_rng(number))
            observation, reward, _, _, info = env.step(action)
            achieved.append(observation["achieved_goal"])
            desired.append(observation["desired_goal"])
            rewards.append(reward)
            infos.append(info)
    a, d = np.stack(achieved), np.stack(desired)
    np.testing.assert_array_equal(env.compute_reward(a, d, infos), rewards)
    grid = env.compute_reward(a.reshape(8, 25, -1), d.reshape(8, 25, -1), {})
    assert grid.shape == (8, 25) and grid.dtype == np.float32
    np.testing.assert_array_equal(grid.ravel(), rewards)
    if kind == "sparse":
        assert rewards == [0.0 if info["is_success"] else -1.0 for info in infos] and {0.0, -1.0} == set(
            rewards
        )
    else:
        np.testing.assert_allclose(rewards, [-info["rms"] / 5 for info in infos], rtol=1e-5)


def test_nearer_is_better_and_the_goal_itself_is_best():
    env = env_of()
    goal = np.zeros(40, np.float32)
    away = [env.compute_reward(goal + distance, goal, {}) for distance in (0, 0.1, 0.2, 1)]
    np.testing.assert_allclose(away, [0, -0.1, -0.2, -1], rtol=1e-6)


# ---- episodes


def test_truncated_after_its_steps_and_never_terminated():
    env = env_of(MAX_STEPS=25)
    env.reset(options={"episode": 0})
    ends = [env.step(AGENTS["oracle"](env, np.random.default_rng(0)))[2:] for _ in range(25)]
    assert ends[-1][2]["is_success"] and [end[:2] for end in ends] == [(False, False)] * 24 + [(False, True)]
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(np.zeros(2))
    env.reset(seed=0)
    env.step(np.zeros(2))
    with pytest.raises(ResetNeeded):
        env_of().step(np.zeros(2))


def test_numbered_episodes_follow_from_seed_split_and_number():
    first = [env_of().episode(n) for n in range(30)]
    assert first == [episode_of(config(), "test", n) for n in range(30)] and len(set(first)) == 30
    other = [env_of("train").episode(0), episode_of(get_config(None, ["SEED", "5"]), "test", 0)]
    assert first[0] not in other and other[0] != other[1]
    for episode in first:
        assert all(0 <= value <= 10 for value in (episode.before, episode.after, episode.goal))
        assert 0.2 <= episode.at <= 0.8
    assert {episode.before < episode.after for episode in first} == {True, False}
    env = env_of()
    assert_same(env.reset(options={"episode": 3}), env.reset(options={"episode": first[3]}))


def test_no_episode_is_solved_before_it_begins():
    changes = {"TOLERANCE": 2.0, "CUTOFF_HZ": "[0.01,14.9]"}
    env = env_of(**changes)
    for number in range(100):
        assert not env.reset(options={"episode": number})[1]["is_success"]
    with pytest.raises(UserError, match=r"TOLERANCE 50.0 before any action: lower it"):
        env_of(TOLERANCE=50.0).reset(seed=0)


@pytest.mark.parametrize(
    ("agent", "count", "least", "most"),
    [("oracle", 200, 1.0, 1.0), ("hold", 200, 0, 0), ("random", 100, 0, 0.02)],
)
def test_the_oracle_solves_every_episode_and_chance_none(agent, count, least, most):
    env, rng, successes = env_of(), np.random.default_rng(0), []
    for number in range(count):
        env.reset(options={"episode": number})
        truncated = False
        while not truncated:
            *_, truncated, info = env.step(AGENTS[agent](env, rng))
        successes.append(info["is_success"])
    assert least <= np.mean(successes) <= most


# ---- Gymnasium


def test_contract():
    check_contract(env_of, 6)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_gymnasium_checker_finds_nothing(kind):
    register_envs()
    env = gymnasium.make(STEP_SIGNAL_SPEC_ID, config=config(REWARD=kind))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    observation, _ = env.reset(seed=1)
    assert_in_space(observation, env.observation_space)


def test_overrides_and_the_default_split():
    env = StepSignalEnv(
        overrides=["TASK.NAME", "step_signal", "STEP_SIGNAL.POINTS", "7", "DATA.SPLIT", "val"]
    )
    assert env.observation_space["achieved_goal"].shape == (7,)
    assert env.episode(2) == episode_of(config(), "val", 2)


# ---- bad settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"CUTOFF_HZ": "[0.01,15.0]"},
            r"CUTOFF_HZ must be two rising numbers above 0 and below STEP_SIGNAL.RATE / 2",
        ),
        ({"STEP_TIME": "[0.2,1.0]"}, r"STEP_TIME must be two rising numbers above 0 and below 1, found"),
        ({"LEVELS": "[3.0,3.0]"}, r"LEVELS must be two rising numbers, found"),
        ({"GOALS": "[1.0,2.0,3.0]"}, r"GOALS must be two rising numbers, found"),
        ({"GOALS": "['a','b']"}, r"GOALS must be two rising numbers, found"),
        ({"SECONDS": 1.0, "RATE": 15, "CUTOFF_HZ": "[0.01,7.0]"}, r"make 15 samples, expected more than 15"),
        ({"POINTS": 601}, r"POINTS is 601, expected at most the 600 samples"),
        (
            {"CUTOFF_HZ": "[0.05,14.9]"},
            r"lowest cutoff of CUTOFF_HZ \(0.05 Hz\) leaves a step of 10 an RMS of",
        ),
        ({"LOG_CUTOFF_STEP": 0.1}, r"LOG_CUTOFF_STEP is 0.1, so .* expected at least 0.292"),
        ({"OFFSET_STEP": 0.3}, r"OFFSET_STEP is 0.3, so .* the 10 that .* expected at least 0.4"),
    ],
)
def test_settings_that_cannot_be_played_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        env_of(**changes)
