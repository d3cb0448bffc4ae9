"""The live simulator over a generated home: what is seen and heard at nodes and between them, and its contract."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from contract import check_contract
from gymnasium.utils.env_checker import check_env
from live_worlds import RAYS, STEPS, episode, live_config

from audio_separation.audio.stft import RATE
from audio_separation.envs import LIVE_SPEC_ID, register_envs
from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.habitat.navmesh import NavmeshSpace
from audio_separation.envs.live.build import load_live_scenes
from audio_separation.envs.live.comparison import compare, draw_pairs
from audio_separation.envs.live.motion import move_agent
from audio_separation.envs.live.rirs import LiveRirs, Situation, apart
from audio_separation.envs.simulator import HOLD, MOVE_FORWARD, TURN_LEFT, TURN_RIGHT
from audio_separation.errors import UserError
from audio_separation.scenes.acoustics import Pose
from audio_separation.scenes.generate import acoustics
from audio_separation.scenes.generate.mesh import build_mesh
from audio_separation.scenes.generate.views import ViewRenderer

pytest.importorskip(
    "rlr_audio_propagation", reason="rlr-audio-propagation, the acoustic engine, is not installed"
)

SCENE = "home_000"


@pytest.fixture(scope="module")
def config(home_world):
    return live_config(home_world[0])


@pytest.fixture(scope="module")
def scene(home_world):
    """The home with the settings that it was made with."""
    config = live_config(home_world[0], LIVE__RAYS=0, LIVE__RAY_DEPTH=0)
    return load_live_scenes(config, [SCENE], images=False)[SCENE]


def make(config, num_envs=3, target_bin=True, images=True):
    episodes = load_task_episodes(config)
    simulator = build_simulator(config, episodes, num_envs, torch.device("cpu"), target_bin, images)
    return simulator, episodes


def changed(paths, **changes):
    return make(live_config(paths, **changes))


# ---- at the poses of nodes --------------------------------------------------------------------------
def test_the_scene_is_that_of_the_stored_responses_to_the_bit(scene, home_world):
    home = home_world[1]
    engine = acoustics.make_engine("rlr", home, build_mesh(home), RAYS)
    sources = list(range(len(home.positions)))
    stored = dict(acoustics.simulate_receiver(engine, 4, sources))
    up = np.array([0, 1.5, 0])
    ears = home.positions[4] + up
    poses = [Pose(ears, -azimuth % 360) for azimuth in acoustics.AZIMUTHS]
    places = np.stack([apart(ears, p + up) for p in home.positions])
    found = scene.acoustics.responses(poses, places)
    for i, azimuth in enumerate(acoustics.AZIMUTHS):
        for source in sources:
            live = acoustics.trim_tail(acoustics.GAIN * found[i][source]).astype(np.float32)
            np.testing.assert_array_equal(live, stored[azimuth, 4, source])


def test_responses_at_nodes_agree_with_the_stored_ones(scene, home_world):
    home = home_world[1]
    engine = acoustics.make_engine("rlr", home, build_mesh(home), RAYS)
    pairs = draw_pairs(scene, 40, np.random.default_rng(0))
    pairs = [pair for pair in pairs if pair.receiver in {p.receiver for p in pairs[:6]}]
    stored = {}
    for receiver in {pair.receiver for pair in pairs}:
        stored.update(acoustics.simulate_receiver(engine, receiver, sorted({p.source for p in pairs})))
    against_stored, against_itself = compare(scene, pairs, lambda *pair: stored[pair])
    assert len(pairs) >= 10 and len(against_stored.delay_samples) >= 5
    assert (against_stored.delay_samples == 0).all()
    assert np.abs(against_stored.direct_db).max() < 0.5 and np.median(np.abs(against_stored.direct_db)) < 0.02
    # the rest comes from few random rays: as near as two live estimates are, and without bias
    assert abs(against_stored.level_db.mean()) < 1.0 and abs(against_itself.level_db.mean()) < 1.0
    assert np.nanmedian(against_stored.rt60_ratio) == pytest.approx(1, abs=0.2)


def test_pictures_at_nodes_are_the_stored_ones(home_world):
    paths, home = home_world
    simulator, episodes = make(live_config(paths, LIVE__RESOLUTION=32), 1)
    seen = simulator.reset(episodes[:1])
    stored = ViewRenderer(home, build_mesh(home)).view(home.positions[0], 0, 32)
    np.testing.assert_array_equal(seen.rgb[0].numpy(), stored["rgb"])
    np.testing.assert_array_equal(seen.depth[0].numpy(), stored["depth"])


def test_a_source_at_the_own_node_sounds_from_straight_below():
    ears = np.array([2.0, 1.5, 3.0])
    np.testing.assert_allclose(apart(ears, ears), ears - (0, acoustics.SAME_NODE_DROP_M, 0))
    near = apart(ears, ears + np.array([0.2, 0, 0]))
    assert np.linalg.norm(near - ears) == pytest.approx(acoustics.SAME_NODE_DROP_M) and near[0] == 2.2
    far = ears + np.array([0.4, 0, 0])
    assert apart(ears, far) is far


# ---- moving -----------------------------------------------------------------------------------------
def test_episode_starts_headings_sources_and_records(config, home_world):
    simulator, episodes = make(config)
    home = home_world[1]
    simulator.reset(episodes)
    assert simulator.rotation.tolist() == [0, 90, 200.5] and simulator.node.tolist() == [0, 5, 2]
    np.testing.assert_allclose(simulator.position, home.positions[[0, 5, 2]])
    np.testing.assert_allclose(simulator.relative_pose(), 0, atol=1e-12)
    # a source between nodes is recorded at the nearest, one that walks goes from node to node
    assert simulator.source_nodes(episodes[1], 3).tolist() == [[6, 6, 6], [1, 1, 1]]
    assert simulator.source_nodes(episodes[2], 4).tolist() == [[3, 4, 5, 5], [1, 1, 1, 1]]
    walking = [simulator.target_distance()[2]]
    for _ in range(3):
        simulator.move(np.array([HOLD] * 3))
        walking.append(simulator.target_distance()[2])
    straight = np.linalg.norm(home.positions[[3, 4, 5, 5]] - home.positions[2], axis=1)
    assert walking[-1] == walking[-2] and np.all(np.array(walking) >= straight - 1e-6)


def test_a_second_has_several_moves(home_world):
    simulator, episodes = changed(home_world[0], LIVE__STEPS_PER_SECOND=3, LIVE__TURN_DEG=20)
    simulator.reset(episodes)
    simulator.move(np.array([TURN_LEFT, TURN_RIGHT, HOLD]))
    assert simulator.rotation.tolist() == [60, 30, 200.5] and simulator.step_count.tolist() == [1, 1, 1]
    np.testing.assert_allclose(simulator.relative_pose()[:, 2], np.deg2rad([60, -60, 0]), atol=1e-12)
    before = simulator.position.copy()
    simulator.move(np.array([MOVE_FORWARD, HOLD, HOLD]))
    moved = np.linalg.norm(simulator.position - before, axis=1)
    assert moved[0] <= 0.75 + 1e-9 and (moved[1:] == 0).all()
    assert bool(simulator.collided[0]) == (moved[0] < 0.75 - 1e-5)


def test_at_rest_the_second_is_the_plain_causal_rendering_to_the_bit(config):
    simulator, episodes = make(config)
    simulator.reset(episodes)
    seen = simulator.step(np.array([HOLD, HOLD, HOLD]))
    plain = simulator.renderer.hear(simulator._listeners(), True, True)
    still = [0, 1]  # the target of the third walks
    for name, whole in plain._asdict().items():
        assert torch.equal(whole[still], getattr(seen, name)[still]), name
    assert not torch.equal(plain.mix_logmag[2], seen.mix_logmag[2])


def test_a_second_begins_at_the_old_pose_and_ends_at_the_new_one(home_world):
    simulator, episodes = changed(home_world[0], LIVE__CROSSFADE_S=0.1)
    simulator.reset(episodes)
    simulator.move(np.array([MOVE_FORWARD, TURN_RIGHT, TURN_LEFT]))
    old = simulator._listeners()
    simulator.move(np.array([TURN_LEFT, TURN_LEFT, TURN_LEFT]))
    now, fade = simulator._listeners(), simulator.fade_samples
    moving = simulator.waveforms().mix_bin
    arrived = simulator.renderer.render(now, False).mix_bin
    left = simulator.renderer.render(old._replace(seconds=now.seconds), False).mix_bin
    assert torch.equal(moving[..., fade:], arrived[..., fade:])
    torch.testing.assert_close(moving[..., 0], left[..., 0] + (arrived - left)[..., 0] / (fade + 1))
    assert fade == RATE // 10


def test_standing_still_and_coming_back_simulate_nothing(home_world):
    simulator, episodes = changed(home_world[0], LIVE__TURN_DEG=30)
    simulator.reset(episodes[:2] + episodes[:1])
    for actions, simulated in (
        ([HOLD] * 3, 2),  # the first and the third are the same
        ([TURN_LEFT, HOLD, HOLD], 3),
        ([TURN_RIGHT, HOLD, TURN_LEFT], 3),
    ):
        simulator.step(np.array(actions))
        simulator.observe()
        assert simulator.rirs.simulated == simulated


def test_pictures_of_an_agent_that_stands_still_are_not_rendered_again(config, monkeypatch):
    simulator, episodes = make(config)
    rendered = []
    sight = simulator.live_scenes[SCENE].sight
    view = sight.view
    monkeypatch.setattr(sight, "view", lambda *pose: rendered.append(pose) or view(*pose))
    first = simulator.reset(episodes)
    assert len(rendered) == 3
    second = simulator.step(np.array([HOLD, TURN_LEFT, HOLD]))
    assert len(rendered) == 4 and torch.equal(first.rgb[[0, 2]], second.rgb[[0, 2]])
    second.rgb[0] = 0  # an observation is the caller's own
    assert torch.equal(simulator.observe().rgb[0], first.rgb[0])


def test_walls_and_furniture_of_a_home_are_in_the_way(scene, home_world):
    home, space = home_world[1], scene.space
    standing = [p for p in home.furniture if not (p.piece.flat or p.piece.raised)]
    rugs = [p for p in home.furniture if p.piece.flat]
    assert standing and rugs
    for placed in standing:
        x, z = placed.footprint.centre
        assert len(space.contacts(np.array([x, 0.0, z])))
    walls = home.plan.outer.inset(0.02)
    assert len(space.contacts(np.array([walls.x0, 0.0, walls.z0])))
    for position in home.positions:  # its nodes are free
        assert not len(space.contacts(position))


def test_the_same_moves_give_the_same_however_many_play_and_whatever_was_before(config):
    actions = [[0, 1, 2], [0, 0, 1], [1, 0, 0]]
    simulator, episodes = make(config)
    together = [simulator.reset(episodes)] + [simulator.step(np.array(a)) for a in actions]
    alone, _ = make(config, 1)
    for e in (2, 0, 1):  # in another order
        seen = [alone.reset(episodes[e : e + 1])] + [alone.step(np.array(a[e : e + 1])) for a in actions]
        for one, many in zip(seen, together):
            for name, value in one._asdict().items():
                assert torch.equal(value[0], getattr(many, name)[e]), name
    resized = simulator.resized(1)
    assert torch.equal(resized.reset(episodes[1:2]).mix_logmag[0], together[0].mix_logmag[1])


# ---- hearing between nodes --------------------------------------------------------------------------
def test_a_turn_by_360_degrees_changes_nothing_and_left_is_left(scene, home_world):
    ears = home_world[1].positions[5] + np.array([0.3, 1.5, 0.1])
    source = ears[None] - (0, 0, 0.8)  # towards -Z: ahead at rotation 0
    responses = {
        r: scene.acoustics.responses([Pose(ears, r)], source)[0][0] for r in (0.0, 360.0, -70.0, 70.0)
    }
    np.testing.assert_array_equal(responses[0.0], responses[360.0])
    direct = {r: (x[:, : 37 + 12] ** 2).sum(1) for r, x in responses.items()}
    assert direct[-70.0][0] > 2 * direct[-70.0][1]  # turned right, so the source is on the left
    assert direct[70.0][1] > 2 * direct[70.0][0]
    np.testing.assert_allclose(*direct[0.0], rtol=0.1)


def test_a_kept_context_repeats_the_direct_sound_and_draws_the_rest_anew(home_world):
    ears, rirs = home_world[1].positions[5] + (0, 1.5, 0), {}
    here, elsewhere = Pose(ears, 10.0), Pose(ears, 45.0)
    for context in ("fresh", "kept"):
        config = live_config(home_world[0], LIVE__CONTEXT=context)
        acoustic = load_live_scenes(config, [SCENE], False)[SCENE].acoustics
        source = ears[None] - (0, 0, 0.9)
        rirs[context] = [acoustic.responses([pose], source)[0][0] for pose in (here, elsewhere, here)]
    np.testing.assert_array_equal(rirs["fresh"][0], rirs["fresh"][2])
    np.testing.assert_array_equal(rirs["fresh"][0], rirs["kept"][0])
    first, _, last = rirs["kept"]
    direct, rest = slice(30, 50), slice(200, 2000)  # 0.9 m are 42 samples
    assert np.abs(first[:, direct] - last[:, direct]).max() < 0.01 * np.abs(first[:, direct]).max()
    assert np.abs(first[:, rest] - last[:, rest]).max() > 0.1 * np.abs(first[:, rest]).max()


# ---- environments, refusals -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def env_config(home_world):
    register_envs()
    return live_config(home_world[0], SIMULATOR__TYPE="cached")  # the id itself makes it live


def test_gymnasium_checker_and_contract(env_config):
    env = gymnasium.make(LIVE_SPEC_ID, config=env_config)
    assert env.observation_space["rgb"].shape == (16, 16, 3)
    check_env(env.unwrapped, skip_render_check=True)
    check_contract(lambda: gymnasium.make(LIVE_SPEC_ID, config=env_config), STEPS - 1)
    check_contract(lambda: gymnasium.make_vec(LIVE_SPEC_ID, num_envs=2, config=env_config), STEPS - 1)


def test_without_images_nothing_is_seen(config):
    simulator, episodes = make(config, 1, images=False)
    seen = simulator.reset(episodes[:1])
    assert seen.rgb is None and seen.depth is None and simulator.image_size is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"AUDIO__MODE": "paper"}, "AUDIO.MODE causal"),
        ({"LIVE__CROSSFADE_S": 0.3, "LIVE__STEPS_PER_SECOND": 4}, "LIVE.CROSSFADE_S is 0.3"),
    ],
)
def test_settings_that_cannot_work_are_refused(home_world, changes, words):
    with pytest.raises(UserError, match=words):
        changed(home_world[0], **changes)


def test_a_home_of_another_version_is_refused(scene, tmp_path):
    path = tmp_path / "home.json"
    path.write_text(json.dumps({**scene.record, "settings": {**scene.record["settings"], "format": 0}}))
    with pytest.raises(UserError, match="home.json is of a home of format 0"):
        _ = dataclasses.replace(scene, record_path=path).home
    path.write_text(json.dumps({**scene.record, "seed": 1}))
    with pytest.raises(UserError, match="home.json does not describe the nodes"):
        _ = dataclasses.replace(scene, record_path=path).home


@pytest.mark.parametrize(
    ("module", "changes", "words"),
    [
        ("habitat_sim", {"LIVE__COLLISIONS": "navmesh"}, "LIVE.COLLISIONS navmesh needs habitat-sim"),
        ("habitat_sim", {"LIVE__SIGHT": "habitat"}, "LIVE.SIGHT habitat needs habitat-sim"),
        ("rlr_audio_propagation", {}, r"pip install -r requirements-rlr\.txt"),
    ],
)
def test_what_is_not_installed_is_named_before_the_first_step(
    home_world, monkeypatch, module, changes, words
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=words):
        changed(home_world[0], **changes)


class Finder:
    """habitat-sim's PathFinder on a floor that ends at x = 1."""

    def load_nav_mesh(self, path):
        return "good" in path

    def try_step_no_sliding(self, start, end):
        return [min(end[0], 1.0), end[1], end[2] if end[0] <= 1 else start[2]]

    def try_step(self, start, end):
        return [min(end[0], 1.0), end[1], end[2]]


def test_a_navmesh_is_walked_on_as_habitat_does(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "habitat_sim", SimpleNamespace(PathFinder=Finder))
    for name in ("good.navmesh", "bad.navmesh"):
        (tmp_path / name).touch()
    start, rotation = np.array([0.9, 0.0, 0.0]), -45.0  # towards +x and -z
    slid, stopped = (
        move_agent(NavmeshSpace(tmp_path / "good.navmesh", slide), start, rotation, MOVE_FORWARD, 0.4, 30)
        for slide in (True, False)
    )
    reach = 0.4 * np.sqrt(0.5)
    np.testing.assert_allclose(slid.position, [1, 0, -reach], atol=1e-6)
    np.testing.assert_allclose(stopped.position, [1, 0, 0], atol=1e-6)
    assert slid.collided and stopped.collided
    free = NavmeshSpace(tmp_path / "good.navmesh", True).clear(start, np.array([[0.2, 0, 2], [1.5, 0, 0]]))
    assert free.tolist() == [True, False]
    for name, words in (("bad.navmesh", "is no navigation mesh"), ("none.navmesh", "is missing")):
        with pytest.raises(UserError, match=words):
            NavmeshSpace(tmp_path / name, True)


def test_situations_keep_their_number_and_old_ones_are_forgotten(scene, monkeypatch):
    from audio_separation.envs.live import rirs as module

    monkeypatch.setattr(module, "MOST_NUMBERED", 2)
    rirs = LiveRirs({SCENE: scene})
    a, b, c = (Situation(SCENE, (x, 0.0, 0.0), 0.0, ((1.0, 0.0, 0.0),)) for x in (0.0, 0.1, 0.2))
    first, second = rirs.number(a), rirs.number(b)
    assert (rirs.number(a), rirs.number(b)) == (first, second) and first != second
    rirs.number(c)
    assert rirs.number(a) not in (first, second)


def test_an_episode_of_one_source_plays(config, home_world):
    simulator, _ = make(config, 1)
    p = home_world[1].positions
    alone = simulator.reset([episode(0, SCENE, p[1], 33.0, p[2])])
    assert alone.mix_logmag.shape[0] == 1 and float(alone.mix_logmag.max()) > 0
