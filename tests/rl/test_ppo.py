"""GAE, the PPO objective and drawing actions, against slow or hand-made references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audio_separation.envs.simulator import HOLD, TURN_RIGHT
from audio_separation.rl.baselines import SCRIPTED
from audio_separation.rl.gae import gae
from audio_separation.rl.ppo import entropy, explained_variance, log_prob, ppo_loss, sample_actions


def slow_gae(rewards, values, not_done, last_value, gamma, lam):
    """The definition: a sum over later steps of discounted TD errors, up to the end of the episode."""
    steps, envs = rewards.shape
    following = np.vstack([values[1:], last_value])
    advantages = np.zeros_like(rewards)
    for e in range(envs):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                delta = rewards[k, e] - values[k, e]
                if not_done[k, e]:
                    delta += gamma * following[k, e]
                advantages[t, e] += weight * delta
                if not not_done[k, e]:
                    break
                weight *= gamma * lam
    return advantages


@pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_gae_equals_the_sum_of_discounted_errors(gamma, lam):
    rng = np.random.default_rng(0)
    rewards, values = rng.standard_normal((2, 7, 3))
    last_value = rng.standard_normal(3)
    not_done = np.ones((7, 3))
    not_done[3, 0] = not_done[6, 1] = not_done[0, 2] = 0
    arguments = [torch.from_numpy(x) for x in (rewards, values, not_done, last_value)]
    advantages, returns = gae(*arguments, gamma, lam)
    expected = slow_gae(rewards, values, not_done, last_value, gamma, lam)
    np.testing.assert_allclose(advantages, expected, atol=1e-12)
    np.testing.assert_allclose(returns, expected + values, atol=1e-12)


def test_gae_with_lambda_one_gives_the_discounted_return():
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    values = torch.tensor([[0.3], [-0.2], [5.0]])
    not_done = torch.tensor([[1.0], [1.0], [0.0]])
    _, returns = gae(rewards, values, not_done, torch.tensor([99.0]), 0.5, 1.0)
    torch.testing.assert_close(returns[:, 0], torch.tensor([1 + 1 + 1.0, 2 + 2.0, 4.0]))


def by_hand(ratio: float, advantage: float, clip: float) -> torch.Tensor:
    """The action part of the loss for one step whose probability has changed by ``ratio`` from 1/4."""
    p = ratio / 4
    logits = torch.tensor([[[math.log(p), math.log((1 - p) / 2), math.log((1 - p) / 2)]]])
    one = torch.ones(1, 1)
    return ppo_loss(
        logits,
        one,
        torch.zeros(1, 1, dtype=torch.int64),
        one * math.log(0.25),
        one * advantage,
        one,
        clip,
        0.5,
        0.0,
    )


@pytest.mark.parametrize(
    ("ratio", "advantage", "surrogate", "clipped"),
    [
        (1.0, 2.0, 2.0, 0),
        (1.5, 2.0, 1.1 * 2, 1),  # already likelier than allowed: held at 1 + clip
        (0.5, 2.0, 0.5 * 2, 1),  # a good action made unlikely: the full gradient back
        (1.5, -2.0, -1.5 * 2, 1),  # a bad action made likely: the full gradient back
        (0.5, -2.0, -0.9 * 2, 1),  # already less likely than allowed: held at 1 - clip
        (1.05, 1.0, 1.05, 0),
    ],
)
def test_clipped_surrogate_by_hand(ratio, advantage, surrogate, clipped):
    loss = by_hand(ratio, advantage, 0.1)
    assert loss.action.item() == pytest.approx(-surrogate, rel=1e-5)
    assert loss.clip_fraction.item() == clipped
    assert loss.approx_kl.item() == pytest.approx((ratio - 1) - math.log(ratio), abs=1e-5)
    assert loss.value.item() == 0 and loss.total.item() == pytest.approx(-surrogate, rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "pushes"), [(1.5, 2.0, 0), (0.5, 2.0, -1), (1.5, -2.0, 1), (0.5, -2.0, 0)]
)
def test_gradient_stops_where_the_ratio_is_clipped_for_the_better(ratio, advantage, pushes):
    logits = torch.tensor([math.log(ratio / 4), math.log(1 - ratio / 4)], requires_grad=True)
    one = torch.ones(1, 1)
    loss = ppo_loss(
        logits[None, None],
        one,
        torch.zeros(1, 1, dtype=torch.int64),
        one * math.log(0.25),
        one * advantage,
        one,
        0.1,
        0,
        0,
    )
    loss.total.backward()
    assert np.sign(logits.grad[0].item()) == pushes


def test_whole_loss_by_hand():
    # two steps of one environment, two actions
    logits = torch.log(torch.tensor([[[0.5, 0.5]], [[0.8, 0.2]]]))
    values, returns = torch.tensor([[1.0], [0.0]]), torch.tensor([[3.0], [1.0]])
    actions = torch.tensor([[0], [1]])
    old = torch.log(torch.tensor([[0.5], [0.25]]))
    advantages = torch.tensor([[1.0], [-1.0]])
    loss = ppo_loss(logits, values, actions, old, advantages, returns, 0.1, 0.5, 0.01)
    # ratios 1 and 0.8, the second clipped to 0.9 as its advantage is negative
    assert loss.action.item() == pytest.approx(-(1.0 - 0.9) / 2)
    assert loss.value.item() == pytest.approx(0.5 * (4 + 1) / 2)
    nats = (math.log(2) - 0.8 * math.log(0.8) - 0.2 * math.log(0.2)) / 2
    assert loss.entropy.item() == pytest.approx(nats)
    assert loss.total.item() == pytest.approx(-0.05 + 0.5 * 1.25 - 0.01 * nats)


def test_log_prob_and_entropy_of_known_distributions():
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, math.log(2), -1e9]])
    torch.testing.assert_close(
        entropy(logits), torch.tensor([math.log(3), math.log(3) - 2 / 3 * math.log(2)])
    )
    torch.testing.assert_close(
        log_prob(logits, torch.tensor([2, 1])), torch.tensor([-math.log(3), math.log(2 / 3)])
    )


def test_actions_come_with_their_probabilities():
    probabilities = torch.tensor([0.5, 0.2, 0.3])
    count = 30000
    uniform = torch.from_numpy(np.random.default_rng(1).random(count))
    drawn = sample_actions((probabilities.log() + 5).expand(count, 3), uniform)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / count, probabilities, atol=0.01)


def test_edges_of_the_uniform_number_stay_actions_with_probability():
    logits = torch.log(torch.tensor([0.25, 0.25, 0.5]))
    uniform = torch.tensor([0.0, 0.2499, 0.2501, 0.4999, 0.5001, 1 - 1e-12], dtype=torch.float64)
    assert sample_actions(logits.expand(6, 3), uniform).tolist() == [0, 0, 1, 1, 2, 2]
    never_first = torch.tensor([-1e9, 0.0, 0.0])
    assert sample_actions(never_first.expand(1, 3), torch.zeros(1)).tolist() == [1]


def test_a_draw_does_not_depend_on_how_environments_are_split():
    rng = torch.Generator().manual_seed(0)
    logits, uniform = torch.randn(8, 3, generator=rng), torch.rand(8, generator=rng, dtype=torch.float64)
    parts = [sample_actions(logits[i : i + 2], uniform[i : i + 2]) for i in range(0, 8, 2)]
    assert torch.equal(torch.cat(parts), sample_actions(logits, uniform))


def test_explained_variance():
    returns = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert explained_variance(returns, returns).item() == 1
    assert explained_variance(torch.full_like(returns, 7.0), returns).item() == 0
    assert explained_variance(returns + 10, returns).item() == pytest.approx(1)  # a bias is no variance
    assert explained_variance(2 * returns, returns).item() == pytest.approx(0)
    assert explained_variance(-returns, returns).item() == pytest.approx(-3)
    assert math.isfinite(explained_variance(returns, torch.ones_like(returns)).item())


def test_scripted_agents():
    uniform = np.random.default_rng(0).random(9000)
    assert (SCRIPTED["stand"](9000, uniform) == HOLD).all()
    assert (SCRIPTED["rotate"](9000, uniform) == TURN_RIGHT).all()
    drawn = SCRIPTED["random"](9000, uniform)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 9000, 1 / 3, atol=0.02)
    assert SCRIPTED["random"](2, np.array([0.0, 1 - 1e-16])).tolist() == [0, 2]
