"""Plans, furniture, meshes and navigation graphs of generated homes."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import trimesh

from audio_separation.scenes.generate.home import Home, make_home
from audio_separation.scenes.generate.mesh import HomeMesh, build_mesh, write_glb
from audio_separation.scenes.generate.plan import AGENT_RADIUS_M, DOOR_HEIGHT_M, PRESETS, Rect

SEEDS = range(6)


@pytest.fixture(scope="module", params=["mini", "small"])
def homes(request: pytest.FixtureRequest) -> list[Home]:
    return [make_home(seed, PRESETS[request.param]) for seed in SEEDS]


def as_trimesh(mesh: HomeMesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def standing(home: Home) -> list:
    return [p for p in home.furniture if not (p.piece.flat or p.piece.raised)]


def test_homes_meet_their_preset() -> None:
    for name, preset in PRESETS.items():
        for seed in SEEDS:
            home = make_home(seed, preset)
            assert preset.nodes[0] <= len(home.positions) <= preset.nodes[1], (name, seed)
            assert preset.rooms[0] <= len(home.plan.rooms) <= preset.rooms[1], (name, seed)
            assert 2.5 <= home.plan.height <= 2.8


def test_every_room_is_reached_through_doors_and_over_the_graph(homes: list[Home]) -> None:
    for home in homes:
        doors = nx.Graph([d.rooms for d in home.plan.doors])
        assert nx.is_connected(doors) and set(doors) == set(range(len(home.plan.rooms)))
        graph = nx.Graph(home.edges)
        assert nx.is_connected(graph) and len(graph) == len(home.positions)
        assert set(home.node_rooms) == set(range(len(home.plan.rooms)))


def test_doors_are_wide_enough_and_lie_between_their_rooms(homes: list[Home]) -> None:
    for home in homes:
        for door in home.plan.doors:
            p = door.passage
            width, depth = (p.z1 - p.z0, p.x1 - p.x0) if door.axis == 0 else (p.x1 - p.x0, p.z1 - p.z0)
            assert 0.8 <= width <= 1.0
            assert depth == pytest.approx(home.plan.wall)
            for room in door.rooms:
                assert home.plan.rooms[room].floor.gap(p) == pytest.approx(0, abs=1e-9)


def test_nodes_and_edges_keep_clear_of_furniture_and_walls(homes: list[Home]) -> None:
    # walked in 5 cm steps, against the footprints themselves
    for home in homes:
        air = home.plan.air()
        for a, b in home.edges:
            for share in np.linspace(0, 1, 21):
                x, _, z = (1 - share) * home.positions[a] + share * home.positions[b]
                for placed in standing(home):
                    assert placed.footprint.distance(x, z) >= AGENT_RADIUS_M - 1e-6, placed.piece.name
                for turn in np.arange(8) * np.pi / 4:
                    rim = x + 0.99 * AGENT_RADIUS_M * np.cos(turn), z + 0.99 * AGENT_RADIUS_M * np.sin(turn)
                    assert min(rect.distance(*rim) for rect in air) < 1e-9


def test_furniture_stands_inside_its_room_and_blocks_no_door(homes: list[Home]) -> None:
    for home in homes:
        for placed in home.furniture:
            assert home.plan.rooms[placed.room].floor.contains(placed.footprint)
        for door in home.plan.doors:
            p = door.passage
            way = (
                Rect(p.x0 - 0.5, p.x1 + 0.5, p.z0, p.z1)
                if door.axis == 0
                else Rect(p.x0, p.x1, p.z0 - 0.5, p.z1 + 0.5)
            )
            for placed in standing(home):
                assert not placed.footprint.overlaps(way), placed.piece.name


def test_pieces_do_not_stand_in_one_another(homes: list[Home]) -> None:
    for home in homes:
        pieces = standing(home)
        for i, a in enumerate(pieces):
            for b in pieces[i + 1 :]:
                assert not a.footprint.overlaps(b.footprint), (a.piece.name, b.piece.name)


def test_shell_is_closed_and_faces_inwards(homes: list[Home]) -> None:
    for home in homes:
        mesh = build_mesh(home)
        shell = trimesh.Trimesh(mesh.vertices, mesh.faces[: mesh.shell], process=False)
        assert shell.is_watertight and shell.is_winding_consistent
        # normals point into the air: the signed volume is minus that of rooms and passages
        volume = home.plan.height * sum(r.floor.area for r in home.plan.rooms)
        volume += DOOR_HEIGHT_M * sum(d.passage.area for d in home.plan.doors)
        assert -shell.volume == pytest.approx(volume, rel=1e-6)


def test_every_ray_from_inside_hits_something(homes: list[Home]) -> None:
    rng = np.random.default_rng(0)
    for home in homes[:3]:
        mesh = as_trimesh(build_mesh(home))
        origins = home.positions[rng.integers(len(home.positions), size=2000)] + (0, 1.5, 0)
        directions = rng.normal(size=origins.shape)
        assert mesh.ray.intersects_any(origins, directions).all()


def test_one_can_look_through_every_door(homes: list[Home]) -> None:
    for home in homes[:3]:
        mesh = as_trimesh(build_mesh(home))
        for door in home.plan.doors:
            x, z = door.centre
            step = np.array([0.3, 0, 0]) if door.axis == 0 else np.array([0, 0, 0.3])
            middle = np.array([x, 1.0, z])
            hits, _, _ = mesh.ray.intersects_location([middle - step], [step], multiple_hits=False)
            assert np.linalg.norm(hits[0] - (middle - step)) > 0.6


def test_the_same_seed_gives_the_same_home_and_another_another() -> None:
    first, again, other = (build_mesh(make_home(seed, PRESETS["mini"])) for seed in (3, 3, 4))
    assert np.array_equal(first.vertices, again.vertices) and np.array_equal(first.surface, again.surface)
    assert first.surfaces == again.surfaces
    assert first.vertices.shape != other.vertices.shape or not np.allclose(first.vertices, other.vertices)


def test_finer_grid_contains_the_coarse_one() -> None:
    coarse, fine = (make_home(2, PRESETS["mini"], spacing_m=s) for s in (1.0, 0.5))
    assert len(fine.positions) > 2 * len(coarse.positions)
    known = {tuple(p) for p in fine.positions}
    assert all(tuple(p) in known for p in coarse.positions)
    lengths = [np.linalg.norm(fine.positions[a] - fine.positions[b]) for a, b in fine.edges]
    assert np.allclose(lengths, 0.5, atol=1e-5)


def test_glb_names_surfaces_with_their_material_and_is_y_up(tmp_path: Path) -> None:
    home = make_home(1, PRESETS["mini"])
    mesh = build_mesh(home)
    write_glb(mesh, tmp_path / "home.glb")
    scene = trimesh.load(tmp_path / "home.glb")
    assert "window:glass" in scene.geometry
    assert sum(len(g.faces) for g in scene.geometry.values()) == len(mesh.faces)
    assert scene.bounds[0][1] == pytest.approx(0, abs=1e-6)
    assert scene.bounds[1][1] == pytest.approx(home.plan.height, abs=1e-5)
    stage = json.loads((tmp_path / "home.stage_config.json").read_text())
    assert stage["render_asset"] == "home.glb" and stage["up"] == [0, 1, 0]
