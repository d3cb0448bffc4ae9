"""scripts/cache_observations.py: what is cached, resuming, converting, comparing, faults."""

from __future__ import annotations

import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from cache_worlds import NODES, PIXELS, SCRIPT, add_scene, arguments, files, folder, run

from audio_separation.envs import observation_cache
from audio_separation.envs.build import load_scenes
from audio_separation.envs.observation_cache import depth_agreement
from audio_separation.scenes.graph import load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.meshes import load_scene_mesh
from audio_separation.scenes.observations import load_observations, load_pickled, mapped_path
from audio_separation.scenes.raycast import RayCaster

pytestmark = pytest.mark.usefixtures("without_habitat_sim")


# ---- what is cached --------------------------------------------------------------------------------------
def test_published_pickle_of_a_mesh(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(rooms, "--renderer", "raycast", "--camera-height", "1.1", "--fov", "80") == 0
    assert "2 scenes cached" in capsys.readouterr().out
    assert sorted(files(rooms)) == ["a.pkl", "b.pkl"]
    caster = RayCaster(load_scene_mesh(rooms.mesh("a")))
    views = pickle.loads(rooms.observations("a").read_bytes())
    assert set(views) == {(node, rotation) for node in range(4) for rotation in (0, 90, 180, 270)}
    for (node, rotation), view in views.items():
        expected = caster.view(NODES[node] + [0, 1.1, 0], rotation, PIXELS, 80)
        assert set(view) == {"rgb", "depth"}
        for name, dtype, shape in (("rgb", np.uint8, (24, 24, 3)), ("depth", np.float32, (24, 24, 1))):
            assert view[name].dtype == dtype and view[name].shape == shape
            np.testing.assert_array_equal(view[name], expected[name])
    # node 0 looks at the wall at x = 0 from 1 m
    assert 10 * views[(0, 90)]["depth"][12, 12, 0] == pytest.approx(1.0, abs=1e-5)


def test_both_forms_are_the_same_and_say_how_they_were_made(rooms: DatasetPaths) -> None:
    assert run(rooms, "--renderer", "raycast", "--format", "both") == 0
    assert sorted(files(rooms)) == ["a.pkl", "a.safetensors", "b.pkl", "b.safetensors"]
    graph = load_graph(rooms.metadata("a"))
    for one, other in zip(
        load_pickled(rooms.observations("a"), graph), load_observations(rooms.observations("a"), graph)
    ):
        np.testing.assert_array_equal(one, other)
    metadata = open_mapped(mapped_path(rooms.observations("a"))).metadata
    assert metadata.items() >= {"renderer": "raycast", "fov_deg": "90.0", "camera_height_m": "1.25"}.items()


def test_processes_give_the_same_bytes(rooms: DatasetPaths) -> None:
    assert run(rooms, "--format", "both", "--scenes", "a") == 0
    alone = files(rooms)
    assert run(rooms, "--format", "both", "--scenes", "a", "--overwrite", "--jobs", "2") == 0
    assert files(rooms) == alone


def test_replica_lies_where_it_is_published(tmp_path: Path) -> None:
    paths = DatasetPaths(tmp_path / "data", tmp_path / "sound_spaces", "replica")
    add_scene(paths, "office_4")
    assert paths.mesh("office_4").name == "mesh_semantic.ply"
    assert run(paths, "--out", str(tmp_path / "elsewhere")) == 0
    assert (tmp_path / "elsewhere" / "office_4.pkl").is_file() and not folder(paths).exists()


def test_nothing_is_overwritten_unasked(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(rooms, "--format", "mapped") == 0
    before = files(rooms)
    assert run(rooms, "--format", "mapped") == 0
    assert "0 scenes cached" in (said := capsys.readouterr().out) and "2 were there already" in said
    assert files(rooms) == before
    # the last one given holds
    assert run(rooms, "--format", "mapped", "--resolution", "16") == 1
    assert "has resolution 24, not 16; --overwrite makes it anew" in capsys.readouterr().err
    assert run(rooms, "--format", "both") == 1
    assert "is there in the form mapped only; --convert" in capsys.readouterr().err
    assert run(rooms, "--format", "pickle", "--overwrite") == 1
    assert "give --format both" in capsys.readouterr().err
    assert files(rooms) == before
    assert run(rooms, "--format", "mapped", "--resolution", "16", "--overwrite") == 0
    assert open_mapped(mapped_path(rooms.observations("a"))).rgb.shape == (4, 4, 16, 16, 3)


# ---- resuming --------------------------------------------------------------------------------------------
def run_until(
    stop: int, patch: pytest.MonkeyPatch, paths: DatasetPaths, *further: str
) -> tuple[int, list[Path]]:
    """The exit status of a run with Ctrl-C when the parts of ``stop`` nodes are written, and these parts."""
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == stop:
            raise KeyboardInterrupt
        write_atomic(path, data)
        written.append(path)

    with patch.context() as inner:
        inner.setattr(observation_cache, "write_atomic", write)
        return run(paths, *further), written


def test_a_stopped_run_goes_on(
    rooms: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(rooms, "--format", "both") == 0
    uninterrupted = files(rooms)
    for path in folder(rooms).iterdir():
        path.unlink()
    status, first = run_until(6, monkeypatch, rooms, "--format", "both")  # within scene b
    assert status == 130 and "run the same command again to go on" in capsys.readouterr().err
    assert sorted(p.name for p in folder(rooms).iterdir()) == [".b.caching", "a.pkl", "a.safetensors"]
    status, second = run_until(100, monkeypatch, rooms, "--format", "both")
    assert status == 0 and len(first) == 6 and len(second) == 2 and not set(first) & set(second)
    assert files(rooms) == uninterrupted


def test_a_run_that_was_stopped_between_the_forms_goes_on(
    rooms: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(observation_cache, "write_observations", Mock(side_effect=KeyboardInterrupt))
        assert run(rooms, "--format", "both", "--scenes", "a") == 130
    mapped = mapped_path(rooms.observations("a"))
    begun = mapped.stat().st_mtime_ns
    assert not rooms.observations("a").exists()
    assert run(rooms, "--format", "both", "--scenes", "a") == 0
    assert mapped.stat().st_mtime_ns == begun  # not written a second time
    assert sorted(files(rooms)) == ["a.pkl", "a.safetensors"]


@pytest.mark.parametrize("options, moved", [(("--fov", "70"), False), ((), True)])
def test_parts_of_other_settings_or_nodes_are_not_mixed_in(
    rooms: DatasetPaths, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], moved: bool
) -> None:
    assert run_until(2, monkeypatch, rooms, *options)[0] == 130
    if moved:
        write_metadata(rooms.metadata("a"), NODES * 0.9, [(0, 1), (1, 2), (2, 3)])
    status, written = run_until(100, monkeypatch, rooms)
    assert status == 0 and len(written) == 8  # every node of both scenes
    mixed = files(rooms)
    assert run(rooms, "--overwrite") == 0
    assert files(rooms) == mixed


def test_damaged_part(
    rooms: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    status, parts = run_until(2, monkeypatch, rooms)
    assert status == 130
    parts[0].write_bytes(parts[0].read_bytes()[:-7])
    assert run(rooms) == 1
    assert "was not readable" in capsys.readouterr().err
    assert run(rooms) == 0
    assert sorted(files(rooms)) == ["a.pkl", "b.pkl"]


def test_killed_run_goes_on(rooms: DatasetPaths) -> None:
    nodes = np.stack([np.linspace(0.2, 3.3, 250), np.zeros(250), np.full(250, 0.5)], axis=1)
    add_scene(rooms, "a", nodes)
    command = [sys.executable, str(SCRIPT), *arguments(rooms, "--scenes", "a", "--renderer", "raycast")]
    parts = folder(rooms) / ".a.caching"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.safetensors"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    there = len(list(parts.glob("*.safetensors")))
    assert 20 <= there < 250 and not rooms.observations("a").exists()
    assert run(rooms, "--scenes", "a", "--renderer", "raycast") == 0
    killed = files(rooms)
    assert sorted(killed) == ["a.pkl"]
    assert run(rooms, "--scenes", "a", "--renderer", "raycast", "--overwrite") == 0
    assert files(rooms) == killed


# ---- faults ----------------------------------------------------------------------------------------------
def test_faulty_scenes_do_not_stop_the_others(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    for scene in ("c", "d"):
        add_scene(rooms, scene)
    rooms.mesh("a").unlink()
    rooms.mesh("c").write_bytes(b"noise")
    assert run(rooms, "--renderer", "raycast") == 1
    errors = capsys.readouterr().err
    assert f"cache_observations: a: mesh of scene a not found at {rooms.mesh('a')}; {rooms.cure}" in errors
    assert f"cache_observations: c: {rooms.mesh('c')} is not a readable mesh" in errors
    assert "Traceback" not in errors
    assert {"b.pkl", "d.pkl"} <= set(files(rooms)) and not {"a.pkl", "c.pkl"} & set(files(rooms))


@pytest.mark.parametrize(
    "further, message",
    [
        (["--resolution", "0"], "--resolution 0: expected 1 to 4096 pixels"),
        (["--fov", "180"], "--fov 180.0: expected 1 to 170 degrees"),
        (["--camera-height", "-1"], "--camera-height -1.0: expected 0 to 10 m"),
        (["--jobs", "0"], "--jobs 0: expected a number of processes"),
        (["--scenes", "a", "nowhere"], ".* holds no graph.pkl of nowhere"),
        (["--dataset", "other"], "metadata of dataset other not found at"),
    ],
)
def test_bad_input(
    rooms: DatasetPaths, further: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(rooms, *further) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"cache_observations: {message}", line)
    assert not folder(rooms).exists()


# ---- converting and comparing ----------------------------------------------------------------------------
def test_convert_there_and_back(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(rooms) == 0
    pickles = files(rooms)
    assert run(rooms, "--convert", "mapped") == 0
    assert "2 caches converted to the form mapped" in capsys.readouterr().out
    for scene in "ab":
        rooms.observations(scene).unlink()
    assert run(rooms, "--convert", "pickle") == 0
    assert {name: data for name, data in files(rooms).items() if name.endswith(".pkl")} == pickles
    assert sorted(files(rooms)) == ["a.pkl", "a.safetensors", "b.pkl", "b.safetensors"]


def test_the_mapped_form_alone_serves_the_simulator(rooms: DatasetPaths) -> None:
    assert run(rooms) == 0
    before = load_scenes(rooms, ["a"], images=True)["a"].images
    assert run(rooms, "--convert", "mapped") == 0
    rooms.observations("a").unlink()
    for one, other in zip(load_scenes(rooms, ["a"], images=True)["a"].images, before):
        np.testing.assert_array_equal(one, other)


def test_convert_faults(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(rooms, "--scenes", "a") == 0
    assert run(rooms, "--convert", "mapped") == 1
    assert f"b: {rooms.observations('b')} is not there to be converted" in capsys.readouterr().err
    before = files(rooms)
    assert run(rooms, "--convert", "mapped", "--scenes", "a") == 1
    assert "is there already; give --overwrite" in capsys.readouterr().err
    assert run(rooms, "--convert", "mapped", "--scenes", "a", "--overwrite") == 0
    assert files(rooms) == before
    rooms.observations("a").write_bytes(b"broken")
    assert run(rooms, "--convert", "mapped", "--scenes", "a", "--overwrite") == 1
    assert "is not a readable pickle" in capsys.readouterr().err
    assert files(rooms) == {**before, "a.pkl": b"broken"}


def test_depth_agreement() -> None:
    one = np.full((2, 4, 3, 3, 1), 0.2, np.float32)
    other = one.copy()
    other[0, 0, 0, 0] += 0.0049  # 4.9 cm
    other[0, 1, 0, :2] += 0.0051
    assert depth_agreement(one, other) == pytest.approx(1 - 2 / 72)
    assert depth_agreement(one, other, 0.01) == pytest.approx(1 - 3 / 72)
    with pytest.raises(ValueError, match="equal shape"):
        depth_agreement(one, other[:1])


def test_compare(rooms: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(rooms) == 0
    before = files(rooms)
    capsys.readouterr()
    assert run(rooms, "--compare", "raycast") == 0
    assert "a: 100.00 % of the depths of 4 nodes within 5 cm" in capsys.readouterr().out
    assert run(rooms, "--compare", "raycast", "--camera-height", "1.5", "--resolution", "99") == 1
    assert "with the camera at 1.5 m" in capsys.readouterr().err
    assert files(rooms) == before
