"""Targets, losses, schedules and clipping of deep Q-learning, by hand and against slow loops."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from audio_separation.rl.dqn import (
    AutoClip,
    clip_gradients,
    dqn_loss,
    dqn_targets,
    epsilon_at,
    gradient_norm,
    move_towards,
    times_due,
)

REWARD = torch.tensor([1.0, -0.5, 2.0])
TERMINATED = torch.tensor([False, False, True])
ONLINE = torch.tensor([[1.0, 3.0], [5.0, 4.0], [0.0, 1.0]])
TARGET = torch.tensor([[10.0, 2.0], [7.0, 9.0], [100.0, 100.0]])


def test_targets_by_hand():
    # double: the online network chooses actions 1, 0, 1 and the target network gives them 2, 7, 100
    double = dqn_targets(REWARD, TERMINATED, ONLINE, TARGET, 0.9, double=True)
    torch.testing.assert_close(double, torch.tensor([1 + 0.9 * 2, -0.5 + 0.9 * 7, 2.0]))
    single = dqn_targets(REWARD, TERMINATED, ONLINE, TARGET, 0.9, double=False)
    torch.testing.assert_close(single, torch.tensor([1 + 0.9 * 10, -0.5 + 0.9 * 9, 2.0]))


def test_what_follows_an_end_does_not_matter():
    after = TARGET.clone()
    after[2] = torch.nan
    assert dqn_targets(REWARD, TERMINATED, after, after, 0.9, double=True)[2] == 2
    # an episode that was truncated goes on
    assert dqn_targets(REWARD[:1], torch.tensor([0.0]), ONLINE[:1], TARGET[:1], 1.0, double=False) == 11


def test_losses_by_hand():
    values = torch.tensor([[0.0, 2.0], [1.0, 0.0]], requires_grad=True)
    actions, targets = torch.tensor([1, 0]), torch.tensor([5.0, 0.5])  # errors of -3 and 0.5
    assert dqn_loss(values, actions, targets, "mse").item() == pytest.approx((9 + 0.25) / 2)
    loss = dqn_loss(values, actions, targets, "huber")
    assert loss.item() == pytest.approx((2.5 + 0.125) / 2)
    loss.backward()
    assert values.grad.tolist() == [[0, -0.5], [0.25, 0]]  # only actions that were taken learn


def test_epsilon():
    linear = [epsilon_at(step, 0.9, 0.1, 100, "linear") for step in range(0, 301, 50)]
    assert linear == pytest.approx([0.9, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    for step in (0, 40, 100, 700):
        expected = 0.1 + 0.8 * math.exp(-step / 100)
        assert epsilon_at(step, 0.9, 0.1, 100, "exponential") == pytest.approx(expected)


def test_times_due_counts_every_multiple_once():
    for envs in (1, 3, 8):
        for every in (1, 4, 5, 20):
            steps = range(0, 240, envs)
            assert sum(times_due(step, step + envs, every) for step in steps) == (steps[-1] + envs) // every


def test_target_networks_follow():
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    target = copy.deepcopy(online)
    before = target[0].weight.clone()
    with torch.no_grad():
        online[0].weight.add_(torch.randn(4, 3))
    online(torch.randn(8, 3))  # moves the batch norm's statistics
    move_towards(target, online, 0.25)
    torch.testing.assert_close(target[0].weight, 0.75 * before + 0.25 * online[0].weight)
    move_towards(target, online, 1.0)
    for name, value in online.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_autoclip_is_the_percentile_of_all_norms_so_far():
    rng, clip, norms = np.random.default_rng(0), AutoClip(10.0), []
    for _ in range(300):
        norms.append(float(rng.exponential()))
        assert clip.threshold(norms[-1]) == pytest.approx(np.percentile(norms, 10))
    resumed = AutoClip(10.0)
    resumed.load_state_dict(clip.state_dict())
    assert resumed.threshold(0.3) == clip.threshold(0.3) == pytest.approx(np.percentile([*norms, 0.3], 10))
    assert AutoClip(100.0).threshold(3.0) == 3.0


def test_gradients_are_clipped_as_torch_does():
    for limit in (0.5, 1000.0):
        ours, theirs = nn.Linear(5, 5), nn.Linear(5, 5)
        for module in (ours, theirs):
            torch.manual_seed(1)
            module.weight.grad, module.bias.grad = torch.randn(5, 5), torch.randn(5)
        grads = [p.grad for p in ours.parameters()]
        norm = gradient_norm(grads)
        clip_gradients(grads, norm, limit)
        assert norm == pytest.approx(nn.utils.clip_grad_norm_(theirs.parameters(), limit).item())
        for mine, other in zip(ours.parameters(), theirs.parameters()):
            torch.testing.assert_close(mine.grad, other.grad)
