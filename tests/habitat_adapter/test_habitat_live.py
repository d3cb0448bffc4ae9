"""Continuous poses (``SIMULATOR.TYPE live``) through habitat-lab."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from habitat_setup import STEPS, WHERE, Twin, assert_same_observation, habitat_config

pytest.importorskip("habitat", reason=WHERE)
pytest.importorskip(
    "rlr_audio_propagation", reason="the acoustic engine (requirements-rlr.txt) is not installed"
)

import habitat

sys.path.insert(0, str(Path(__file__).parents[1] / "envs"))
from live_worlds import RAYS, make_box_world, make_home_world

LIVE = [
    *("SIMULATOR.TYPE", "live", "LIVE.RAYS", str(RAYS), "LIVE.RAY_DEPTH", "30", "LIVE.RESOLUTION", "16"),
    *("LIVE.STEPS_PER_SECOND", "2", "LIVE.STEP_M", "0.2", "LIVE.TURN_DEG", "20"),
]


def test_live_steps_equal_those_of_our_own_environment(tiny, tmp_path):
    paths, _ = make_home_world(tmp_path, tiny)
    config = habitat_config(paths, words=LIVE)
    twin, rng = Twin(config), np.random.default_rng(3)
    batch = twin.env._batch.simulator
    with habitat.Env(config) as env:
        for _ in range(env.number_of_episodes):
            assert_same_observation(env.reset(), twin.reset(env.current_episode))
            for action in (0, *rng.integers(3, size=STEPS - 1).tolist()):
                ours, reward, done, distance = twin.step(action)
                assert_same_observation(env.step(action), ours)
                metrics, state = env.get_metrics(), env.sim.get_agent_state()
                assert (metrics["separation_reward"], env.episode_over) == (reward, done)
                assert metrics["distance_to_target"] == distance
                assert env.sim.previous_step_collided == batch.collided[0]
                np.testing.assert_array_equal(state.position, batch.position[0].astype(np.float32))
                heading = np.rad2deg(2 * np.arctan2(state.rotation.y, state.rotation.w))
                assert (heading - batch.rotation[0] + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
            where = batch._source_positions[0][0, batch.step_count[0]]
            assert env.sim.geodesic_distance(batch.position[0], where) == pytest.approx(distance)


@pytest.mark.habitat
def test_habitat_sim_and_the_ray_caster_show_the_same(tiny, tmp_path):
    paths = make_box_world(tmp_path, tiny)
    words = [*LIVE, "LIVE.MATERIALS", str(tmp_path / "materials.json"), "LIVE.RESOLUTION", "64"]
    depths = {}
    for sight in ("raycast", "habitat"):
        with habitat.Env(habitat_config(paths, words=[*words, "LIVE.SIGHT", sight])) as env:
            seen = [env.reset(), *(env.step(action) for action in (0, 1, 2, 0))]
            depths[sight] = np.stack([observation["depth"] for observation in seen])
    apart_m = 10 * np.abs(depths["habitat"] - depths["raycast"])
    assert (apart_m < 0.05).mean() > 0.95
