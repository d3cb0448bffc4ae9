"""Moving at continuous poses: steps, turns, obstacles of plans and meshes, and the way to a target."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from audio_separation.envs.live.motion import MeshSpace, PlanSpace, move_agent, walking_distance
from audio_separation.envs.simulator import HOLD, MOVE_FORWARD, TURN_LEFT, TURN_RIGHT
from audio_separation.scenes.generate.plan import Rect
from audio_separation.scenes.graph import build_graph
from audio_separation.scenes.raycast import RayTriangles

# a room of 4 x 4 m with a block in it; walls 1 m thick
SOLIDS = [
    Rect(-1, 5, -1, 0), Rect(-1, 5, 4, 5), Rect(-1, 0, 0, 4), Rect(4, 5, 0, 4), Rect(1.5, 2.5, 1.5, 2.5),
]  # fmt: skip
RADIUS = 0.1


def as_mesh(solids: list[Rect], table: bool = False) -> RayTriangles:
    """The solids as boxes of 2 m on a floor; with a table top at 0.7 m and nothing below it."""
    boxes = [trimesh.creation.box((9, 0.1, 9), trimesh.transformations.translation_matrix((2, -0.05, 2)))]
    for r in solids:
        middle = trimesh.transformations.translation_matrix(((r.x0 + r.x1) / 2, 1, (r.z0 + r.z1) / 2))
        boxes.append(trimesh.creation.box((r.x1 - r.x0, 2, r.z1 - r.z0), middle))
    if table:
        boxes.append(
            trimesh.creation.box((1, 0.04, 1), trimesh.transformations.translation_matrix((2, 0.7, 2)))
        )
    whole = trimesh.util.concatenate(boxes)
    return RayTriangles(np.asarray(whole.vertices, float), np.asarray(whole.faces))


@pytest.fixture(params=["plan", "mesh"])
def make_space(request):
    if request.param == "plan":
        return lambda slide=True: PlanSpace(SOLIDS, RADIUS, slide)
    triangles = as_mesh(SOLIDS)
    return lambda slide=True: MeshSpace(triangles, RADIUS, slide)


def at(x: float, z: float) -> np.ndarray:
    return np.array([x, 0.0, z])


def forward(space, position, rotation, step=0.25):
    return move_agent(space, position, rotation, MOVE_FORWARD, step, 30)


@pytest.mark.parametrize("rotation", [0.0, 37.5, 90.0, 181.0, 270.0])
def test_a_free_step_goes_where_the_agent_looks(make_space, rotation):
    moved = forward(make_space(), at(1, 3), rotation)
    angle = np.radians(rotation)
    expected = at(1 - 0.25 * np.sin(angle), 3 - 0.25 * np.cos(angle))
    np.testing.assert_allclose(moved.position, expected, atol=1e-9)
    assert not moved.collided and moved.rotation_deg == rotation


def test_turns_add_up_and_wrap(make_space):
    space = make_space()
    position, rotation = at(1, 3), 350.0
    for action, expected in ((TURN_LEFT, 20.0), (TURN_LEFT, 50.0), (TURN_RIGHT, 20.0), (TURN_RIGHT, 350.0)):
        moved = move_agent(space, position, rotation, action, 0.25, 30)
        rotation = moved.rotation_deg
        assert rotation == expected and (moved.position == position).all() and not moved.collided
    assert move_agent(space, position, rotation, HOLD, 0.25, 30) == (pytest.approx(position), rotation, False)


def test_straight_into_a_wall_stops_at_the_radius(make_space):
    for slide in (True, False):
        moved = forward(make_space(slide), at(3, 0.3), 0.0)  # the wall is at z = 0
        assert moved.collided and 0 <= moved.position[2] - RADIUS < 0.005 and moved.position[0] == 3
        again = forward(make_space(slide), moved.position, 0.0)
        assert again.collided and again.position[2] >= RADIUS - 1e-9


def test_aslant_into_a_wall_slides_or_stops(make_space):
    begin, rotation = at(2, 0.2), -30.0  # towards -z and +x
    slid, stopped = (forward(make_space(slide), begin, rotation) for slide in (True, False))
    assert slid.collided and stopped.collided
    # along the wall it goes as far as the step leads along the wall
    assert slid.position[0] - 2 == pytest.approx(0.25 * np.sin(np.radians(30)), abs=0.01)
    # without sliding both parts of the way end at the wall
    assert stopped.position[0] - 2 == pytest.approx(0.1 * np.tan(np.radians(30)), abs=0.01)
    # sliding begins where the next half radius would touch
    assert 0 <= stopped.position[2] - RADIUS < 0.01 and 0 <= slid.position[2] - RADIUS < RADIUS / 2


def test_an_agent_leaves_the_wall_that_it_touches(make_space):
    space = make_space()
    touching = forward(space, at(3, 0.3), 0.0).position
    away = forward(space, touching, 180.0)
    assert not away.collided and away.position[2] - touching[2] == pytest.approx(0.25)


def test_walks_at_random_never_come_nearer_than_the_radius(make_space):
    space, rng = make_space(), np.random.default_rng(5)
    position, rotation, collisions = at(1, 1), 0.0, 0
    for _ in range(120):
        action = MOVE_FORWARD if rng.random() < 0.7 else rng.choice([TURN_LEFT, TURN_RIGHT])
        moved = move_agent(space, position, rotation, int(action), 0.25, 25)
        position, rotation = moved.position, moved.rotation_deg
        collisions += moved.collided
        assert min(r.distance(position[0], position[2]) for r in SOLIDS) > RADIUS - 2e-3
        assert abs(position[1]) < 1e-6
    assert collisions > 10


def test_a_table_top_is_an_obstacle_of_a_mesh():
    space = MeshSpace(as_mesh(SOLIDS[:4], table=True), RADIUS, slide=False)
    moved = forward(space, at(2, 2.8), 0.0, step=0.5)  # its edge is at z = 2.5
    assert moved.collided and 2.5 + 0.95 * RADIUS < moved.position[2] < 2.5 + RADIUS + 0.01


def test_nobody_steps_off_the_floor_of_a_mesh():
    space = MeshSpace(as_mesh([]), RADIUS, slide=False)  # the floor ends at x = 6.5
    moved = forward(space, at(6.4, 2), 270.0)
    assert moved.collided and 6.49 < moved.position[0] <= 6.5


def test_a_low_step_is_climbed_and_a_high_one_is_not():
    def step_up(height):
        box = trimesh.creation.box(
            (1, height, 9), trimesh.transformations.translation_matrix((3, height / 2, 2))
        )
        floor = trimesh.creation.box((9, 0.1, 9), trimesh.transformations.translation_matrix((2, -0.05, 2)))
        whole = trimesh.util.concatenate([floor, box])
        triangles = RayTriangles(np.asarray(whole.vertices, float), np.asarray(whole.faces))
        return forward(
            MeshSpace(triangles, RADIUS, True), at(2.3, 2), 270.0, step=0.5
        )  # the step is at x = 2.5

    low, high = step_up(0.15), step_up(0.4)
    assert not low.collided and low.position[1] == pytest.approx(0.15, abs=1e-6)
    assert high.collided and high.position[1] == pytest.approx(0, abs=1e-6)


def test_clear_sees_what_stands_between(make_space):
    ends = np.array([at(1, 3.5), at(3.5, 3.5), at(3.5, 1), at(0.7, 0.5), at(2, 0.5)])
    assert make_space().clear(at(1, 1), ends).tolist() == [True, False, True, True, True]


def test_walking_distance_is_straight_in_sight_and_over_the_graph_behind_a_corner(make_space):
    nodes = np.array([at(0.5, 0.5), at(3.5, 0.5), at(3.5, 3.5), at(0.5, 3.5)])
    graph = build_graph(nodes, [(0, 1), (1, 2), (2, 3), (3, 0)])
    space = make_space()
    target = at(3.5, 3.4)
    assert walking_distance(space, graph, at(3.2, 0.7), target) == pytest.approx(np.hypot(0.3, 2.7))
    # from the other corner: to the node in sight whose way is shortest, then over the graph, then to the target
    hidden = at(0.6, 0.9)
    expected = min(np.hypot(2.9, 0.4), np.hypot(0.1, 2.6)) + 3.0 + 0.1
    assert walking_distance(space, graph, hidden, target) == pytest.approx(expected, rel=1e-6)
    # in sight of the target, every step towards it brings the agent nearer
    way = [walking_distance(space, graph, at(3.2, z), target) for z in np.linspace(0.5, 3.4, 12)]
    assert (np.diff(way) < 0).all()
