"""The audition environment: motion, turning sources off, rewards, ends, and Gymnasium's rules."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from small_config import small_config

sys.path.insert(0, str(Path(__file__).parent))
from audition_worlds import Hums, episode, room, settings
from contract import assert_in_space, assert_same, check_contract

from audio_separation.audio.clips import ClipLibrary
from audio_separation.envs import AUDITION_SPEC_ID, register_envs
from audio_separation.envs.audition.build import build_env
from audio_separation.envs.audition.episodes import episode_of
from audio_separation.envs.audition.rewards import RewardTerms
from audio_separation.envs.audition.sounds import Sounds, open_sounds
from audio_separation.envs.audition.world import AuditionWorld
from audio_separation.errors import UserError

FORWARD, BACKWARD, LEFT, RIGHT = range(4)


@pytest.fixture(scope="module")
def config(tiny):
    register_envs()
    return make_config(tiny)


def make_config(tiny, **changes):
    words = {f"AUDITION__{key}": value for key, value in changes.items()}
    return small_config(tiny, **{"AUDITION__SECONDS": 0.25, "AUDITION__ROOM__MAX_ORDER": 2, **words})


def world_of(played, **changes):
    world = AuditionWorld(settings(**{"SECONDS": 0.1, "RATE": 8000, **changes}), Hums())
    world.reset(played)
    return world


def env_of(tiny, played, **changes):
    """An environment in which ``played`` has begun; its clips are of the tiny corpus."""
    env = build_env(make_config(tiny, **changes))
    observation, info = env.reset(options={"episode": played})
    return env, observation, info


def tiny_episode(*args, **kwargs):
    return episode(*args, **kwargs, clips=("music_train0", "spk00_train0", "spk01_train0"))


# ---- motion


def test_turn_actions_by_hand():
    world = world_of(episode([(1.0, 1.0)], (3.0, 3.0), 60.0))
    x, y = 3 + 0.25, 3 + 0.25 * math.sqrt(3)
    for action, position, heading_deg in [
        (FORWARD, [x, y], 60),
        (LEFT, [x, y], 90),
        (FORWARD, [x, y + 0.5], 90),
        (BACKWARD, [x, y], 90),
        (RIGHT, [x, y], 60),
        (BACKWARD, [3, 3], 60),
    ]:
        world.step(action)
        np.testing.assert_allclose(world.position, position, atol=2e-6)
        assert world.heading_deg == heading_deg
    assert world.path_m == pytest.approx(2.0, abs=1e-5) and world.step_count == 6
    for _ in range(12):
        world.step(LEFT)
    assert world.heading_deg == 60


def test_a_step_back_leads_exactly_where_the_agent_was():
    world = world_of(episode([(1.0, 1.0)], (2.712345, 3.198765)))
    for _ in range(12):
        assert world.step(FORWARD).moved_m > 0
        world.step(BACKWARD)
        assert world.position.tolist() == [2.712345, 3.198765]
        world.step(LEFT)


def test_compass_actions_by_hand():
    world = world_of(episode([(1.0, 1.0)], (3.0, 3.0), 90.0), ACTIONS="compass", STEP_M=0.25)
    positions = []
    for action in range(4):
        world.step(action)
        positions.append(world.position.tolist())
    assert positions == [[3, 3.25], [3, 3], [2.75, 3], [3, 3]] and world.heading_deg == 90
    world.step(4)
    assert world.heading_deg == 120
    world.step(5)
    world.step(5)
    assert world.heading_deg == 60 and world.position.tolist() == [3, 3]


def test_a_step_out_of_the_walkable_part_leads_nowhere():
    world = world_of(episode([(1.0, 1.0)], (5.3, 3.0), 0.0))
    assert world.step(FORWARD).moved_m == 0 and world.position.tolist() == [5.3, 3.0]
    world = world_of(episode([(1.0, 1.0)], (5.2, 3.0), 0.0))
    assert world.step(FORWARD).moved_m == 0.5 and world.position.tolist() == [5.7, 3.0]  # the rim itself


def test_no_step_cuts_the_corner_of_an_l():
    played = episode([(1.0, 1.0)], (2.6, 2.9), 315.0, room("l_shape"))
    world = world_of(played, TURN_DEG=45.0)
    # from (2.6, 2.9) to (2.9536, 2.5464): both ends are walkable, the way between passes inside (2.7, 2.7)
    assert world.paths.area.contains(np.array([2.953553, 2.546447]))
    assert world.step(FORWARD).moved_m == 0
    world = world_of(episode([(1.0, 1.0)], (2.5, 2.7), 315.0, room("l_shape")), TURN_DEG=45.0)
    assert world.step(FORWARD).moved_m == pytest.approx(0.5, abs=1e-5)


def test_wrong_actions_are_refused_and_change_nothing():
    world = world_of(episode([(1.0, 1.0)], (3.0, 3.0)))
    with pytest.raises(ValueError, match=r"actions are 0\.\.3, found 4"):
        world.step(4)
    assert world.step_count == 0 and world.active.all()


# ---- turning off, rewards, ends


def test_sources_within_the_radius_are_turned_off_after_the_move():
    # three sources: two by 0.5 m and less from (3.5, 3), one at 0.51
    played = episode([(3.5, 3.5), (3.8, 3.0), (3.5, 2.49)], (3.0, 3.0))
    world = world_of(played, SOURCES=3)
    outcome = world.step(FORWARD)
    assert world.active.tolist() == [False, False, True]
    assert outcome.terms == RewardTerms(step=-0.5, found=200.0) and not outcome.terminated
    images = world.source_images()
    assert not images[:2].any() and images[2].any()


def test_rewards_by_hand():
    weights = {"REWARD__CLOSEST": 2.0, "REWARD__PROGRESS": 3.0, "REWARD__FOUND": 10.0, "REWARD__STEP": -0.1}
    world = world_of(episode([(3.0, 5.0), (3.0, 1.0)], (3.0, 3.5), 90.0), **weights)
    turned = world.step(LEFT).terms
    assert turned == RewardTerms(step=-0.1, turn=-0.1, found=0.0, closest=2 / 1.5, progress=0.0)
    assert turned.total == pytest.approx(-0.2 + 2 / 1.5)
    world.step(RIGHT)
    assert world.step(FORWARD).terms == pytest.approx((-0.1, 0, 0, 2 / 1.0, 3 * 0.5))
    found = world.step(
        FORWARD
    ).terms  # at (3, 4.5): the nearest then is (3, 1), but progress is on what sounded
    assert found == pytest.approx((-0.1, 0, 10, 0, 3 * 0.5))
    assert world.step(BACKWARD).terms == pytest.approx((-0.1, 0, 0, 2 / 3.0, 3 * 0.5))
    assert world.step(FORWARD).terms == pytest.approx((-0.1, 0, 0, 2 / 3.5, 3 * -0.5))


def test_progress_goes_round_the_corner():
    played = episode([(1.0, 5.0)], (5.0, 1.0), 180.0, room("l_shape"))
    world = world_of(played, REWARD__PROGRESS=1.0)
    before = math.dist((5, 1), (2.7, 2.7)) + math.dist((2.7, 2.7), (1, 5))
    after = math.dist((4.5, 1), (2.7, 2.7)) + math.dist((2.7, 2.7), (1, 5))
    assert world.step(FORWARD).terms.progress == pytest.approx(before - after)


def test_a_source_turned_off_is_heard_and_simulated_no_more(tiny, simulated):
    env, observation, info = env_of(tiny, tiny_episode([(4.0, 3.0), (1.0, 1.0)], (3.0, 3.0)))
    assert info["found"] == 0 and info["active"].tolist() == [True, True]
    assert info["distance_m"] == 1 and info["moved_m"] == 0 and set(info["reward_terms"].values()) == {0}
    np.testing.assert_array_equal(observation["audio"], env.world.source_images().sum(0))
    observation, reward, terminated, truncated, info = env.step(FORWARD)
    assert reward == pytest.approx(-0.5 + 100) and not terminated and not truncated
    assert info["reward_terms"] == {"step": -0.5, "turn": 0, "found": 100, "closest": 0, "progress": 0}
    assert info["found"] == 1 and info["active"].tolist() == [False, True] and info["moved_m"] == 0.5
    assert info["distance_m"] == pytest.approx(math.hypot(2.5, 2))
    np.testing.assert_array_equal(observation["audio"], env.world.source_images()[1])
    assert not env.world.source_images()[0].any() and observation["audio"].any()
    assert simulated == [[(4.0, 3.0), (1.0, 1.0)], [(1.0, 1.0)]]


def test_the_last_observation_of_a_terminated_episode_is_silence(tiny):
    env, *_ = env_of(tiny, tiny_episode([(4.0, 3.0)], (3.0, 3.0)), MAX_STEPS=1)
    observation, _, terminated, truncated, info = env.step(FORWARD)
    assert terminated and not truncated  # although it was the last step too
    assert_in_space(observation, env.observation_space)
    assert not observation["audio"].any() and info["distance_m"] == 0 and info["found"] == 1
    with pytest.raises(ResetNeeded, match="reset"):
        env.step(FORWARD)
    env.reset(seed=0)
    env.step(FORWARD)


def test_truncation_is_not_termination_and_hears_on(tiny):
    env, *_ = env_of(tiny, tiny_episode([(5.0, 5.0)], (3.0, 3.0)), MAX_STEPS=3)
    ends = [env.step(LEFT) for _ in range(3)]
    assert [step[2:4] for step in ends] == [(False, False), (False, False), (False, True)]
    assert_in_space(ends[-1][0], env.observation_space)
    assert ends[-1][0]["audio"].any() and ends[-1][4]["active"].all()
    with pytest.raises(ResetNeeded):
        env.step(LEFT)


def test_step_before_reset_is_refused(config):
    with pytest.raises(ResetNeeded, match="call reset"):
        build_env(config).step(0)


# ---- what is observed


def test_the_left_ear_is_louder_and_earlier_after_turning(tiny):
    # 2 m from the source; facing +x it lies to the left, facing -x to the right
    env, observation, _ = env_of(tiny, tiny_episode([(3.0, 5.0)], (3.0, 3.0), 0.0, plan=room(order=1)))

    def level_and_lag(audio):
        spectra = np.fft.rfft(audio.astype(float), 4 * audio.shape[1])
        crossed = np.fft.irfft(spectra[1] * spectra[0].conj())
        lags = np.r_[crossed[-8:], crossed[:8]]  # right after left is positive
        return np.square(audio).sum(1), np.argmax(lags) - 8

    (left, right), lag = level_and_lag(observation["audio"])
    assert left > 1.05 * right and lag in (4, 5)  # 20 cm are 4.7 samples
    for _ in range(6):
        observation, *_ = env.step(LEFT)
    (left, right), lag = level_and_lag(observation["audio"])
    assert right > 1.05 * left and lag in (-4, -5)


def test_pose_only_if_asked_for(tiny, config):
    assert set(build_env(config).observation_space.spaces) == {"audio"}
    played = tiny_episode([(1.0, 1.0)], (3.5, 2.0), 90.0)
    env, observation, _ = env_of(tiny, played, POSE=True)
    np.testing.assert_allclose(observation["pose"], [0.5, -1, 0, 1], atol=1e-6)
    observation, *_ = env.step(FORWARD)
    np.testing.assert_allclose(observation["pose"], [0.5, -0.5, 0, 1], atol=1e-6)
    assert_in_space(observation, env.observation_space)


def test_loops_have_rate_level_and_no_seam(tiny, config):
    sounds = open_sounds(config)
    loop = sounds.loop("music_train0")
    assert loop.dtype == np.float32 and len(loop) == 20 * 8000
    assert 20 * np.log10(np.sqrt(np.mean(loop.astype(float) ** 2))) == pytest.approx(-25, abs=1e-3)
    np.testing.assert_array_equal(sounds.window("music_train0", -5, 10), np.r_[loop[-5:], loop[:5]])
    long = sounds.window("music_train0", 7, 2 * len(loop))
    np.testing.assert_array_equal(long, np.r_[loop[7:], loop, loop[:7]])
    # tiny clips are sums of sines of whole periods: half the rate is every second sample of the clip
    raw = ClipLibrary(tiny.corpus_root, "train").samples("music_train0")[::2] / 2**15
    np.testing.assert_allclose(loop, raw / np.sqrt(np.mean(raw**2)) * 10 ** (-25 / 20), atol=1e-4)


def test_classes_and_their_number(tiny):
    sounds = open_sounds(make_config(tiny, CLASSES="['music','esc']"))
    drawn = {sounds.draw(2, np.random.default_rng(seed)) for seed in range(200)}
    assert {tuple(sorted(n.split("_")[0] for n in names)) for names in drawn} == {("esc", "music")}
    assert len(drawn) == 18  # three clips of each, either first
    with pytest.raises(UserError, match="SOURCES is 3, but sources differ in class"):
        sounds.draw(3, np.random.default_rng(0))
    with pytest.raises(UserError, match="has no class 'bells'"):
        open_sounds(make_config(tiny, CLASSES="['bells']"))


def test_a_silent_clip_is_refused():
    class Silence:
        classes, folder = ("a",), "corpus"

        def by_class(self, name):
            return ["a_0"]

        def samples(self, name):
            return np.zeros(16000, np.int16)

    with pytest.raises(UserError, match="'a_0' of corpus is silent"):
        Sounds(Silence(), 8000, -25.0).loop("a_0")


# ---- Gymnasium


@pytest.mark.parametrize("changes", [{}, {"POSE": True, "ACTIONS": "compass", "ROOM__SHAPE": "random"}])
def test_gymnasium_checker_finds_nothing(tiny, changes):
    register_envs()
    env = gymnasium.make(AUDITION_SPEC_ID, config=make_config(tiny, **changes))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        check_env(env.unwrapped)


def test_contract(tiny, config):
    check_contract(lambda: gymnasium.make(AUDITION_SPEC_ID, config=config), 8)


def test_sync_vector_environment_works(config):
    env = gymnasium.make_vec(AUDITION_SPEC_ID, num_envs=2, vectorization_mode="sync", config=config)
    observation, _ = env.reset(seed=1)
    assert_in_space(observation, env.observation_space)
    assert_in_space(env.step([0, 2])[0], env.observation_space)


def test_episodes_follow_from_seed_split_and_number(tiny, config):
    env = build_env(config, split="val")
    first, again, other = env.episode(3), episode_of(config, "val", 3), env.episode(4)
    reseeded = episode_of(small_config(tiny, SEED=99), "val", 3)
    for different in (other, episode_of(config, "train", 3), reseeded):
        assert different.plan != first.plan
    assert again.plan == first.plan and again.clips == first.clips and again.starts == first.starts
    np.testing.assert_array_equal(again.sources, first.sources)
    assert_same(env.reset(options={"episode": first}), build_env(config).reset(options={"episode": again}))


def test_fixed_episode_is_always_the_same(tiny):
    env = build_env(make_config(tiny, FIXED_EPISODE=True))
    first = env.reset(seed=1)
    env.step(FORWARD)
    assert_same(first, env.reset(seed=2))
    assert env.world.responses.cache.misses <= 4  # reset heard what was kept


def test_shortest_path_bounds_what_a_walk_needs(config):
    env = build_env(config)
    for number in range(5):
        env.reset(options={"episode": env.episode(number)})
        bound, world = env.world.shortest_path_m(), env.world
        straight = world.source_distances()
        assert max(straight) - 0.5 - 0.03 <= bound <= sum(straight) + math.dist(*world.episode.sources)
