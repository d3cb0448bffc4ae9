"""``habitat.RLEnv``, ``habitat.VectorEnv`` and ``habitat.gym`` over our simulator."""

from __future__ import annotations

import numpy as np
import pytest
from habitat_setup import STEPS, WHERE, YAML, Twin, assert_same_observation, habitat_config, overrides

pytest.importorskip("habitat", reason=WHERE)

import gym
import habitat
from habitat.core.environments import RLTaskEnv
from habitat.gym import make_gym_from_config

from audio_separation.envs.habitat import make_env

METRICS = {"separation_reward", "stft_l2", "mixture_stft_l2", "distance_to_target", "at_target"}


class PlainRLEnv(habitat.RLEnv):
    """What a user of habitat-lab writes."""

    def get_reward_range(self):
        return (-np.inf, 0.0)

    def get_reward(self, observations):
        return self.habitat_env.get_metrics()["separation_reward"]

    def get_done(self, observations):
        return self.habitat_env.episode_over

    def get_info(self, observations):
        return self.habitat_env.get_metrics()


@pytest.mark.parametrize("kind", [PlainRLEnv, RLTaskEnv])
def test_rl_environments(tiny, kind):
    config = habitat_config(tiny)
    twin, rng = Twin(config), np.random.default_rng(2)
    with kind(config) as env:
        for _ in range(2):
            observation = env.reset()
            assert_same_observation(observation, twin.reset(env.current_episode(all_info=True)))
            for _ in range(STEPS):
                action = int(rng.integers(3))
                observation, reward, done, info = env.step(action=action)
                ours, our_reward, our_done, distance = twin.step(action)
                assert_same_observation(observation, ours)
                assert (reward, done) == (our_reward, our_done)
                assert info.keys() == METRICS and info["distance_to_target"] == distance


def _gym_environments(tiny):
    config = habitat_config(tiny)
    yield make_gym_from_config(config)
    yield gym.make("Habitat-v0", cfg_file_path=str(YAML), override_options=overrides(tiny))
    yield make_gym_from_config(habitat_config(tiny, "habitat.env_task=GymHabitatEnv"))


def test_gym_environments(tiny):
    twin = Twin(habitat_config(tiny))
    for env in _gym_environments(tiny):
        assert env.action_space == gym.spaces.Discrete(3)
        observation = env.reset()
        ours = twin.reset(env.unwrapped.current_episode(all_info=True))
        assert_same_observation(observation, ours)
        for action in (0, 1, 0, 2):
            observation, reward, done, info = env.step(action)
            ours, our_reward, our_done, _ = twin.step(action)
            assert_same_observation(observation, ours)
            assert (reward, done) == (our_reward, our_done) and info.keys() == METRICS
        env.close()


def test_rendering_shows_the_pictures_alone(tiny):
    env = make_env(habitat_config(tiny))
    observation = env.reset()
    frame = env.render("rgb_array")
    assert frame.shape == (64, 128, 3)
    np.testing.assert_array_equal(frame[:, :64], observation["rgb"])
    assert_same_observation(env.reset(), env.env._last_obs)  # all of it is back
    env.close()


def _play(make, config, steps):
    env = make(config)
    record = [env.reset()]
    for action in steps:
        observation, reward, done, info = env.step(action)
        record.append((env.reset() if done else observation, reward, done, info))
    env.close()
    return record


def test_workers_play_what_one_process_plays(tiny):
    # the workers are new processes that import nothing of ours by name: what makes the environments is habitat-lab's
    # own function, and our classes come with the config
    configs = [habitat_config(tiny, f"habitat.seed={seed}") for seed in (1, 2)]
    actions = [(0, 1), (1, 0), (2, 0), (0, 0), (1, 2)]  # one more than an episode has
    with habitat.VectorEnv(make_gym_from_config, [(config,) for config in configs]) as env:
        assert env.number_of_episodes == [24, 24]
        record = [env.reset(), *(env.step(list(pair)) for pair in actions)]
        assert env.observation_spaces[0].spaces.keys() == record[0][0].keys()
    for i, config in enumerate(configs):
        alone = _play(make_env, config, [pair[i] for pair in actions])
        assert_same_observation(record[0][i], alone[0])
        for one, many in zip(alone[1:], record[1:]):
            assert_same_observation(many[i][0], one[0])
            assert many[i][1:] == one[1:]
    assert [step[0][2] for step in record[1:]] == [False] * (STEPS - 1) + [True, False]


def test_ranks_shuffle_differently(tiny):
    orders = []
    for rank in (0, 1, 0):
        config = habitat_config(tiny)
        env = make_env(config.habitat if rank else config, None, rank)
        ids = []
        for _ in range(5):
            env.reset()
            ids.append(env.unwrapped.current_episode().episode_id)
        env.close()
        orders.append(ids)
    assert orders[0] == orders[2] != orders[1]
