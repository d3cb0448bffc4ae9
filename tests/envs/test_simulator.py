"""The batched simulator on the hand-made graph: moving, pose, hearing, and batching."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_config import small_config
from tiny import RATE

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import (
    HOLD,
    MOVE_FORWARD,
    TURN_LEFT,
    TURN_RIGHT,
    BatchSimulator,
    relative_pose,
)
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import Episode

# node 0 is the corner of the L: +X leads to 1 and 2, -Z leads to 5, 3 and 4
POSITIONS = {0: (0, 0, 0), 1: (1, 0, 0), 2: (2, 0, 0), 3: (0, 0, -2), 4: (0, 0, -3), 5: (0, 0, -1)}
CPU = torch.device("cpu")


def episode(start=0, rotation=0, target=1, other=4, seconds=(3, 5), path=None, number=0) -> Episode:
    return Episode(
        episode_id=str(number),
        scene="tiny_000",
        start_position=POSITIONS[start],
        start_rotation=rotation,
        sounds=("spk00_train0", "esc_train1"),
        start_seconds=seconds,
        labels=(1, 3),
        source_paths=(tuple(POSITIONS[n] for n in path or [target]), (POSITIONS[other],)),
    )


@pytest.fixture(scope="module")
def config(tiny):
    return small_config(tiny)


def simulate(config, *episodes: Episode, target_bin: bool = True) -> BatchSimulator:
    simulator = build_simulator(config, episodes, len(episodes), CPU, target_bin, images=False)
    simulator.reset(episodes)
    return simulator


@pytest.mark.parametrize(
    ("start", "rotation", "nodes"),
    [
        (0, 0, [5, 3, 4, 4]),
        (0, 270, [1, 2, 2, 2]),
        (0, 90, [0] * 4),
        (0, 180, [0] * 4),
        (4, 180, [3, 5, 0, 0]),
    ],
)
def test_forward_follows_the_edges_and_stops_at_their_end(config, start, rotation, nodes):
    simulator = simulate(config, episode(start, rotation))
    walked = []
    for _ in nodes:
        simulator.move([MOVE_FORWARD])
        walked.append(int(simulator.node[0]))
    assert walked == nodes and simulator.rotation[0] == rotation


def test_turns_are_quarter_turns_and_hold_keeps_the_pose(config):
    simulator = simulate(config, episode(rotation=0), episode(rotation=0), episode(rotation=270))
    for turned in ((90, 270, 270), (180, 180, 270), (270, 90, 270)):
        simulator.move([TURN_LEFT, TURN_RIGHT, HOLD])
        assert tuple(simulator.rotation) == turned
    assert (simulator.node == 0).all() and (simulator.step_count == 3).all()


@pytest.mark.parametrize(
    ("rotation", "actions", "pose"),
    [  # metres forward, metres to the right, heading (counter-clockwise), from the corner of the L
        (0, [MOVE_FORWARD, MOVE_FORWARD], (2, 0, 0)),
        (0, [TURN_RIGHT, MOVE_FORWARD], (0, 1, -np.pi / 2)),
        (90, [TURN_RIGHT, MOVE_FORWARD, MOVE_FORWARD], (0, 2, -np.pi / 2)),
        (90, [TURN_LEFT, TURN_LEFT, MOVE_FORWARD], (-1, 0, np.pi)),
        (180, [TURN_LEFT, MOVE_FORWARD], (0, -1, np.pi / 2)),
        (180, [TURN_RIGHT, TURN_RIGHT, MOVE_FORWARD], (-1, 0, np.pi)),
        (270, [MOVE_FORWARD, TURN_LEFT, MOVE_FORWARD], (1, 0, np.pi / 2)),
        (270, [TURN_LEFT, MOVE_FORWARD, TURN_LEFT], (0, -1, np.pi)),
    ],
)
def test_pose_is_given_in_the_start_frame(config, rotation, actions, pose):
    simulator = simulate(config, episode(0, rotation))
    for action in actions:
        observation = simulator.step([action])
    np.testing.assert_allclose(observation.pose[0], (*pose, len(actions)), atol=1e-6)


def test_heading_lies_above_minus_pi_and_up_to_pi():
    turn = np.arange(-720, 721, 90)
    heading = relative_pose(np.zeros((len(turn), 3)), 0 * turn, np.zeros((len(turn), 3)), turn)[:, 2]
    assert (heading > -np.pi + 0.1).all() and (heading <= np.pi + 1e-9).all()
    np.testing.assert_allclose(np.cos(heading), np.cos(np.deg2rad(turn)), atol=1e-9)
    np.testing.assert_allclose(np.sin(heading), np.sin(np.deg2rad(turn)), atol=1e-9)


@pytest.mark.parametrize("target", [1, 5])  # +X and -Z of the corner
def test_the_ear_towards_the_source_hears_more(config, target):
    side = {  # of the source as seen when facing -Z, -X, +Z, +X
        1: {0: "right", 90: "behind", 180: "left", 270: "ahead"},
        5: {0: "ahead", 90: "right", 180: "behind", 270: "left"},
    }[target]
    simulator = simulate(config, *(episode(0, rotation, target) for rotation in side))
    power = simulator.waveforms().target_bin.square().sum(-1)  # [E, C], left and right
    for (left, right), where in zip(power.tolist(), side.values()):
        ratio = left / right
        if where == "left":
            assert ratio > 3
        elif where == "right":
            assert ratio < 1 / 3
        else:
            assert 0.7 < ratio < 1.4


def test_turning_towards_the_source_moves_it_between_the_ears(config):
    # the mixture itself, not only the image: both sources on the right of the start heading
    simulator = simulate(config, episode(0, 0, target=1, other=2))
    mixtures = [simulator.waveforms().mix_bin[0]]
    for _ in range(2):
        simulator.step([TURN_LEFT])
        mixtures.append(simulator.waveforms().mix_bin[0])
    right, _, left = (wave.square().sum(-1) for wave in mixtures)
    assert right[1] > 3 * right[0] and left[0] > 3 * left[1]


def test_the_clip_moves_on_a_second_a_step_and_wraps(config):
    simulator = simulate(config, episode(seconds=(18, 0)))
    clip = simulator.clips.samples("spk00_train0")
    assert simulator.clips.num_seconds("spk00_train0") == 20
    for second in (18, 19, 0, 1):
        mono = simulator.waveforms().target_mono[0, 0].numpy()
        np.testing.assert_allclose(mono, clip[second * RATE : (second + 1) * RATE] / 32768.0, atol=1e-7)
        simulator.step([HOLD])


def test_target_truth_has_its_level_and_class(config):
    observation = simulate(config, episode()).observe()
    torch.testing.assert_close(observation.target_mono_mag.square().mean().sqrt(), torch.tensor(1.2))
    torch.testing.assert_close(observation.target_mono_stft.abs(), observation.target_mono_mag)
    assert observation.target_class.tolist() == [1]
    torch.testing.assert_close(torch.log1p(observation.mix_stft.abs()), observation.mix_logmag)


def test_observing_again_changes_nothing(config):
    simulator, once = simulate(config, episode()), simulate(config, episode())
    first = simulator.observe()
    for _ in range(3):
        again = simulator.observe()
    for a, b in zip(first, again):
        assert (a is None and b is None) or torch.equal(a, b)
    assert torch.equal(simulator.step([0]).mix_stft, once.step([0]).mix_stft)


def test_an_episode_is_the_same_alone_and_among_others(config):
    mine = episode(0, 90, target=5, seconds=(7, 2))
    others = [
        episode(2, 0, 3, 5, (1, 1)),
        episode(3, 180, 2, 0, (9, 9)),
        episode(4, 0),
        episode(1, 270, 4, 2),
    ]
    alone, among = simulate(config, mine), simulate(config, *others[:2], mine, *others[2:])
    for action in (None, TURN_RIGHT, MOVE_FORWARD):
        if action is not None:
            alone.step([action])
            among.step([0, 1, action, 2, 0])
        for name, a, b in zip(alone.observe()._fields, alone.observe(), among.observe()):
            if a is not None:
                assert torch.equal(a[0], b[2]), name
    assert alone.target_distance()[0] == among.target_distance()[2]


def test_a_moving_source_is_heard_and_measured_where_it_is(config):
    still = simulate(config, episode(0, 270, target=1))
    moving = simulate(config, episode(0, 270, path=[1, 2, 2]))
    assert torch.equal(still.observe().mix_stft, moving.observe().mix_stft)
    assert moving.target_distance()[0] == pytest.approx(1)
    stays, moves = still.step([HOLD]), moving.step([HOLD])
    assert not torch.allclose(stays.mix_stft, moves.mix_stft)
    assert torch.equal(stays.target_mono_mag, moves.target_mono_mag)  # the dry sound is the same
    assert moving.target_distance()[0] == pytest.approx(2)
    # and it is the sound of a source that had stood there all the time
    there = simulate(config, episode(0, 270, target=2)).step([HOLD])
    assert torch.equal(there.mix_stft, moves.mix_stft)


def test_images_are_those_of_node_and_rotation(tiny, config):
    simulator = build_simulator(config, [episode()], 1, CPU, False, images=True)
    simulator.reset([episode(0, 270)])
    for action, node, turn in ((HOLD, 0, 3), (MOVE_FORWARD, 1, 3), (TURN_LEFT, 1, 0)):
        rgb = simulator.step([action]).rgb
        assert set(rgb[..., 0].flatten().tolist()) == {40 * node}
        assert set(rgb[..., 1].flatten().tolist()) == {60 * turn}


def test_wrong_use_is_refused(config):
    simulator = build_simulator(config, [episode()], 2, CPU, False, images=False)
    with pytest.raises(RuntimeError, match="reset"):
        simulator.observe()
    with pytest.raises(ValueError, match="expected 2, got 1"):
        simulator.reset([episode()])
    foreign = episode()
    foreign = foreign.__class__(**{**foreign.__dict__, "scene": "elsewhere"})
    with pytest.raises(UserError, match="elsewhere"):
        simulator.reset([foreign, foreign])


def test_max_episodes_keeps_a_spread(tiny):
    chosen = load_task_episodes(small_config(tiny, DATA__MAX_EPISODES=5))
    every = load_task_episodes(small_config(tiny))
    assert [e.episode_id for e in chosen] == [every[i].episode_id for i in (0, 4, 9, 14, 19)]
    assert len(load_task_episodes(small_config(tiny, DATA__MAX_EPISODES=999))) == 24


def test_mixed_numbers_of_sources_are_refused_before_the_first_step(tiny, config):
    two = episode(number=7)
    three = Episode(**{
        **two.__dict__,
        "sounds": (*two.sounds, "music_train0"),
        "start_seconds": (0, 0, 0),
        "labels": (1, 3, 0),
        "source_paths": (*two.source_paths, (POSITIONS[2],)),
    })  # fmt: skip
    assert (
        build_simulator(config, [three], 1, CPU, False, images=False).reset([three]).mix_logmag.shape[0] == 1
    )
    with pytest.raises(UserError, match="same number of sources.* 2 in episode 7"):
        build_simulator(config, [two, three], 2, CPU, False, images=False)


def test_task_and_audio_settings_that_do_not_exist_are_refused(tiny):
    with pytest.raises(UserError, match="TASK.NAME"):
        build_simulator(small_config(tiny, TASK__NAME="fly"), [episode()], 1, CPU, False)
    with pytest.raises(UserError, match="AUDIO.RATE"):
        build_simulator(small_config(tiny, AUDIO__HOP=256), [episode()], 1, CPU, False)
