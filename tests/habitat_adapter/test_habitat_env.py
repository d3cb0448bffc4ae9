"""``habitat.Env`` over our simulator: the same episodes, observations, rewards and ends as our own environment."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from habitat_setup import STEPS, WHERE, Twin, assert_same_observation, habitat_config

pytest.importorskip("habitat", reason=WHERE)

import habitat

from audio_separation.audio.metrics import stft_l2
from audio_separation.envs.habitat.dataset import AudioSeparationDataset, from_habitat, to_habitat
from audio_separation.envs.rewards import mixture_estimate, separation_reward
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import load_episodes, save_episodes
from audio_separation.scenes.layout import DatasetPaths
from audio_separation.scenes.splits import write_splits

ACTIONS = ("move_forward", "turn_left", "turn_right")


@pytest.fixture(scope="module")
def two_scenes(tiny, tmp_path_factory) -> DatasetPaths:
    """The tiny data with a split ``trainTwo`` that plays in two scenes, one of its sources moving."""
    root = tmp_path_factory.mktemp("two_scenes")
    paths = DatasetPaths(root / "data", root / "sound_spaces")
    shutil.copytree(tiny.active_root, paths.active_root)
    shutil.copytree(tiny.metadata_root, paths.metadata_root)
    write_splits(paths.metadata_root, {"train": ["tiny_000", "tiny_001"], "val": [], "test": []})
    (paths.data_root / "audio_data").symlink_to(tiny.data_root / "audio_data")
    for folder in ("binaural_rirs", "scene_observations"):
        (paths.sound_spaces_root / folder).symlink_to(tiny.sound_spaces_root / folder)
    first = load_episodes(tiny.active_root, "train", limit=3)
    second = load_episodes(tiny.active_root, "valHeard", limit=3)
    walk = tuple(episode.source_paths[0][0] for episode in second)
    moving = replace(second[0], episode_id="moving", source_paths=(walk, *second[0].source_paths[1:]))
    save_episodes(paths.active_root, "trainTwo", [*first, *second, moving])
    return paths


@pytest.fixture(scope="module")
def env(tiny):
    with habitat.Env(habitat_config(tiny)) as env:
        yield env


def play_beside(env, twin: Twin, episodes: int, rng: np.random.Generator) -> set[str]:
    """Compare some episodes step by step; the scenes seen."""
    scenes = set()
    for _ in range(episodes):
        observation = env.reset()
        assert_same_observation(observation, twin.reset(env.current_episode))
        scenes.add(env.current_episode.scene_id)
        assert env.get_metrics()["separation_reward"] == 0
        for t in range(STEPS):
            action = int(rng.integers(3))
            ours, reward, done, distance = twin.step(action)
            # by index and by name
            assert_same_observation(env.step(action if t % 2 else ACTIONS[action]), ours)
            metrics = env.get_metrics()
            assert (metrics["separation_reward"], env.episode_over) == (reward, done)
            assert metrics["distance_to_target"] == distance
            assert metrics["at_target"] == (distance == 0)
        assert done
    return scenes


def test_steps_equal_those_of_our_own_environment(env, tiny):
    play_beside(env, Twin(habitat_config(tiny)), 4, np.random.default_rng(0))
    with pytest.raises(AssertionError, match="call reset"):
        env.step(0)


def test_scenes_and_moving_sources(two_scenes):
    config = habitat_config(two_scenes, "habitat.dataset.split=trainTwo", words=["DATA.SOUNDS", "train"])
    with habitat.Env(config) as env:
        assert env.number_of_episodes == 7
        scenes = play_beside(env, Twin(config), 7, np.random.default_rng(1))
    assert scenes == {"tiny_000/tiny_000.glb", "tiny_001/tiny_001.glb"}


def test_spaces_hold_what_is_observed(env):
    observation = env.reset()
    assert list(env.action_space.spaces) == list(ACTIONS)
    for key, space in env.observation_space.spaces.items():
        assert space.contains(observation[key]), key
    assert observation.keys() == env.observation_space.spaces.keys()


def test_every_episode_comes_once_a_pass_in_an_order_of_the_seed(tiny):
    def order(seed: int) -> list[str]:
        with habitat.Env(habitat_config(tiny, f"habitat.seed={seed}")) as env:
            assert env.number_of_episodes == 24
            ids = []
            for _ in range(24):
                env.reset()
                ids.append(env.current_episode.episode_id)
            return ids

    first = order(5)
    assert sorted(first, key=int) == [str(i) for i in range(24)]
    assert order(5) == first != order(6)


def test_measures_are_the_protocol_s_numbers(env):
    env.sim.estimator = lambda obs: obs.target_mono_mag * 1.1
    seconds = [env.reset(), *(env.step(1) for _ in range(STEPS))]
    env.sim.estimator = None
    mixture, estimate = [], []
    for observation in seconds:
        truth = torch.from_numpy(observation["target_mono_mag"])[None]
        mix = mixture_estimate(torch.expm1(torch.from_numpy(observation["mix_logmag"])[None]))
        mixture.append(stft_l2(mix, truth).item())
        estimate.append(stft_l2(truth * 1.1, truth).item())
    metrics = env.get_metrics()
    # an episode's score is the mean of its STEPS seconds from the start on
    assert metrics["mixture_stft_l2"] == pytest.approx(np.mean(mixture[:STEPS]), rel=1e-12)
    assert metrics["stft_l2"] == pytest.approx(np.mean(estimate[:STEPS]), rel=1e-12)
    assert metrics["separation_reward"] == separation_reward(truth * 1.1, truth).double().item()
    assert metrics["stft_l2"] == pytest.approx(0.5 * 0.1**2 * 1.44, rel=1e-4)  # RMS of the truth is 1.2


def test_the_estimator_is_asked_once_a_second(env):
    asked = []

    def estimator(obs):
        asked.append(float(obs.pose[0, 3]))
        return obs.target_mono_mag

    env.sim.estimator = estimator
    env.reset()
    env.step(0)
    env.sim.estimator = None
    assert asked == [0, 1]


def test_agent_state_collisions_and_distances(env):
    env.reset()
    sim, graph = env.sim, env.sim.graph
    sim.batch.node[:], sim.batch.rotation[:] = (
        graph.index(0),
        0,
    )  # the corner of the L, facing -Z: node 5 ahead
    env.step("move_forward")
    position, rotation = sim.get_agent_state().position, sim.get_agent_state().rotation
    np.testing.assert_allclose(position, graph.positions[graph.index(5)], atol=1e-6)
    assert (rotation.w, rotation.y) == (1, 0) and not sim.previous_step_collided
    env.step("turn_left")  # 90 degrees about +Y: faces -X, where nothing is
    rotation = sim.get_agent_state().rotation
    np.testing.assert_allclose([rotation.w, rotation.y], math.sqrt(0.5))
    assert not sim.previous_step_collided
    env.step("move_forward")
    assert sim.previous_step_collided
    np.testing.assert_array_equal(sim.get_agent_state().position, position)
    corner, end = graph.positions[graph.index(0)], graph.positions[graph.index(4)]
    assert sim.geodesic_distance(corner, end) == 3 == sim.geodesic_distance(end, [corner])
    assert sim.geodesic_distance(corner, [end, graph.positions[graph.index(2)]]) == 2  # the nearer one
    with pytest.raises(UserError, match="off"):
        sim.geodesic_distance(corner, [9.0, 0.0, 9.0])


def test_habitat_s_own_measures_speak_of_the_target(tiny):
    config = habitat_config(tiny, "+habitat/task/measurements=[distance_to_goal,collisions]")
    with habitat.Env(config) as env:
        for _ in range(3):
            env.reset()
            env.step("move_forward")
            metrics = env.get_metrics()
            assert metrics["distance_to_goal"] == metrics["distance_to_target"]
            assert metrics["collisions"]["is_collision"] == env.sim.previous_step_collided


def test_stop_listens_for_a_last_second(tiny):
    with habitat.Env(habitat_config(tiny, "+habitat/task/actions=stop")) as env:
        assert env.action_space.spaces.keys() == {*ACTIONS, "stop"}
        before = env.reset()
        after = env.step("stop")
        assert env.episode_over and after["pose"].tolist() == [*before["pose"][:3], 1]
        assert (after["mix_logmag"] != before["mix_logmag"]).any()
        env.reset()
        env.step("turn_left")
        assert not env.episode_over


def test_wrong_calls_of_the_simulator_are_refused(env):
    env.reset()
    with pytest.raises(ValueError, match=r"0\.\.3"):
        env.sim.step(4)
    with pytest.raises(ValueError, match="needs one"):
        env.sim.reconfigure(env.sim.habitat_config)
    for _ in range(STEPS):
        env.sim.step(0)
    with pytest.raises(RuntimeError, match="has ended"):
        env.sim.step(1)


def test_writing_into_an_observation_changes_nothing(env, tiny):
    twin = Twin(habitat_config(tiny))
    observation = env.reset()
    twin.reset(env.current_episode)
    for value in observation.values():
        if value.ndim:
            value[...] = 0
    assert_same_observation(env.step(1), twin.step(1)[0])
    picture = env.render()
    picture[...] = 0
    assert env.render().any()


def test_dataset_keeps_episodes_and_json(two_scenes, tiny):
    config = habitat_config(two_scenes, "habitat.dataset.split=trainTwo").habitat.dataset
    dataset = AudioSeparationDataset(config)
    records = load_episodes(two_scenes.active_root, "trainTwo")
    assert [from_habitat(episode) for episode in dataset.episodes] == records
    assert [from_habitat(to_habitat(record)) for record in records] == records
    again = AudioSeparationDataset()
    again.from_json(dataset.to_json())
    assert again.episodes == dataset.episodes
    episode = dataset.episodes[0]
    assert [goal.position for goal in episode.goals] == [episode.sources[0].position]
    assert episode.info[0]["sound"] == records[0].sounds[0]
    assert AudioSeparationDataset.get_scenes_to_load(config) == ["tiny_000", "tiny_001"]
