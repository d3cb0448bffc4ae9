"""The synthesizer environment: its contract, its numbered episodes, its rewards, and where episodes end."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from contract import assert_same, play
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from synth_worlds import make_synth_data, synth_config

from audio_separation.envs.control import NumberedEpisodes, build_control_env
from audio_separation.envs.synth.env import SynthEnv, action_space, move
from audio_separation.envs.synth.rewards import shape_reward, weighted_rmse
from audio_separation.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


def make(root, split="test", **changes):
    return SynthEnv(synth_config(root, **changes), split=split)


def still(env):
    return np.ones(env.world.num_params, int)


def episode(env, number, steps=None, seed=0):
    """Everything that comes of an episode under actions drawn from ``seed``."""
    env.action_space.seed(seed)
    record = [env.reset(options={"episode": number})]
    over = False
    while not over and (steps is None or len(record) <= steps):
        record.append(env.step(env.action_space.sample()))
        over = record[-1][3]
    return record


# ---- contract -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("actions", ["steps", "joint", "delta"])
def test_gymnasiums_own_checks(root, actions):
    env = make(root, SYNTH__ACTIONS=actions)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)


def test_spaces(root):
    assert action_space("steps", 3) == MultiDiscrete([3, 3, 3])
    assert action_space("joint", 3) == Discrete(27)
    assert action_space("delta", 3) == Box(-1.0, 1.0, (3,), np.float32)
    env = make(root, SYNTH__CLIP=1.5)
    assert env.observation_space == Box(-1.5, 1.5, (2 * 4 + 2,), np.float32)
    for result in episode(env, 0):
        assert result[0].dtype == np.float32 and env.observation_space.contains(result[0])


@pytest.mark.parametrize("changes", [{}, {"SYNTH__REWARD_NOISE": 0.5, "SYNTH__TARGETS": "dynamic_random"}])
def test_the_same_seed_is_the_same_to_the_bit(root, changes):
    one, other = make(root, **changes), make(root, **changes)
    record = play(one, 3, 8)
    assert_same(record, play(other, 3, 8))
    assert_same(record, play(one, 3, 8))  # nothing of the first episode is left
    assert not np.array_equal(record[0][0], play(other, 4, 8)[0][0])
    # what is observed is the caller's own
    one.action_space.seed(3)
    observation, info = one.reset(seed=3)
    observation[:] = 0
    for value in info.values():
        if isinstance(value, np.ndarray):
            value[:] = 0
    for expected in record[1:]:
        assert_same(expected, one.step(one.action_space.sample()))


def test_seedless_resets_go_on(root):
    env = make(root)
    env.reset(seed=5)
    first, _ = env.reset()
    second, _ = env.reset()
    assert not np.array_equal(first, second)
    env.reset(seed=5)
    np.testing.assert_array_equal(env.reset()[0], first)


def test_numbered_episodes_do_not_depend_on_what_was_before(root):
    env = make(root, SYNTH__REWARD_NOISE=0.5)
    records = [episode(env, number) for number in range(6)]
    again = make(root, SYNTH__REWARD_NOISE=0.5)
    again.reset(seed=99)
    for number in (4, 1, 5, 0):
        episode(again, 3, steps=2)
        assert_same(records[number], episode(again, number))
    assert len({tuple(record[0][0]) for record in records}) == 6


@pytest.mark.parametrize("changes", [{"SEED": 1}, {"split": "train"}])
def test_numbered_episodes_follow_from_seed_and_split(root, changes):
    one = make(root).reset(options={"episode": 0})[0]
    other = make(root, **changes).reset(options={"episode": 0})[0]
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, make(root).reset(options={"episode": 0})[0])


def test_the_numbering_wrapper(root):
    """Environment 1 of 3 plays 1, 4, 7, and comes back to where it stood."""
    env, plain = NumberedEpisodes(make(root), 1, 3), make(root)
    for number in (1, 4, 7):
        assert_same(env.reset(seed=8), plain.reset(options={"episode": number}))
        assert env.number == number
    results = [env.step(still(plain)) for _ in range(3)]
    env.step(np.array([0, 2]))
    resumed = NumberedEpisodes(make(root), 1, 3)
    resumed.resume(env.number, list(env.actions))
    assert_same(resumed.step(still(plain)), env.step(still(plain)))
    assert_same(resumed.reset(), env.reset())
    env.rewind()
    env.reset()
    assert env.number == 1 and env.actions == [] and len(results) == 3


def test_another_task_is_refused(root):
    with pytest.raises(
        UserError, match="TRAINER sb3 learns TASK.NAME synth or step_signal, found 'near_target'"
    ):
        build_control_env(synth_config(root, TASK__NAME="near_target"), "test")


# ---- what an action does --------------------------------------------------------------------------------
def test_moves_by_hand():
    start = np.array([0.5, 0.02, 0.95])
    np.testing.assert_allclose(move(start, np.array([2, 0, 2]), "steps", 0.1), [0.6, 0, 1])
    np.testing.assert_allclose(move(start, 2 * 9 + 1 * 3 + 0, "joint", 0.1), [0.6, 0.02, 0.85])
    np.testing.assert_allclose(move(start, np.array([0.5, -9, 0.1]), "delta", 0.1), [0.55, 0, 0.96])
    np.testing.assert_allclose(start, [0.5, 0.02, 0.95])


def test_the_observation_is_both_sounds_and_the_parameters(root):
    env = make(root)
    observation, info = env.reset(options={"episode": 2})
    world = env.world
    for action in (np.array([2, 1]), np.array([2, 0])):
        expected = [
            world.instrument.sound(info["params"]),
            info["target_sound"],
            world.space.params_scaler(info["params"]),
        ]
        np.testing.assert_array_equal(observation, np.concatenate(expected))
        before = info["params"]
        observation, _, _, _, info = env.step(action)
        np.testing.assert_allclose(info["params"], np.clip(before + 0.1 * (action - 1), 0, 1))


# ---- rewards --------------------------------------------------------------------------------------------
def by_hand(rmse, shape):
    cubic = 8 * (0.5 - min(rmse, 1)) ** 3
    prize = 10.0 if rmse <= 0.1 else 0.0
    return {
        "linear": 1 - rmse,
        "cubic": cubic,
        "cubic+prize": cubic / 2 + prize,
        "prize": 10 if prize else -10,
    }[shape]


@pytest.mark.parametrize("shape", ["linear", "cubic", "cubic+prize", "prize"])
def test_the_config_selects_the_reward(root, shape):
    env = make(root, SYNTH__REWARD=shape, SYNTH__REWARD_WEIGHTS="[3,1]")
    for number in range(4):
        for observation, reward, _, _, info in episode(env, number)[1:]:
            agent, target = observation[:4].astype(float), observation[4:8].astype(float)
            # columns loudness-dBFS, -TP, -dB, centroid; the last two are compared
            squares = (agent - target) ** 2
            rmse = math.sqrt((3 * squares[2] + squares[3]) / 4)
            assert info["rmse"] == pytest.approx(rmse, abs=1e-6)
            assert reward == pytest.approx(by_hand(info["rmse"], shape)) and type(reward) is float


def test_shapes_give_other_rewards_for_the_same_episode(root):
    rewards = {}
    for shape in ("linear", "cubic", "cubic+prize", "prize"):
        rewards[shape] = tuple(r[1] for r in episode(make(root, SYNTH__REWARD=shape), 1)[1:])
    assert len(set(rewards.values())) == 4


def test_noise_is_of_the_reward_alone(root):
    changes = {"SYNTH__REWARD": "linear", "SYNTH__TARGETS": "static_random"}
    plain, noisy = (episode(make(root, SYNTH__REWARD_NOISE=noise, **changes), 1) for noise in (0, 1))
    differing = 0
    for (a, r, *_, one), (b, s, *_, other) in zip(plain[1:], noisy[1:]):
        np.testing.assert_array_equal(a, b)
        assert one["rmse"] == other["rmse"]
        differing += r != s
    assert differing == len(plain) - 1


def test_an_agent_that_follows_is_a_step_late(root):
    """The reward of the perfect answer to a target that has just changed is that of the target that sounds now."""
    env = make(root, SYNTH__TARGETS="dynamic_random", SYNTH__CHANGE_PROBABILITY=1, SYNTH__REWARD="linear")
    _, info = env.reset(options={"episode": 0})
    for _ in range(5):
        wanted = info["target_sound"]
        _, reward, _, _, info = env.step(still(env))
        assert not np.array_equal(wanted, info["target_sound"])
        now = weighted_rmse(env.agent_sound, info["target_sound"], env.world.space.weights)
        late = weighted_rmse(env.agent_sound, wanted, env.world.space.weights)
        assert reward == shape_reward(float(now), "linear") != shape_reward(float(late), "linear")


def test_a_static_target_that_is_reached_gives_the_most(root):
    env = make(root, SYNTH__TARGETS="static_random", SYNTH__REWARD="cubic+prize", SYNTH__MAX_STEPS=30)
    env.reset(options={"episode": 3})
    for _ in range(20):
        away = env._target.params - env.params
        *_, reward, _, _, info = env.step(np.where(np.abs(away) < 0.05, 1, 1 + np.sign(away)).astype(int))
    assert np.abs(info["params"] - info["target_params"]).max() <= 0.05 + 1e-9
    assert reward == pytest.approx(by_hand(info["rmse"], "cubic+prize")) and reward > 0


# ---- ends -----------------------------------------------------------------------------------------------
def test_truncation_at_the_time_limit(root):
    for targets in ("static_random", "dynamic_random", "corpus"):
        record = episode(make(root, SYNTH__TARGETS=targets), 0)
        assert len(record) - 1 == 12
        assert [r[3] for r in record[1:]] == [False] * 11 + [True] and not any(r[2] for r in record[1:])


def test_truncation_where_the_recording_ends(root):
    env = make(root, SYNTH__TARGETS="corpus", SYNTH__MAX_STEPS=500)
    steps = env.world.pieces[0].steps
    assert 12 < len(steps) < 500
    record = episode(env, 0)
    assert record[0][1]["start"] == 0 and len(record) == len(steps)
    for place, result in enumerate(record):
        np.testing.assert_array_equal(result[-1]["target_sound"], steps[place])
        assert (result[-1]["mode"], result[-1]["piece"], result[-1]["target_params"]) == (
            "corpus",
            "sweep_test",
            None,
        )
    assert record[-1][3]


def test_a_reset_is_needed(root):
    env = make(root, SYNTH__MAX_STEPS=1)
    with pytest.raises(ResetNeeded, match=r"call reset\(\) before step"):
        env.step(still(env))
    env.reset(seed=0)
    env.step(still(env))
    with pytest.raises(ResetNeeded):
        env.step(still(env))
    env.reset()
    env.step(still(env))


# ---- hearing --------------------------------------------------------------------------------------------
def test_rendered_and_looked_up_sounds_agree_at_the_rows_of_the_table(root):
    table, render = (make(root, SYNTH__HEAR=hear, SYNTH__CLIP=20) for hear in ("table", "render"))
    rows = table.world.table.params
    # at no amplitude the shape is that of silence, and below 520 Hz the table's means hold more frames of other phases
    loud = rows[(rows[:, 1] > 0) & (rows[:, 0] > 0)]
    assert len(loud) == 25
    for params in loud:
        one, other = (env.world.instrument.sound(params) for env in (table, render))
        np.testing.assert_allclose(one, other, atol=0.02)
    # between the rows they do not
    between = np.array([0.5, 0.5])
    one, other = (env.world.instrument.sound(between) for env in (table, render))
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    ("targets", "modes"),
    [
        ("mixed_random", {"static_random", "dynamic_random"}),
        ("mixed_random+corpus", {"static_random", "dynamic_random", "corpus"}),
        ("corpus", {"corpus"}),
    ],
)
def test_modes_are_mixed(root, targets, modes):
    env = make(root, SYNTH__TARGETS=targets)
    assert {env.reset(options={"episode": n})[1]["mode"] for n in range(40)} == modes
