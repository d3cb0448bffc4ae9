"""Distances and rewards of the synthesizer agent against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audio_separation.envs.synth.rewards import PRIZE, PRIZE_RMSE, noisy_rmse, shape_reward, weighted_rmse

RMSE = np.linspace(0, 12, 1201)


def test_weighted_rmse_by_hand():
    agent, target, weights = np.array([0.0, 1.0, 9.0]), np.array([3.0, 5.0, -9.0]), np.array([2.0, 1.0, 0.0])
    assert weighted_rmse(agent, target, weights) == pytest.approx(math.sqrt((2 * 9 + 16) / 3))
    assert weighted_rmse(target, agent, 7 * weights) == pytest.approx(math.sqrt(34 / 3))
    assert weighted_rmse(agent, agent, weights) == 0


def test_weighted_rmse_of_many_at_once():
    rng = np.random.default_rng(0)
    agent, target, weights = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 5, 3)), rng.random(3)
    rmse = weighted_rmse(agent, target, weights)
    assert rmse.shape == (4, 5)
    assert rmse[2, 3] == pytest.approx(weighted_rmse(agent[2, 3], target[2, 3], weights))
    plain = weighted_rmse(agent, target, np.ones(3))
    np.testing.assert_allclose(plain, np.sqrt(((agent - target) ** 2).mean(-1)))


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ("linear", {0.0: 1.0, 0.25: 0.75, 1.0: 0.0, 3.0: -2.0}),
        ("cubic", {0.0: 1.0, 0.25: 0.125, 0.5: 0.0, 0.75: -0.125, 1.0: -1.0, 9.0: -1.0}),
        ("cubic+prize", {0.0: 10.5, 0.1: 10.256, 0.25: 0.0625, 0.5: 0.0, 1.0: -0.5, 9.0: -0.5}),
        ("prize", {0.0: 10.0, 0.1: 10.0, 0.1001: -10.0, 9.0: -10.0}),
    ],
)
def test_shapes_by_hand(shape, values):
    for rmse, reward in values.items():
        assert shape_reward(rmse, shape) == pytest.approx(reward, abs=1e-9), rmse


@pytest.mark.parametrize(
    ("shape", "low", "high"),
    [
        ("linear", -11, 1),
        ("cubic", -1, 1),
        ("cubic+prize", -0.5, 0.5 + PRIZE),
        ("prize", -PRIZE, PRIZE),
    ],
)
def test_shapes_fall_from_bound_to_bound(shape, low, high):
    rewards = np.array([shape_reward(rmse, shape) for rmse in RMSE])
    assert (np.diff(rewards) <= 0).all()
    assert (rewards[0], rewards[-1]) == pytest.approx((high, low))


def test_the_prize_ends_where_it_says():
    jump = shape_reward(PRIZE_RMSE, "cubic+prize") - shape_reward(PRIZE_RMSE + 1e-9, "cubic+prize")
    assert jump == pytest.approx(PRIZE)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="quartic"):
        shape_reward(0.5, "quartic")


def test_no_noise_draws_nothing():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert noisy_rmse(0.3, np.ones(4), 0.0, rng) == 0.3
    assert rng.bit_generator.state == before


def test_noise_is_one_descriptor_more():
    """Its difference of two numbers of [0, 1] has the mean square 1/6."""
    weights, noise, rmse = np.array([1.0, 2.0]), 0.5, 0.4
    rng, other = np.random.default_rng(1), np.random.default_rng(1)
    drawn = np.array([noisy_rmse(rmse, weights, noise, rng) for _ in range(20000)])
    pairs = other.random((20000, 2))
    agent = np.concatenate([np.zeros((20000, 2)), pairs[:, :1]], 1)
    target = np.concatenate([np.full((20000, 2), rmse), pairs[:, 1:]], 1)
    np.testing.assert_allclose(drawn, weighted_rmse(agent, target, np.array([1.0, 2.0, noise])))
    assert (drawn**2).mean() == pytest.approx((rmse**2 * 3 + noise / 6) / 3.5, rel=0.01)
    assert len(set(drawn)) > 19000
