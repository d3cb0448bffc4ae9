"""The Gymnasium environments of the near-target task."""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from small_config import small_config

from audio_separation.envs import SPEC_ID, register_envs
from audio_separation.envs.near_target import NearTargetEnv, NearTargetVectorEnv
from audio_separation.envs.rewards import mixture_estimate, separation_reward

sys.path.insert(0, str(Path(__file__).parent))
from contract import assert_in_space, assert_same, check_contract, play

STEPS = 4


@pytest.fixture(scope="module")
def config(tiny):
    register_envs()
    return small_config(tiny)


def test_gymnasium_checker_accepts_the_single_environment(config):
    env = gymnasium.make(SPEC_ID, config=config, render_mode="rgb_array")
    check_env(env.unwrapped)


def test_registering_twice_changes_nothing(config):
    before = gymnasium.registry[SPEC_ID]
    register_envs()
    assert gymnasium.registry[SPEC_ID] is before


def test_contract_of_the_single_environment(config):
    check_contract(lambda: gymnasium.make(SPEC_ID, config=config), STEPS - 1)


def test_contract_of_the_vector_environment(config):
    check_contract(lambda: gymnasium.make_vec(SPEC_ID, num_envs=3, config=config, target_bin=True), STEPS - 1)


def test_make_vec_uses_the_batched_environment(config):
    assert type(gymnasium.make_vec(SPEC_ID, num_envs=2, config=config).unwrapped) is NearTargetVectorEnv


def test_sync_wrapper_around_single_environments_works(config):
    env = gymnasium.make_vec(SPEC_ID, num_envs=2, vectorization_mode="sync", config=config)
    record = play(env, 1, STEPS + 1)
    for observation, *_ in record:
        assert_in_space(observation, env.observation_space)
    assert [bool(step[2].all()) for step in record[1:]] == [False] * (STEPS - 1) + [True, False]


def test_episode_terminates_after_its_steps_and_refuses_more(config):
    env = NearTargetEnv(config=config)
    env.reset(seed=0)
    ends = [env.step(1)[2:4] for _ in range(STEPS)]
    assert ends == [(False, False)] * (STEPS - 1) + [(True, False)]
    with pytest.raises(RuntimeError, match="reset"):
        env.step(0)
    observation, _ = env.reset()
    assert observation["pose"][3] == 0


def test_autoreset_is_next_step(config):
    env = NearTargetVectorEnv(2, config=config)
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.NEXT_STEP
    env.reset(seed=5)
    for _ in range(STEPS):
        observation, reward, terminated, truncated, info = env.step([0, 1])
    assert terminated.all() and not truncated.any() and (observation["pose"][:, 3] == STEPS).all()
    ended = info["episode_id"].tolist()
    observation, reward, terminated, truncated, info = env.step([0, 0])  # ignored
    assert not terminated.any() and not truncated.any() and (reward == 0).all()
    assert (observation["pose"] == 0).all() and info["episode_id"].tolist() != ended
    observation, reward, terminated, *_ = env.step([1, 1])
    assert (reward < 0).all() and (observation["pose"][:, 3] == 1).all()


def test_each_pass_plays_every_episode_once(config):
    env = NearTargetVectorEnv(3, config=config)
    seen = [i for n in range(8) for i in env.reset(seed=2 if n == 0 else None)[1]["episode_id"]]
    assert sorted(seen) == sorted(e.episode_id for e in env.episodes) and len(seen) == 24
    assert seen != [e.episode_id for e in env.episodes]  # shuffled


def test_single_and_vector_environment_agree_on_the_same_episodes(config):
    vector = NearTargetVectorEnv(3, config=config)
    episodes = vector.episodes[4:7]
    single = NearTargetEnv(config=config)
    batch = [vector.reset(options={"episodes": episodes})]
    actions = [[0, 1, 2], [0, 0, 0], [2, 0, 1]]
    batch += [vector.step(a) for a in actions]
    for e, episode in enumerate(episodes):
        alone = [single.reset(options={"episodes": [episode]})] + [single.step(a[e]) for a in actions]
        for one, many in zip(alone, batch):
            for key, value in one[0].items():
                np.testing.assert_array_equal(value, many[0][key][e], err_msg=key)
            assert one[-1]["target_distance_m"] == many[-1]["target_distance_m"][e]
        assert [step[1] for step in alone[1:]] == [step[1][e] for step in batch[1:]]


def test_reward_is_the_error_of_the_levelled_mixture(config):
    env = NearTargetEnv(config=config)
    env.reset(seed=1)
    observation, reward, *_ = env.step(1)
    # the formula of DESIGN section 7, in numpy
    mixture = np.expm1(observation["mix_logmag"].astype(np.float64)).mean(0)
    mixture *= 1.2 / np.sqrt((mixture**2).mean())
    expected = -((mixture - observation["target_mono_mag"][0]) ** 2).mean() / 1.44
    assert reward == pytest.approx(expected, rel=1e-4)
    assert -2 < reward < 0


def test_reward_bounds_by_hand():
    target = torch.full((2, 1, 512, 32), 1.2)
    torch.testing.assert_close(separation_reward(torch.zeros_like(target), target), torch.full((2,), -1.0))
    assert (separation_reward(target, target) == 0).all()
    torch.testing.assert_close(separation_reward(target + 0.12, target), torch.full((2,), -0.01))
    # two ears, one of them silent: the mean of both, brought to the level
    ears = torch.stack([torch.full((1, 512, 32), 3.0), torch.zeros(1, 512, 32)], 1)
    torch.testing.assert_close(mixture_estimate(ears, 1.2), target[:1])
    assert (mixture_estimate(torch.zeros(1, 2, 4, 4)) == 0).all()


def test_an_estimator_replaces_the_mixture(config):
    env = NearTargetVectorEnv(2, config=config, estimator=lambda obs: obs.target_mono_mag)
    env.reset(seed=0)
    assert (env.step([0, 1])[1] == 0).all()


def test_wrong_actions_are_refused(config):
    env = NearTargetVectorEnv(2, config=config)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions are 0\.\.2"):
        env.step([0, 3])
    with pytest.raises(ValueError, match="shape"):
        env.step([0, 1, 2])


def test_render_shows_what_the_agent_sees(config):
    env = NearTargetEnv(config=config, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert_same(env.render(), observation["rgb"])
    assert env.render().shape == (64, 64, 3)
