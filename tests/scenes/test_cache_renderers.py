"""scripts/cache_observations.py: which renderer draws, and what habitat-sim is asked for."""

from __future__ import annotations

import importlib.util
import json
import pickle
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cache_worlds import NODES, PIXELS, ROOT, add_scene, files, run

from audio_separation.envs import observation_cache
from audio_separation.envs.habitat import sim_views
from audio_separation.envs.observation_cache import choose_renderer, depth_agreement
from audio_separation.errors import UserError
from audio_separation.scenes.generate import plan
from audio_separation.scenes.generate.home import make_home
from audio_separation.scenes.generate.mesh import build_mesh, write_glb
from audio_separation.scenes.generate.scene import ROTATIONS, Scene, SceneWriter, Settings, home_record
from audio_separation.scenes.generate.views import ViewRenderer
from audio_separation.scenes.graph import ROTATIONS_DEG, load_graph
from audio_separation.scenes.layout import DatasetPaths, write_atomic
from audio_separation.scenes.mapped_observations import open_mapped
from audio_separation.scenes.meshes import load_scene_mesh
from audio_separation.scenes.observations import load_observations, mapped_path
from audio_separation.scenes.raycast import RayCaster

pytestmark = pytest.mark.usefixtures("without_habitat_sim")
EYES = np.array([0, 1.25, 0])


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
        (
            {"settings": {"format": 99, "preset": "mini", "grid_m": 1.0, "rays": 1}},
            "is of a home of format 99",
        ),
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


def test_habitat_is_put_at_the_poses(rooms: DatasetPaths, stub: Stub) -> None:
    assert run(rooms, "--renderer", "habitat", "--format", "both", "--fov", "75", "--gpu", "3") == 0
    assert stub.created == 1 and stub.shown == [str(rooms.mesh("a")), str(rooms.mesh("b"))]
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
    views = pickle.loads(rooms.observations("a").read_bytes())
    # the 6th view is that of node 1, rotation 90; depth in metres is clipped to 10 m and divided by it
    assert views[(1, 90)]["rgb"].shape == (PIXELS, PIXELS, 3) and (views[(1, 90)]["rgb"] == 6).all()
    assert views[(1, 90)]["depth"].shape == (PIXELS, PIXELS, 1)
    assert views[(1, 90)]["depth"][5, 5, 0] == np.float32(0.3) and views[(1, 90)]["depth"][0, 0, 0] == 0
    assert pickle.loads(rooms.observations("b").read_bytes())[(3, 270)]["depth"].max() == 1.0
    assert open_mapped(mapped_path(rooms.observations("a"))).metadata["renderer"] == "habitat-sim 0.3.3"


def test_habitat_cannot_show_a_scene(rooms: DatasetPaths, stub: Stub, capsys: pytest.CaptureFixture) -> None:
    add_scene(rooms, "broken")
    assert run(rooms, "--renderer", "habitat") == 1
    assert (
        f"habitat-sim cannot show {rooms.mesh('broken')} (RuntimeError: no such asset)"
        in capsys.readouterr().err
    )
    assert {"a.pkl", "b.pkl"} <= set(files(rooms))


def test_which_renderer(
    rooms: DatasetPaths, home_paths: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for there in (False, True):
        monkeypatch.setattr(observation_cache, "installed", lambda there=there: there)
        assert choose_renderer("auto", rooms, "a") == ("habitat" if there else "raycast")
        assert choose_renderer("raycast", rooms, "a") == "raycast"
        assert choose_renderer("habitat", home_paths, "home_000") == "habitat"
        assert choose_renderer("auto", home_paths, "home_000") == "homes"
        assert choose_renderer("raycast", home_paths, "home_000") == "homes"


def test_without_habitat(
    rooms: DatasetPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "habitat_sim", None)  # importing it fails
    assert run(rooms, "--renderer", "habitat") == 2
    assert (
        "habitat-sim cannot be imported" in (said := capsys.readouterr().err) and "--renderer raycast" in said
    )
    with pytest.raises(UserError, match="environment.yml"):
        sim_views.SimViews(rooms.mesh("a"))


def real_habitat_sim() -> bool:
    spec = importlib.util.find_spec("habitat_sim")
    # tests/habitat_adapter puts a stand-in on the path where the real one is missing
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
