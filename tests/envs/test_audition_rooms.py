"""Rooms, spacing rules and shortest ways of the audition tasks."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scipy.spatial.distance import pdist
from shapely import LineString, Point

sys.path.insert(0, str(Path(__file__).parent))
from audition_worlds import Hums, room, settings

from audio_separation.config import get_config
from audio_separation.envs.audition.build import check_audition
from audio_separation.envs.audition.episodes import draw_episode
from audio_separation.envs.audition.paths import CIRCLE_POINTS, Paths
from audio_separation.envs.audition.rooms import draw_room
from audio_separation.errors import UserError

SEEDS = 60


def drawn(seeds=SEEDS, **changes):
    config = settings(**changes)
    return config, [draw_episode(config, Hums(), np.random.default_rng(seed)) for seed in range(seeds)]


@pytest.mark.parametrize("shape", ["shoebox", "polygon", "l_shape"])
@pytest.mark.parametrize("count", [1, 3])
def test_places_keep_the_spacing_rules(shape, count):
    rules = {"CENTRE_STEPS": "[2.0,5.0]", "APART_STEPS": 2.5, "START_RADII": 3.0, "ROOM__WALL_M": 0.4}
    _, episodes = drawn(ROOM__SHAPE=shape, SOURCES=count, STEP_M=0.4, RADIUS_M=0.3, **rules)
    for episode in episodes:
        centre = np.array(episode.plan.floor.centroid.coords[0])
        from_centre = np.linalg.norm(episode.sources - centre, axis=1)
        assert (from_centre >= 2 * 0.4 - 1e-9).all() and (from_centre <= 5 * 0.4 + 1e-9).all()
        assert (pdist(episode.sources) > 2.5 * 0.4).all()
        assert (np.linalg.norm(episode.sources - episode.start, axis=1) >= 3 * 0.3).all()
        for point in (*episode.sources, episode.start):
            assert episode.plan.floor.contains(Point(point))
            assert episode.plan.floor.exterior.distance(Point(point)) >= 0.4 - 1e-6
        assert len(set(episode.clips)) == count and all(0 <= start < 8000 for start in episode.starts)


def test_directions_headings_and_starts_are_spread():
    _, episodes = drawn(200, TURN_DEG=45.0)
    assert {e.heading_deg for e in episodes} == {45.0 * k for k in range(8)}
    offsets = np.concatenate([e.sources - e.plan.middle for e in episodes])
    # published: all were shifted up or down by a metre; here each quarter has about a quarter of the 400
    quarters = np.unique(2 * (offsets[:, 0] > 0) + (offsets[:, 1] > 0), return_counts=True)[1]
    assert len(quarters) == 4 and quarters.min() > 70
    assert len({tuple(e.start > e.plan.middle) for e in episodes}) == 4
    assert len({tuple(e.start) for e in episodes}) == 200


def test_same_seed_same_episode():
    config = settings(ROOM__SHAPE="random")
    one, same, other = (draw_episode(config, Hums(), np.random.default_rng(s)) for s in (7, 7, 8))
    assert one.plan == same.plan and one.clips == same.clips and one.starts == same.starts
    np.testing.assert_array_equal(one.sources, same.sources)
    np.testing.assert_array_equal(one.start, same.start)
    assert one.plan != other.plan


def plans(**changes):
    config = settings(**changes)
    return [draw_room(config, np.random.default_rng(seed)) for seed in range(SEEDS)]


def test_shoeboxes():
    for plan in plans(ROOM__WIDTH_M="[4.0,5.0]", ROOM__ABSORPTION="[0.2,0.3]"):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = plan.corners
        assert (x0, y0, y1, x3) == (0, 0, 0, 0) and x1 == x2 and y2 == y3
        assert 4 <= x1 <= 5 and 4 <= y2 <= 5 and 0.2 <= plan.absorption <= 0.3
    assert len({plan.corners[2] for plan in plans()}) == SEEDS


def test_polygons_are_regular():
    found = plans(ROOM__SHAPE="polygon", ROOM__POLYGON_SIDES="[4,6]")
    assert {len(plan.corners) for plan in found} == {4, 5, 6}
    for plan in found:
        corners = np.array(plan.corners)
        sides = np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1)
        radii = np.linalg.norm(corners - plan.middle, axis=1)
        np.testing.assert_allclose(sides, sides[0], atol=1e-5)
        np.testing.assert_allclose(radii, radii[0], atol=1e-5)
        assert 3 <= radii[0] <= 4 and plan.floor.exterior.is_ccw
        np.testing.assert_allclose(corners.min(0), 0, atol=1e-6)


def test_ls_have_one_corner_inwards_in_each_direction():
    found = plans(ROOM__SHAPE="l_shape")
    directions = set()
    for plan in found:
        (bend,) = Paths(plan).area.bends
        assert plan.floor.exterior.is_ccw and plan.floor.contains(Point(plan.middle))
        width, height = np.ptp(plan.corners, axis=0)
        assert min(width, height) >= 6 and max(width, height) <= 8
        assert 0.75 - 1e-6 <= plan.floor.area / (width * height) <= 0.91 + 1e-6
        directions.add(tuple(np.sign(bend - plan.middle)))
    assert len(directions) == 4


def test_random_takes_all_shapes():
    found = plans(ROOM__SHAPE="random")
    assert {plan.shape for plan in found} == {"shoebox", "polygon", "l_shape"}
    assert plans(ROOM__MATERIAL="hard_surface")[0].absorption is None


@pytest.mark.parametrize(
    "changes",
    [
        {"ROOM__WIDTH_M": "[1.5,1.6]"},
        {"ROOM__WALL_M": 3.9},
        {"APART_STEPS": 11.0},
        {"CENTRE_STEPS": "[20.0,21.0]"},
        {"START_RADII": 25.0},
    ],
)
def test_a_room_too_small_for_the_rules_is_refused(changes):
    with pytest.raises(UserError, match=r"WIDTH_M.*WALL_M, CENTRE_STEPS, APART_STEPS, STEP_M, START_RADII"):
        drawn(1, **changes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("RADIUS_M 0.2", r"RADIUS_M is 0\.2, expected at least half of AUDITION\.STEP_M"),
        ("TURN_DEG 50.0", "TURN_DEG must divide 360, found 50"),
        ("EAR_DISTANCE_M 0.7", r"WALL_M is 0\.3, expected more than half of AUDITION\.EAR_DISTANCE_M"),
        ("RADIUS_M 0.1 STEP_M 0.1", r"AUDITION\.RADIUS_M is 0\.1, expected more than half"),
        ("ROOM.POLYGON_SIDES [2,4]", "POLYGON_SIDES must be a range of whole numbers from 3"),
        ("ROOM.WIDTH_M [0.0,4.0]", "WIDTH_M must begin above 0"),
        ("ROOM.ABSORPTION [0.5,1.5]", "ABSORPTION must be a range within 0 to 1"),
        ("ROOM.MATERIAL velvet_wall", "MATERIAL is 'velvet_wall', which pyroomacoustics"),
    ],
)
def test_values_that_cannot_work_are_refused(words, message):
    words = [f"AUDITION.{w}" if i % 2 == 0 else w for i, w in enumerate(words.split())]
    with pytest.raises(UserError, match=message):
        check_audition(get_config(None, words))


def test_ways_round_the_corner_by_hand():
    paths = Paths(room("l_shape"))
    np.testing.assert_allclose(paths.area.bends, [[2.7, 2.7]])
    assert paths.distance([1, 1], [5, 1]) == pytest.approx(4)
    assert paths.distance([5, 2.7], [1, 2.7]) == pytest.approx(4)  # along the rim
    # from (5.7, 0.3) to the corner 3.8419, from there to (1.7, 5.7) 3.1623
    assert paths.distance([5.7, 0.3], [1.7, 5.7]) == pytest.approx(math.hypot(3, 2.4) + math.hypot(1, 3))
    np.testing.assert_allclose(paths.waypoint_towards([5.7, 0.3], [1.7, 5.7]), [2.7, 2.7])
    np.testing.assert_allclose(paths.waypoint_towards([2.7, 2.7], [1.7, 5.7]), [1.7, 5.7])
    np.testing.assert_allclose(paths.waypoint_towards([1, 1], [5, 1]), [5, 1])


def test_tours_by_hand():
    paths, start = Paths(room()), np.array([0.5, 3.0])
    slack = math.pi * 0.5 / CIRCLE_POINTS
    one, two = np.array([2.5, 3.0]), np.array([4.5, 3.0])
    for sources, exact in (([one], 1.5), ([two], 3.5), ([one, two], 3.5), ([two, one], 3.5)):
        found = paths.shortest_tour(start, sources, 0.5)
        assert exact - 2 * (2 * len(sources) - 1) * slack <= found <= exact
    assert paths.shortest_tour(start, [start + 0.1], 0.5) == 0
    # two discs that meet at (3, 3), touched one after the other before that, at (x, y) and (x, -y) from there
    meeting = [np.array([3.0, 3.5]), np.array([3.0, 2.5])]
    angle = np.linspace(0, np.pi / 2, 10001)
    x, y = 2.5 - 0.5 * np.sin(angle), 0.5 - 0.5 * np.cos(angle)
    exact = (np.hypot(x, y) + 2 * y).min()
    assert exact - 6 * slack <= paths.shortest_tour(start, meeting, 0.5) <= exact


def independent_distance(plan, a, b):
    """By a visibility graph over all corners of the walkable part."""
    area = plan.walkable.buffer(1e-6, join_style="mitre")
    nodes = [tuple(a), tuple(b), *plan.walkable.exterior.coords[:-1]]
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    for p, q in itertools.combinations(nodes, 2):
        if area.covers(LineString([p, q])):
            graph.add_edge(p, q, weight=math.dist(p, q))
    return nx.dijkstra_path_length(graph, tuple(a), tuple(b))


@pytest.mark.parametrize("shape", ["shoebox", "polygon", "l_shape"])
def test_distances_against_a_visibility_graph(shape):
    _, episodes = drawn(15, ROOM__SHAPE=shape)
    for episode in episodes:
        found = Paths(episode.plan).distance(episode.start, episode.sources[0])
        expected = independent_distance(episode.plan, episode.start, episode.sources[0])
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("shape", "count"), [("shoebox", 2), ("l_shape", 2), ("polygon", 3)])
def test_no_path_over_points_of_the_discs_is_shorter_than_the_tour(shape, count):
    config, episodes = drawn(6, ROOM__SHAPE=shape, SOURCES=count)
    rng = np.random.default_rng(0)
    for episode in episodes:
        paths = Paths(episode.plan)
        bound = paths.shortest_tour(episode.start, list(episode.sources), config.RADIUS_M)
        found = [
            searched_length(paths, episode.start, episode.sources[list(order)], config.RADIUS_M, rng)
            for order in itertools.permutations(range(count))
        ]
        assert bound <= min(found) <= bound + 0.1


def searched_length(paths, start, centres, radius_m, rng):
    """Of a path from disc to disc, shortened by a random search that narrows down."""
    points, best = centres, math.inf
    for trial in range(400):
        away = points + rng.normal(0, radius_m * 0.985**trial, points.shape) - centres
        tried = centres + away * np.minimum(1, radius_m / np.linalg.norm(away, axis=1, keepdims=True))
        if paths.area.contains(tried).all():
            way = np.concatenate([start[None], tried])
            length = sum(paths.distance(a, b) for a, b in zip(way[:-1], way[1:]))
            if length < best:
                best, points = length, tried
    return best
