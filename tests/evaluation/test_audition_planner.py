"""Plans of the oracle agent: they can be carried out, and are as short as brute force finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from shapely.geometry import Polygon, box

from audio_separation.envs.audition.world import ACTIONS
from audio_separation.evaluation.audition.planner import motion_of, plan_actions

RADIUS_M = 0.5
ROOMS = {
    "shoebox": box(0.3, 0.3, 6.7, 5.7),
    "hexagon": Polygon([(3 * np.cos(a), 3 * np.sin(a)) for a in np.arange(6) * np.pi / 3]),
    "l_shape": Polygon([(0, 0), (6, 0), (6, 2), (2, 2), (2, 6), (0, 6)]),
}


def allowed_in(region):
    def allowed(before, after):
        return shapely.intersects_xy(region, after[:, 0], after[:, 1])

    return allowed


def walk(start, heading_deg, plan, actions, region, step_m=0.5, turn_deg=30.0):
    """The positions that a plan leads through, by rules of its own: a slow, plain simulation."""
    position, places = np.array(start, dtype=float), []
    for action in plan:
        step = np.zeros(2)
        if actions == "compass":
            step = step_m * np.array([(0, 1), (0, -1), (-1, 0), (1, 0), (0, 0), (0, 0)][action])
        elif action < 2:
            angle = np.deg2rad(heading_deg)
            step = (1 - 2 * action) * step_m * np.array([np.cos(angle), np.sin(angle)])
        else:
            heading_deg += turn_deg if action == 2 else -turn_deg
        if region.intersects(shapely.Point(position + step)):
            position = position + step
        places.append(position)
    return np.array(places)


def draw_places(region, count, rng):
    low, high = np.array(region.bounds[:2]), np.array(region.bounds[2:])
    places: list[np.ndarray] = []
    while len(places) < count:
        place = rng.uniform(low, high)
        if region.contains(shapely.Point(place)):
            places.append(place)
    return np.array(places)


@pytest.mark.parametrize("actions", ["turn", "compass"])
@pytest.mark.parametrize("room", ROOMS)
def test_plans_reach_every_source_and_not_before_their_last_action(room, actions):
    region, rng = ROOMS[room], np.random.default_rng(1)
    for _ in range(6):
        *sources, start = draw_places(region, 3, rng)
        heading_deg = rng.uniform(0, 360)
        motion = motion_of(ACTIONS[actions], 0.5, 30.0, heading_deg)
        plan = plan_actions(start, np.array(sources), RADIUS_M, motion, allowed_in(region))
        places = walk(start, heading_deg, plan, actions, region)
        nearest = np.linalg.norm(places[:, None] - np.array(sources), axis=-1)
        reached = (nearest <= RADIUS_M).any(0)
        assert reached.all()
        assert not (nearest[:-1] <= RADIUS_M).any(0).all()
        straight = np.linalg.norm(np.array(sources) - start, axis=1).max() - RADIUS_M
        assert len(plan) >= straight / 0.5 - 1e-9


@pytest.mark.parametrize("actions", ["turn", "compass"])
def test_short_plans_are_as_short_as_brute_force_finds(actions):
    region, rng = box(0, 0, 4, 4), np.random.default_rng(2)
    lengths = []
    for _ in range(12):
        start, heading_deg = rng.uniform(1, 3, 2), rng.uniform(0, 360)
        sources = np.clip(start + rng.uniform(-1.2, 1.2, (2, 2)), 0, 4)
        motion = motion_of(ACTIONS[actions], 0.5, 30.0, heading_deg)
        plan = plan_actions(start, sources, RADIUS_M, motion, allowed_in(region))
        for shorter in range(1, min(len(plan), 6)):
            for other in itertools.product(range(4), repeat=shorter):
                places = walk(start, heading_deg, other, actions, region)
                near = np.linalg.norm(places[:, None] - sources, axis=-1) <= RADIUS_M
                assert not near.any(0).all(), (plan, other)
        lengths.append(len(plan))
    assert max(lengths) > 3


def test_a_plan_by_hand():
    motion, anywhere = motion_of(ACTIONS["turn"], 0.5, 90.0, 180.0), allowed_in(box(-9, -9, 9, 9))
    assert plan_actions((0, 0), np.array([[-2.2, 0.0]]), 0.5, motion, anywhere) == [0, 0, 0, 0]
    assert plan_actions((0, 0), np.array([[2.2, 0.0]]), 0.5, motion, anywhere) == [1, 1, 1, 1]
    assert plan_actions((0, 0), np.array([[0.0, -1.2]]), 0.5, motion, anywhere) == [2, 0, 0]
    motion = motion_of(ACTIONS["compass"], 0.5, 90.0, 180.0)
    assert plan_actions((0, 0), np.array([[0.0, -1.2]]), 0.5, motion, anywhere) == [1, 1]


def test_a_source_behind_a_wall_has_no_plan():
    motion = motion_of(ACTIONS["turn"], 0.5, 90.0, 0.0)
    assert plan_actions((0.5, 0.5), np.array([[4.0, 0.5]]), 0.5, motion, allowed_in(box(0, 0, 1, 1))) is None
