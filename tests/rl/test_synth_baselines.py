"""Scripted agents of the synthesizer: what they do, and that the encodings of actions agree."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from synth_worlds import make_synth_data, synth_config

from audio_separation.envs.synth.env import SynthEnv, move
from audio_separation.rl.synth_baselines import encode, greedy, hold, random


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


@pytest.mark.parametrize("actions", ["steps", "joint", "delta"])
def test_an_encoded_direction_is_the_move(actions):
    start = np.array([0.5, 0.02, 0.98])
    for direction in itertools.product((-1, 0, 1), repeat=3):
        moved = move(start, encode(np.array(direction), actions), actions, 0.1)
        np.testing.assert_allclose(moved, np.clip(start + 0.1 * np.array(direction), 0, 1))


def test_joint_numbers_are_one_to_one():
    numbers = {encode(np.array(d), "joint") for d in itertools.product((-1, 0, 1), repeat=3)}
    assert numbers == set(range(27))


@pytest.mark.parametrize("actions", ["steps", "joint", "delta"])
def test_hold_stays_and_random_covers_the_space(root, actions):
    env, rng = SynthEnv(synth_config(root, SYNTH__ACTIONS=actions)), np.random.default_rng(0)
    env.reset(options={"episode": 0})
    before = env.params.copy()
    env.step(hold(env, rng))
    np.testing.assert_array_equal(env.params, before)
    drawn = [random(env, rng) for _ in range(300)]
    assert all(env.action_space.contains(np.asarray(a) if actions != "joint" else a) for a in drawn)
    if actions == "joint":
        assert set(drawn) == set(range(9))
    else:
        assert np.min(drawn) < -0.9 if actions == "delta" else np.min(drawn) == 0


@pytest.mark.parametrize("actions", ["steps", "joint", "delta"])
def test_greedy_reaches_a_static_target_and_stays(root, actions):
    config = synth_config(root, SYNTH__ACTIONS=actions, SYNTH__TARGETS="static_random", SYNTH__MAX_STEPS=14)
    env, rng = SynthEnv(config), np.random.default_rng(0)
    for episode in range(5):
        env.reset(options={"episode": episode})
        wanted, _ = env.world.instrument.nearest_params(env.target_sound)
        over = False
        while not over:
            *_, over, info = env.step(greedy(env, rng))
        assert np.abs(info["params"] - wanted).max() <= 0.05 + 1e-9  # half a step of 0.1
