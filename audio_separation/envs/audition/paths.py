"""Shortest ways in a room: distances round the corner of an L, waypoints, and the tour that no agent can undercut."""

from __future__ import annotations

import itertools
import math
from typing import Sequence

import numpy as np
import shapely
from shapely import Polygon
from shapely.geometry.polygon import orient

from audio_separation.envs.audition.rooms import RoomPlan

TOLERANCE_M = 1e-6  # poses are whole micrometres, so one on the rim may lie just outside
CIRCLE_POINTS = 180  # of the discs round the sources


class Area:
    """A floor with at most one corner that points inwards, so that a shortest way bends there or nowhere.

    Args:
        polygon: metres.
    """

    def __init__(self, polygon: Polygon) -> None:
        self.polygon = polygon.buffer(TOLERANCE_M, join_style="mitre")
        shapely.prepare(self.polygon)
        self.bends = _inward_corners(polygon)  # [0 or 1, 2]

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether each of ``points`` ``[..., 2]`` lies in the area: bool ``[...]``."""
        return shapely.covers(self.polygon, shapely.points(points))

    def clear(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether the straight way from ``a`` to ``b`` (``[..., 2]`` each) stays in the area: bool ``[...]``."""
        a, b = np.broadcast_arrays(a, b)
        return shapely.covers(self.polygon, shapely.linestrings(np.stack([a, b], -2)))

    def distances(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Lengths of the shortest ways, metres, from each of ``a`` ``[P, 2]`` to each of ``b`` ``[Q, 2]``: [P, Q]."""
        a, b = a[:, None], b[None]
        straight = _lengths(a - b)
        if not len(self.bends):
            return straight
        bent = _lengths(a - self.bends[0]) + _lengths(b - self.bends[0])
        return np.where(self.clear(a, b), straight, bent)


class Paths:
    """Shortest ways of an agent in a room: all in the room's walkable part."""

    def __init__(self, plan: RoomPlan) -> None:
        self.area = Area(plan.walkable)
        self._plan = plan

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Length of the shortest way between points ``[2]``, metres."""
        return float(self.area.distances(np.asarray(a)[None], np.asarray(b)[None])[0, 0])

    def waypoint_towards(self, position: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The point ``[2]`` to walk straight to next on the shortest way: ``source``, or the corner before it."""
        if not len(self.area.bends) or self.area.clear(position, source):
            return np.asarray(source)
        return self.area.bends[0]

    def shortest_tour(self, start: np.ndarray, sources: Sequence[np.ndarray], radius_m: float) -> float:
        """Length that the path of an agent has at least, which comes within ``radius_m`` of every source, metres.

        The path begins at ``start`` ``[2]``, keeps to the walkable part and ends where the last source is
        reached; the sources may be reached in any order. A path enters a source's disc at its circle. The circles
        are taken at ``CIRCLE_POINTS`` points each, and of the shortest way over one point of each circle, in the
        best order, what the true points may differ from those is subtracted: 2 n - 1 times pi radius / points
        for n sources, 2.6 cm for two and half a metre. So the value is a lower bound, a few centimetres too low.
        """
        left = [s for s in sources if math.dist(start, s) > radius_m]
        if not left:
            return 0.0
        slack = math.pi * radius_m / CIRCLE_POINTS
        # a true point lies in the walkable part, its neighbour on the circle at most `slack` outside
        area = Area(self._plan.walkable.buffer(slack, join_style="mitre"))
        angles = 2 * math.pi * np.arange(CIRCLE_POINTS) / CIRCLE_POINTS
        circle = radius_m * np.stack([np.cos(angles), np.sin(angles)], 1)
        rings = [ring[area.contains(ring)] for ring in (source + circle for source in left)]
        first = [area.distances(np.asarray(start)[None], ring)[0] for ring in rings]
        between = {
            (i, j): area.distances(rings[i], rings[j])
            for i, j in itertools.permutations(range(len(rings)), 2)
        }
        best = math.inf
        for order in itertools.permutations(range(len(rings))):
            lengths = first[order[0]]
            for i, j in zip(order[:-1], order[1:]):
                lengths = (lengths[:, None] + between[i, j]).min(0)
            best = min(best, float(lengths.min()))
        return max(0.0, best - (2 * len(rings) - 1) * slack)


def _lengths(vectors: np.ndarray) -> np.ndarray:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _inward_corners(polygon: Polygon) -> np.ndarray:
    corners = np.array(orient(polygon).exterior.coords)[:-1]  # anticlockwise
    before, after = corners - np.roll(corners, 1, 0), np.roll(corners, -1, 0) - corners
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return corners[turn < -TOLERANCE_M]
