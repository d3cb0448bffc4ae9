"""Live rendering of any mesh with a material file: a box of 6 x 3 x 4 m that nothing else is known of."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
import torch
from live_worlds import BOX, MATERIAL_KEYS, live_config, material

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.live.build import load_live_scenes
from audio_separation.envs.simulator import MOVE_FORWARD, TURN_LEFT
from audio_separation.errors import UserError
from audio_separation.scenes.acoustic_materials import read_materials, reflections_needed
from audio_separation.scenes.acoustics import EngineSettings, Pose, SceneAcoustics
from audio_separation.scenes.generate.acoustics import reverberation_time

needs_engine = pytest.mark.skipif(
    find_spec("rlr_audio_propagation") is None,
    reason="rlr-audio-propagation, the acoustic engine, is not installed",
)
MIDDLE = np.array([3.0, 1.5, 2.0])


@pytest.fixture(scope="module")
def database(box_world):
    return box_world.data_root.parent / "materials.json"


@pytest.fixture(scope="module")
def scene(box_world, database):
    config = live_config(box_world, LIVE__MATERIALS=database, LIVE__RAYS=300, LIVE__RAY_DEPTH=60)
    return load_live_scenes(config, ["box"], images=True)["box"]


@needs_engine
def test_an_episode_plays_in_a_mesh(box_world, database):
    config = live_config(box_world, LIVE__MATERIALS=database)
    episodes = load_task_episodes(config)
    simulator = build_simulator(config, episodes, 1, torch.device("cpu"), target_bin=True)
    first = simulator.reset(episodes)
    for action in (MOVE_FORWARD, MOVE_FORWARD, TURN_LEFT):
        seen = simulator.step(np.array([action]))
        assert np.isfinite(seen.mix_logmag.numpy()).all() and float(seen.mix_logmag.max()) > 0
    # two steps of 0.25 m towards -Z from (1, 1); the floor is at 0
    np.testing.assert_allclose(simulator.position, [[1, 0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(seen.pose[0, :3], [0.5, 0, np.deg2rad(30)], atol=1e-6)
    target = np.array([3.0, 0, 2.0])
    assert simulator.target_distance()[0] == pytest.approx(np.linalg.norm(target - [1, 0, 0.5]))
    # at the start the camera looks at the wall at z = 0, 1 m ahead
    assert first.depth[0, 8, 8, 0] == pytest.approx(0.1, abs=1e-3)
    assert first.rgb.shape == (1, 16, 16, 3) and float(first.rgb.float().std()) > 0


@needs_engine
def test_delays_follow_the_distance_at_any_position(scene):
    """1 / 343 s a metre, to the sample: the engine puts the direct sound on one."""
    gaps = np.arange(0.5, 2.5, 0.17)
    sources = MIDDLE - gaps[:, None] * [[0.8, 0, 0.6]]
    heard = scene.acoustics.responses([Pose(MIDDLE, np.rad2deg(np.arctan2(0.8, 0.6)))], sources)[0]
    peaks = [int(np.argmax(np.abs(x[0, : round(g / 343 * 16000) + 8]))) for x, g in zip(heard, gaps)]
    assert np.abs(np.diff(peaks) - np.diff(gaps) / 343 * 16000).max() <= 1.01
    slope = np.polyfit(gaps, peaks, 1)[0]
    assert slope == pytest.approx(16000 / 343, rel=0.02)
    # and the level falls as 1 / r
    level = [np.abs(x[0, p - 2 : p + 3]).max() for x, p in zip(heard, peaks)]
    assert np.polyfit(np.log(gaps), np.log(level), 1)[0] == pytest.approx(-1, abs=0.15)


@needs_engine
def test_materials_decide_the_reverberation(scene, box_world, tmp_path):
    live, dry = reverberation(scene.acoustics), tmp_path / "dry.json"
    entries = [material("soft", ["wall", "floor", "ceiling"], 0.5)]
    dry.write_text(json.dumps({"materials": entries}))
    config = live_config(box_world, LIVE__MATERIALS=dry, LIVE__RAYS=300, LIVE__RAY_DEPTH=60)
    softer = reverberation(load_live_scenes(config, ["box"], False)["box"].acoustics)
    # Eyring: 0.161 V / (-A ln(1 - a))
    x, y, z = BOX
    level, upright = x * z, 2 * (x + z) * y
    area = 2 * level + upright
    mean = (0.1 * (level + upright) + 0.5 * level) / area
    assert live == pytest.approx(-0.161 * x * y * z / (area * np.log(1 - mean)), rel=0.3)
    assert softer == pytest.approx(-0.161 * x * y * z / (area * np.log(0.5)), rel=0.35)


def reverberation(acoustics: SceneAcoustics) -> float:
    sources = np.array([[1.0, 1.2, 1.0], [5.0, 1.0, 3.0], [1.5, 2.0, 3.2]])
    return float(
        np.nanmedian([reverberation_time(x) for x in acoustics.responses([Pose(MIDDLE, 0)], sources)[0]])
    )


@needs_engine
def test_categories_without_a_material_are_told(box_world, tmp_path, capsys):
    path = tmp_path / "walls.json"
    path.write_text(json.dumps({"materials": [material("hard", ["wall"], 0.1)]}))
    scene = load_live_scenes(live_config(box_world, LIVE__MATERIALS=path), ["box"], False)["box"]
    assert scene.acoustics.settings.rays == 20
    told = capsys.readouterr().err
    assert "box" in told and "floor (22 %)" in told and "ceiling (22 %)" in told and "wall (" not in told


def test_scenes_other_than_homes_need_materials_and_a_mesh(box_world, tmp_path):
    with pytest.raises(UserError, match="LIVE.MATERIALS is empty, but scene box is no generated home"):
        _ = load_live_scenes(live_config(box_world), ["box"], False)["box"].acoustics
    with pytest.raises(UserError, match="metadata of scene shed not found"):
        load_live_scenes(live_config(box_world), ["shed"], False)


# ---- the database -----------------------------------------------------------------------------------
class Triangles(NamedTuple):
    vertices: np.ndarray
    faces: np.ndarray
    categories: tuple[str, ...]
    category: np.ndarray


def read(tmp_path, tree) -> object:
    path = tmp_path / "m.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return read_materials(path)


def test_the_material_with_most_labels_in_the_name_is_taken(tmp_path):
    found = read(
        tmp_path,
        {
            "materials": [
                material("a", ["wall"], 0.1),
                material("b", ["wall", "brick"], 0.2),
                material("c", [], 0.3),
            ]
        },
    )
    names = {name: found.material_of(name) for name in ("wall_0", "Brick Wall", "brick", "floor")}
    assert {k: v and v.name for k, v in names.items()} == {
        "wall_0": "a", "Brick Wall": "b", "brick": "b", "floor": None,
    }  # fmt: skip
    assert found.materials[0].absorbed([60, 125, 500, 8000]).tolist() == pytest.approx([0.1] * 4)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ("nothing", "is not JSON"),
        ({"materials": []}, "at least one material"),
        ({"materials": [{"labels": []}]}, "number 0 lacks its 'name'"),
        ({"materials": [material("a", ["Wall"], 0.1)]}, "'a' has the label 'Wall'"),
        ({"materials": [material("a", ["wall"], 1.1)]}, "'absorption' should lie between 0 and 1"),
        ({"materials": [{**material("a", [], 0.1), "damping": [20.0]}]}, r"'damping' should be a list \[Hz"),
        (
            {"materials": [{**material("a", [], 0.1), "scattering": [9.0, 0, 8.0, 0]}]},
            "ascending frequencies",
        ),
        ({"materials": [{**material("a", [], 0.1), "speed": "fast"}]}, "'speed' as a number, found 'fast'"),
    ],
)
def test_faulty_databases_are_refused(tmp_path, tree, words):
    with pytest.raises(UserError, match=words):
        read(tmp_path, tree)


def test_a_missing_database_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere.json cannot be read"):
        read_materials(tmp_path / "nowhere.json")


def test_rays_are_followed_for_60_db(tmp_path):
    triangle = Triangles(np.eye(3), np.array([[0, 1, 2], [0, 2, 1]]), ("wall", "thing"), np.array([0, 1]))
    assert set(MATERIAL_KEYS) < set(material("a", [], 0.1))
    for absorption, other, expected in ((0.2, 0.2, 62), (0.2, 0.1, 86), (0.001, 0.001, 200), (0.9, 0.9, 30)):
        database = read(
            tmp_path, {"materials": [material("a", ["wall"], absorption), material("b", ["thing"], other)]}
        )
        assert reflections_needed(triangle, database) == expected
    # what matches nothing counts as the engine's default, 0.1
    assert reflections_needed(triangle, read(tmp_path, {"materials": [material("a", ["wall"], 0.2)]})) == 86


@needs_engine
def test_the_same_pose_gives_the_same_with_the_pose_of_others_around(scene):
    sources = np.array([[1.0, 1.2, 1.0]])
    engine = SceneAcoustics(scene.surfaces, scene.materials, EngineSettings(50, 40))
    alone = engine.responses([Pose(MIDDLE, 12.5)], sources)[0][0]
    engine.responses([Pose(MIDDLE + 0.3, 77.0)], sources)
    np.testing.assert_array_equal(engine.responses([Pose(MIDDLE, 12.5)], sources)[0][0], alone)
