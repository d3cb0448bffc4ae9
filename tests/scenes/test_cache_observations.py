"""scripts/cache_observations.py: what is cached, resuming, converting, comparing, faults; habitat-sim's poses."""

from __future__ import annotations

import importlib.util
import json
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import trimesh

from audio_separation.envs import observation_cache
from audio_separation.envs.build import load_scenes
from audio_separation.envs.habitat import sim_views
from audio_separation.envs.observation_cache import choose_renderer, depth_agreement
from audio_separation.errors import UserError
from audio_separation.scenes.generate import plan
from audio_separation.scenes.generate.home import make_home
from audio_separation.scenes.generate.mesh import build_mesh, write_glb
from audio_separation.scenes.generate.scene import ROTATIONS, Scene, SceneWriter, Settings, home_record
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.graph import ROTATIONS_DEG, load_graph, write_metadata
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.meshes import load_scene_mesh
from audio_separation.scenes.observations import load_observations, load_pickled, mapped_path
from audio_separation.scenes.raycast import RayCaster

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "cache_observations.py"
NODES = np.array([[1.0, 0, 1], [2, 0, 1], [3, 0, 1], [3, 0, 2]])
EYES = np.array([0, 1.25, 0])
PIXELS = 24


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cache_observations", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def add_scene(paths: DatasetPaths, scene: str, nodes: np.ndarray = NODES, width: float = 4.0) -> None:
    """A room of 4 m x 2.5 m x 3 m with a tilted table, its mesh z up as Matterport3D's are."""
    write_metadata(paths.metadata(scene), nodes, [(k, k + 1) for k in range(len(nodes) - 1)])
    room = trimesh.creation.box(bounds=[[0, -3, 0], [width, 0, 2.5]])
    table = trimesh.creation.box(bounds=[[2.2, -2.6, 0.6], [2.9, -1.8, 0.8]])
    table.apply_transform(trimesh.transformations.rotation_matrix(0.2, [1, 1, 0], table.centroid))
    paths.mesh(scene).parent.mkdir(parents=True, exist_ok=True)
    trimesh.Scene([room, table]).export(paths.mesh(scene))


@pytest.fixture(autouse=True)
def without_habitat_sim(monkeypatch: pytest.MonkeyPatch) -> None:
    """auto is the ray caster, also where habitat-sim is installed."""
    monkeypatch.setattr(observation_cache, "installed", lambda: False)


@pytest.fixture
def paths(tmp_path: Path) -> DatasetPaths:
    """Two scenes, a and b."""
    found = DatasetPaths(tmp_path / "data", tmp_path / "sound_spaces", "own")
    add_scene(found, "a")
    add_scene(found, "b", width=3.5)
    return found


def arguments(paths: DatasetPaths, *further: str) -> list[str]:
    folders = ["--data", str(paths.data_root), "--sound-spaces", str(paths.sound_spaces_root)]
    return ["--dataset", paths.dataset, *folders, "--resolution", str(PIXELS), "--jobs", "1", *further]


def run(paths: DatasetPaths, *further: str) -> int:
    observation_cache.opened.cache_clear()
    return script.main(arguments(paths, *further))


def folder(paths: DatasetPaths) -> Path:
    return paths.observations("a").parent


def files(paths: DatasetPaths) -> dict[str, bytes]:
    return {
        p.relative_to(folder(paths)).as_posix(): p.read_bytes()
        for p in folder(paths).rglob("*")
        if p.is_file()
    }


# ---- what is cached --------------------------------------------------------------------------------------
def test_published_pickle_of_a_mesh(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(paths, "--renderer", "raycast", "--camera-height", "1.1", "--fov", "80") == 0
    assert "2 scenes cached" in capsys.readouterr().out
    assert sorted(files(paths)) == ["a.pkl", "b.pkl"]
    caster = RayCaster(load_scene_mesh(paths.mesh("a")))
    views = pickle.loads(paths.observations("a").read_bytes())
    assert set(views) == {(node, rotation) for node in range(4) for rotation in (0, 90, 180, 270)}
    for (node, rotation), view in views.items():
        expected = caster.view(NODES[node] + [0, 1.1, 0], rotation, PIXELS, 80)
        assert set(view) == {"rgb", "depth"}
        for name, dtype, shape in (("rgb", np.uint8, (24, 24, 3)), ("depth", np.float32, (24, 24, 1))):
            assert view[name].dtype == dtype and view[name].shape == shape
            np.testing.assert_array_equal(view[name], expected[name])
    # node 0 looks at the wall at x = 0 from 1 m
    assert 10 * views[(0, 90)]["depth"][12, 12, 0] == pytest.approx(1.0, abs=1e-5)


def test_both_forms_are_the_same_and_say_how_they_were_made(paths: DatasetPaths) -> None:
    assert run(paths, "--renderer", "raycast", "--format", "both") == 0
    assert sorted(files(paths)) == ["a.pkl", "a.safetensors", "b.pkl", "b.safetensors"]
    graph = load_graph(paths.metadata("a"))
    for one, other in zip(
        load_pickled(paths.observations("a"), graph), load_observations(paths.observations("a"), graph)
    ):
        np.testing.assert_array_equal(one, other)
    metadata = open_mapped(mapped_path(paths.observations("a"))).metadata
    assert metadata.items() >= {"renderer": "raycast", "fov_deg": "90.0", "camera_height_m": "1.25"}.items()


def test_processes_give_the_same_bytes(paths: DatasetPaths) -> None:
    assert run(paths, "--format", "both", "--scenes", "a") == 0
    alone = files(paths)
    assert run(paths, "--format", "both", "--scenes", "a", "--overwrite", "--jobs", "2") == 0
    assert files(paths) == alone


def test_replica_lies_where_it_is_published(tmp_path: Path) -> None:
    paths = DatasetPaths(tmp_path / "data", tmp_path / "sound_spaces", "replica")
    add_scene(paths, "office_4")
    assert paths.mesh("office_4").name == "mesh_semantic.ply"
    assert run(paths, "--out", str(tmp_path / "elsewhere")) == 0
    assert (tmp_path / "elsewhere" / "office_4.pkl").is_file() and not folder(paths).exists()


def test_nothing_is_overwritten_unasked(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(paths, "--format", "mapped") == 0
    before = files(paths)
    assert run(paths, "--format", "mapped") == 0
    assert "0 scenes cached" in (said := capsys.readouterr().out) and "2 were there already" in said
    assert files(paths) == before
    # the last one given holds
    assert run(paths, "--format", "mapped", "--resolution", "16") == 1
    assert "has resolution 24, not 16; --overwrite makes it anew" in capsys.readouterr().err
    assert run(paths, "--format", "both") == 1
    assert "is there in the form mapped only; --convert" in capsys.readouterr().err
    assert run(paths, "--format", "pickle", "--overwrite") == 1
    assert "give --format both" in capsys.readouterr().err
    assert files(paths) == before
    assert run(paths, "--format", "mapped", "--resolution", "16", "--overwrite") == 0
    assert open_mapped(mapped_path(paths.observations("a"))).rgb.shape == (4, 4, 16, 16, 3)


# ---- generated homes -------------------------------------------------------------------------------------
HOME = Scene("home_000", "train", 0)


@pytest.fixture(scope="module")
def home_paths(tmp_path_factory: pytest.TempPathFactory) -> DatasetPaths:
    """A small home as generate_homes writes it, but for its sound."""
    root = tmp_path_factory.mktemp("homes")
    paths = DatasetPaths(root / "data", root / "sound_spaces", "homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            plan.PRESETS,
            "tiny",
            replace(plan.PRESETS["mini"], lattices=((4, 3),), rooms=(2, 2), nodes=(4, 9)),
        )
        settings = Settings("tiny", seed=3, engine="none", engine_version="0", rays=1)
        writer = SceneWriter(paths, HOME, settings)
        shop = writer.shop
        writer.write_views([[shop.renderer.view(p, r) for p in shop.home.positions for r in ROTATIONS]])
        paths.mesh("home_000").parent.mkdir(parents=True)
        write_glb(shop.mesh, paths.mesh("home_000"))
        record = {"settings": asdict(settings), "seed": HOME.seed(settings)}
        write_atomic(home_record(paths, "home_000"), json.dumps(record).encode())
        yield paths


def test_homes_are_drawn_as_generate_homes_draws_them(home_paths: DatasetPaths, tmp_path: Path) -> None:
    before = home_paths.observations("home_000").read_bytes()
    assert run(home_paths, "--resolution", "128", "--out", str(tmp_path)) == 0
    assert (tmp_path / "home_000.pkl").read_bytes() == before


def test_the_mesh_that_habitat_would_load_agrees_with_the_home(home_paths: DatasetPaths) -> None:
    """Poses, frame and up axis of the .glb with its stage_config.json: depth as of the procedural home."""
    graph = load_graph(home_paths.metadata("home_000"))
    cached = load_observations(home_paths.observations("home_000"), graph)
    caster = RayCaster(load_scene_mesh(home_paths.mesh("home_000")))
    views = [[caster.view(p + EYES, r)["depth"] for r in ROTATIONS_DEG] for p in graph.positions]
    assert depth_agreement(np.array(views), cached.depth) >= 0.95  # the bound for habitat-sim
    assert depth_agreement(np.array(views), cached.depth, 0.001) >= 0.9999  # ours


@pytest.mark.parametrize(
    "change, message",
    [
        ({"settings": {}}, "is no record of a generated home"),
        ({"settings": {"format": 99, "preset": "mini", "grid_m": 1.0}}, "is of a home of format 99"),
        ({"seed": 77}, "does not describe the nodes of home_000"),
    ],
)
def test_records_that_do_not_fit(
    home_paths: DatasetPaths, tmp_path: Path, change: dict, message: str, capsys: pytest.CaptureFixture
) -> None:
    path = home_record(home_paths, "home_000")
    before = path.read_bytes()
    try:
        path.write_text(json.dumps({**json.loads(before), **change}))
        assert run(home_paths, "--out", str(tmp_path)) == 1
        assert message in capsys.readouterr().err
    finally:
        path.write_bytes(before)


# ---- resuming --------------------------------------------------------------------------------------------
def interrupt_after(patch: pytest.MonkeyPatch, nodes: int) -> list[Path]:
    """Ctrl-C when that many nodes are written; returns the list of parts that are written."""
    written: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        if len(written) == nodes:
            raise KeyboardInterrupt
        write_atomic(path, data)
        written.append(path)

    patch.setattr(observation_cache, "write_atomic", write)
    return written


def test_a_stopped_run_goes_on(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(paths, "--format", "both") == 0
    uninterrupted = files(paths)
    for path in folder(paths).iterdir():
        path.unlink()
    with monkeypatch.context() as patch:
        first = interrupt_after(patch, 6)  # within scene b
        assert run(paths, "--format", "both") == 130
    assert "run the same command again to go on" in capsys.readouterr().err
    assert sorted(p.name for p in folder(paths).iterdir()) == [".b.caching", "a.pkl", "a.safetensors"]
    with monkeypatch.context() as patch:
        second = interrupt_after(patch, 100)
        assert run(paths, "--format", "both") == 0
    assert len(first) == 6 and len(second) == 2 and not set(first) & set(second)
    assert files(paths) == uninterrupted


def test_a_run_that_was_stopped_between_the_forms_goes_on(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(observation_cache, "write_observations", Mock(side_effect=KeyboardInterrupt))
        assert run(paths, "--format", "both", "--scenes", "a") == 130
    mapped = mapped_path(paths.observations("a"))
    begun = mapped.stat().st_mtime_ns
    assert not paths.observations("a").exists()
    assert run(paths, "--format", "both", "--scenes", "a") == 0
    assert mapped.stat().st_mtime_ns == begun  # not written a second time
    assert sorted(files(paths)) == ["a.pkl", "a.safetensors"]


def test_parts_of_other_settings_are_not_mixed_in(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(paths, "--fov", "70") == 130
    with monkeypatch.context() as patch:
        assert len(interrupt_after(patch, 100)) == 0
        assert run(paths) == 0
    mixed = files(paths)
    assert run(paths, "--overwrite") == 0
    assert files(paths) == mixed


def test_parts_of_nodes_that_moved_are_not_mixed_in(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert run(paths) == 130
    write_metadata(paths.metadata("a"), NODES * 0.9, [(0, 1), (1, 2), (2, 3)])
    assert run(paths) == 0
    mixed = files(paths)
    assert run(paths, "--overwrite") == 0
    assert files(paths) == mixed


def test_damaged_part(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        parts = interrupt_after(patch, 2)
        assert run(paths) == 130
    parts[0].write_bytes(parts[0].read_bytes()[:-7])
    assert run(paths) == 1
    assert "was not readable" in capsys.readouterr().err
    assert run(paths) == 0
    assert sorted(files(paths)) == ["a.pkl", "b.pkl"]


def test_killed_run_goes_on(paths: DatasetPaths) -> None:
    nodes = np.stack([np.linspace(0.2, 3.3, 250), np.zeros(250), np.full(250, 0.5)], axis=1)
    add_scene(paths, "a", nodes)
    command = [sys.executable, str(SCRIPT), *arguments(paths, "--scenes", "a", "--renderer", "raycast")]
    parts = folder(paths) / ".a.caching"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(parts.glob("*.safetensors"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    there = len(list(parts.glob("*.safetensors")))
    assert 20 <= there < 250 and not paths.observations("a").exists()
    assert run(paths, "--scenes", "a", "--renderer", "raycast") == 0
    killed = files(paths)
    assert sorted(killed) == ["a.pkl"]
    assert run(paths, "--scenes", "a", "--renderer", "raycast", "--overwrite") == 0
    assert files(paths) == killed


# ---- faults ----------------------------------------------------------------------------------------------
def test_faulty_scenes_do_not_stop_the_others(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    for scene in ("c", "d"):
        add_scene(paths, scene)
    paths.mesh("a").unlink()
    paths.mesh("c").write_bytes(b"noise")
    assert run(paths, "--renderer", "raycast") == 1
    errors = capsys.readouterr().err
    assert f"cache_observations: a: mesh of scene a not found at {paths.mesh('a')}; {paths.cure}" in errors
    assert f"cache_observations: c: {paths.mesh('c')} is not a readable mesh" in errors
    assert "Traceback" not in errors
    assert {"b.pkl", "d.pkl"} <= set(files(paths)) and not {"a.pkl", "c.pkl"} & set(files(paths))


@pytest.mark.parametrize(
    "further, message",
    [
        (["--resolution", "0"], "--resolution 0: expected 1 to 4096 pixels"),
        (["--fov", "180"], "--fov 180.0: expected 1 to 170 degrees"),
        (["--camera-height", "-1"], "--camera-height -1.0: expected 0 to 10 m"),
        (["--jobs", "0"], "--jobs 0: expected a number of processes"),
        (["--scenes", "a", "nowhere"], "holds no graph.pkl of nowhere"),
        (["--dataset", "other"], "metadata of dataset other not found at"),
    ],
)
def test_bad_input(
    paths: DatasetPaths, further: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(paths, *further) == 2
    assert f"cache_observations: {message}" in (errors := capsys.readouterr().err) or message in errors
    assert not folder(paths).exists()


# ---- converting and comparing ----------------------------------------------------------------------------
def test_convert_there_and_back(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(paths) == 0
    pickles = files(paths)
    assert run(paths, "--convert", "mapped") == 0
    assert "2 caches converted to the form mapped" in capsys.readouterr().out
    for scene in "ab":
        paths.observations(scene).unlink()
    assert run(paths, "--convert", "pickle") == 0
    assert {name: data for name, data in files(paths).items() if name.endswith(".pkl")} == pickles
    assert sorted(files(paths)) == ["a.pkl", "a.safetensors", "b.pkl", "b.safetensors"]


def test_the_mapped_form_alone_serves_the_simulator(paths: DatasetPaths) -> None:
    assert run(paths) == 0
    before = load_scenes(paths, ["a"], images=True)["a"].images
    assert run(paths, "--convert", "mapped") == 0
    paths.observations("a").unlink()
    for one, other in zip(load_scenes(paths, ["a"], images=True)["a"].images, before):
        np.testing.assert_array_equal(one, other)


def test_convert_faults(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(paths, "--scenes", "a") == 0
    assert run(paths, "--convert", "mapped") == 1
    assert f"b: {paths.observations('b')} is not there to be converted" in capsys.readouterr().err
    before = files(paths)
    assert run(paths, "--convert", "mapped", "--scenes", "a") == 1
    assert "is there already; give --overwrite" in capsys.readouterr().err
    assert run(paths, "--convert", "mapped", "--scenes", "a", "--overwrite") == 0
    assert files(paths) == before
    paths.observations("a").write_bytes(b"broken")
    assert run(paths, "--convert", "mapped", "--scenes", "a", "--overwrite") == 1
    assert "is not a readable pickle" in capsys.readouterr().err
    assert files(paths) == {**before, "a.pkl": b"broken"}


def test_depth_agreement() -> None:
    one = np.full((2, 4, 3, 3, 1), 0.2, np.float32)
    other = one.copy()
    other[0, 0, 0, 0] += 0.0049  # 4.9 cm
    other[0, 1, 0, :2] += 0.0051
    assert depth_agreement(one, other) == pytest.approx(1 - 2 / 72)
    assert depth_agreement(one, other, 0.01) == pytest.approx(1 - 3 / 72)
    with pytest.raises(ValueError, match="equal shape"):
        depth_agreement(one, other[:1])


def test_compare(paths: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(paths) == 0
    before = files(paths)
    capsys.readouterr()
    assert run(paths, "--compare", "raycast") == 0
    assert "a: 100.00 % of the depths of 4 nodes within 5 cm" in capsys.readouterr().out
    assert run(paths, "--compare", "raycast", "--camera-height", "1.5", "--resolution", "99") == 1
    assert "with the camera at 1.5 m" in capsys.readouterr().err
    assert files(paths) == before


# ---- habitat-sim -----------------------------------------------------------------------------------------
class Stub:
    """As much of habitat-sim as is used; its cameras give what the pose and the scene are, as numbers."""

    __version__ = "0.3.3"
    SensorType = SimpleNamespace(COLOR="color", DEPTH="depth")
    SensorSubType = SimpleNamespace(PINHOLE="pinhole")

    def __init__(self) -> None:
        self.agent = SimpleNamespace(AgentState=SimpleNamespace, AgentConfiguration=SimpleNamespace)
        self.SimulatorConfiguration = self.CameraSensorSpec = SimpleNamespace
        self.shown: list[str] = []
        self.states: list[Any] = []
        self.configs: list[Any] = []
        self.created = 0

    def Configuration(self, world: Any, agents: list[Any]) -> SimpleNamespace:
        return SimpleNamespace(world=world, agents=agents)

    def Simulator(self, config: Any) -> SimpleNamespace:
        self.created += 1
        self.reconfigure(config)
        return SimpleNamespace(
            reconfigure=self.reconfigure,
            get_agent=lambda number: SimpleNamespace(set_state=self.states.append),
            get_sensor_observations=self.observe,
        )

    def reconfigure(self, config: Any) -> None:
        if "broken" in config.world.scene_id:
            raise RuntimeError("no such asset")
        self.shown.append(config.world.scene_id)
        self.configs.append(config)

    def observe(self) -> dict[str, np.ndarray]:
        (height, width) = self.configs[-1].agents[0].sensor_specifications[0].resolution
        rgb = np.full((height, width, 4), len(self.states), np.uint8)
        depth = np.full((height, width), len(self.states) * 0.5, np.float32)
        depth[0, 0] = 0.0
        return {"rgb": rgb, "depth": depth}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    made = Stub()
    monkeypatch.setitem(sys.modules, "habitat_sim", made)
    sim_views._shared_simulator.cache_clear()
    yield made
    sim_views._shared_simulator.cache_clear()


def test_habitat_is_put_at_the_poses(paths: DatasetPaths, stub: Stub) -> None:
    assert run(paths, "--renderer", "habitat", "--format", "both", "--fov", "75", "--gpu", "3") == 0
    assert stub.created == 1 and stub.shown == [str(paths.mesh("a")), str(paths.mesh("b"))]
    expected = [(node, rotation) for node in NODES for rotation in (0, 90, 180, 270)] * 2
    assert len(stub.states) == len(expected)
    for state, (node, rotation) in zip(stub.states, expected):
        np.testing.assert_allclose(state.position, node, atol=1e-6)
        x, y, z, w = state.rotation
        assert (x, z) == (0, 0) and x * x + y * y + z * z + w * w == pytest.approx(1)
        # the quaternion turns -z (ahead) to where the rotation looks
        ahead = np.array([-2 * (x * z + w * y), 2 * (w * x - y * z), -(1 - 2 * (x * x + y * y))])
        angle = np.radians(rotation)
        np.testing.assert_allclose(ahead, [-np.sin(angle), 0, -np.cos(angle)], atol=1e-7)
    config = stub.configs[0]
    assert config.world.gpu_device_id == 3 and config.world.enable_physics is False
    rgb, depth = config.agents[0].sensor_specifications
    for spec, kind, channels in ((rgb, "color", 4), (depth, "depth", 1)):
        assert spec.sensor_type == kind and spec.sensor_subtype == "pinhole" and spec.channels == channels
        assert spec.resolution == [PIXELS, PIXELS] and spec.hfov == 75 and spec.position == [0, 1.25, 0]
    views = pickle.loads(paths.observations("a").read_bytes())
    # the 6th view is that of node 1, rotation 90; depth in metres is clipped to 10 m and divided by it
    assert views[(1, 90)]["rgb"].shape == (PIXELS, PIXELS, 3) and (views[(1, 90)]["rgb"] == 6).all()
    assert views[(1, 90)]["depth"].shape == (PIXELS, PIXELS, 1)
    assert views[(1, 90)]["depth"][5, 5, 0] == np.float32(0.3) and views[(1, 90)]["depth"][0, 0, 0] == 0
    assert pickle.loads(paths.observations("b").read_bytes())[(3, 270)]["depth"].max() == 1.0
    assert open_mapped(mapped_path(paths.observations("a"))).metadata["renderer"] == "habitat-sim 0.3.3"


def test_habitat_cannot_show_a_scene(paths: DatasetPaths, stub: Stub, capsys: pytest.CaptureFixture) -> None:
    add_scene(paths, "broken")
    assert run(paths, "--renderer", "habitat") == 1
    assert (
        f"habitat-sim cannot show {paths.mesh('broken')} (RuntimeError: no such asset)"
        in capsys.readouterr().err
    )
    assert {"a.pkl", "b.pkl"} <= set(files(paths))


def test_which_renderer(
    paths: DatasetPaths, home_paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there in (False, True):
        monkeypatch.setattr(observation_cache, "installed", lambda there=there: there)
        assert choose_renderer("auto", paths, "a") == ("habitat" if there else "raycast")
        assert choose_renderer("raycast", paths, "a") == "raycast"
        assert choose_renderer("habitat", home_paths, "home_000") == "habitat"
        assert choose_renderer("auto", home_paths, "home_000") == "homes"
        assert choose_renderer("raycast", home_paths, "home_000") == "homes"


def test_without_habitat(
    paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "habitat_sim", None)  # importing it fails
    assert run(paths, "--renderer", "habitat") == 2
    assert (
        "habitat-sim cannot be imported" in (said := capsys.readouterr().err) and "--renderer raycast" in said
    )
    with pytest.raises(UserError, match="environment.yml"):
        sim_views.SimViews(paths.mesh("a"))


def real_habitat_sim() -> bool:
    spec = importlib.util.find_spec("habitat_sim")
    # tests/habitat puts a stand-in on the path where the real one is missing
    return spec is not None and (spec.origin is None or not Path(spec.origin).is_relative_to(ROOT / "tests"))


@pytest.mark.habitat
@pytest.mark.skipif(
    not real_habitat_sim(),
    reason="habitat-sim is not installed (conda: environment.yml), so nothing to compare with",
)
def test_habitat_sim_and_the_ray_caster_see_the_same(tmp_path: Path) -> None:
    """Same poses, depth within 5 cm on 95 % of the pixels of a generated home."""
    home = make_home(0, plan.PRESETS["mini"])
    mesh = build_mesh(home)
    write_glb(mesh, tmp_path / "home.glb")
    habitat, ours = sim_views.SimViews(tmp_path / "home.glb"), ViewRenderer(home, mesh)
    for position in home.positions:
        for rotation in ROTATIONS_DEG:
            one, other = habitat.view(position, rotation), ours.view(position, rotation)
            assert one["rgb"].shape == other["rgb"].shape and one["rgb"].dtype == np.uint8
            assert depth_agreement(one["depth"], other["depth"]) >= 0.95, (position, rotation)
