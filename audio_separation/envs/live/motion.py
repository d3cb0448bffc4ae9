"""Moving at continuous poses: forward by a distance, turning by an angle, and what happens at obstacles.

The agent is an upright cylinder. It keeps its radius from walls and furniture; where a step runs into something
it slides along it, as Habitat's agents do, or stops. Where it can go is a :class:`Space`: a home's floor plan
(:class:`PlanSpace`), any mesh (:class:`MeshSpace`), or habitat-sim's navigation mesh (``envs/habitat/navmesh.py``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Optional, Protocol, Sequence

import numpy as np

from audio_separation.envs.simulator import MOVE_FORWARD, TURN_LEFT, TURN_RIGHT, heading_vectors
from audio_separation.scenes.generate.plan import Rect
from audio_separation.scenes.graph import NavGraph
from audio_separation.scenes.raycast import RayTriangles

CLIMB_M = 0.2  # what a foot is lifted over (Habitat's default)
HEIGHT_M = 1.5  # of the agent (Habitat's default)
MOVED_EPS_M = 1e-5  # a step shorter than asked for by more than this has collided (as in Habitat)
LEAST_PIECE_M = 0.002  # how near a step that is blocked gets to where it would touch
FAN_DIRECTIONS = 48  # of the rays around the agent: 1.3 cm apart at 0.1 m
FAN_HEIGHTS_M = (0.25, 0.55, 0.85, 1.15, 1.45)
RIM_POINTS = 12  # where it is tried whether something hangs over the agent's feet, as table tops do
NEAR_NODES = 12  # nodes tried as the first of a way


class Space(Protocol):
    """Where an agent can go. Positions are [3], Habitat frame, metres, on the floor."""

    def try_step(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Where an agent ends that walks straight from ``start`` towards ``end``."""
        ...

    def clear(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Whether nothing stands on the straight way from ``start`` to each of ``ends`` [P, 3] -> bool [P]."""
        ...


class Moved(NamedTuple):
    """A pose after an action."""

    position: np.ndarray  # [3]
    rotation_deg: float
    collided: bool


def move_agent(
    space: Space, position: np.ndarray, rotation_deg: float, action: int, step_m: float, turn_deg: float
) -> Moved:
    """Carry out one action; anything but the three actions keeps the pose."""
    if action == MOVE_FORWARD:
        forward, _ = heading_vectors(np.array(rotation_deg))
        asked = step_m * np.array([forward[0], 0.0, forward[1]])
        reached = space.try_step(position, position + asked)
        short = step_m - np.hypot(*(reached - position)[[0, 2]])
        return Moved(reached, rotation_deg, bool(short > MOVED_EPS_M))
    turn = {TURN_LEFT: turn_deg, TURN_RIGHT: -turn_deg}.get(action, 0.0)
    return Moved(position, (rotation_deg + turn) % 360, False)


class FreeSpace(ABC):
    """Steps among obstacles that the agent can only touch: what plan and mesh share.

    Args:
        radius_m: of the agent.
        slide: along obstacles; else it stops at them.
    """

    def __init__(self, radius_m: float, slide: bool) -> None:
        self.radius_m, self.slide = radius_m, slide

    @abstractmethod
    def stand(self, position: np.ndarray) -> Optional[np.ndarray]:
        """``position`` at the height of the floor there; None where there is none."""

    @abstractmethod
    def contacts(self, position: np.ndarray) -> np.ndarray:
        """Unit vectors (x, z) ``[K, 2]`` away from each obstacle nearer than the radius."""

    @abstractmethod
    def clear(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """See :class:`Space`."""

    def try_step(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """See :class:`Space`. Walks in pieces of half a radius, so that nothing is jumped over."""
        position = np.asarray(start, float)
        way = np.asarray(end, float) - position
        way[1] = 0.0
        count = max(1, int(np.ceil(np.linalg.norm(way) / (self.radius_m / 2))))
        for _ in range(count):
            reached = self._piece(position, way / count)
            if reached is None:
                break
            position = reached
        return position

    def _piece(self, position: np.ndarray, way: np.ndarray) -> Optional[np.ndarray]:
        """Where a short way leads: all of it, along an obstacle, or the part of it that is free (None: nowhere)."""
        reached = self._free(position, way)
        if reached is not None:
            return reached
        if self.slide:
            along = way.copy()
            for away in self.contacts(position + way):
                along[[0, 2]] -= min(0.0, float(along[[0, 2]] @ away)) * away
            reached = self._free(position, along) if np.linalg.norm(along) > LEAST_PIECE_M / 10 else None
            if reached is not None:
                return reached
        half = way / 2
        return self._piece(position, half) if np.linalg.norm(half) > LEAST_PIECE_M else None

    def _free(self, position: np.ndarray, way: np.ndarray) -> Optional[np.ndarray]:
        """The end of a short way if nothing is touched there, or only things that it leads away from or along."""
        end = self.stand(position + way)
        if end is None:
            return None
        against = self.contacts(end) @ way[[0, 2]]
        return end if (against > -1e-9).all() else None


class PlanSpace(FreeSpace):
    """A level floor with obstacles that are rectangles: a generated home."""

    def __init__(self, obstacles: Sequence[Rect], radius_m: float, slide: bool) -> None:
        super().__init__(radius_m, slide)
        self._low = np.array([[r.x0, r.z0] for r in obstacles])
        self._high = np.array([[r.x1, r.z1] for r in obstacles])

    def stand(self, position: np.ndarray) -> Optional[np.ndarray]:
        return position

    def contacts(self, position: np.ndarray) -> np.ndarray:
        point = position[[0, 2]]
        gap = point - np.clip(point, self._low, self._high)  # [R, 2]
        distance = np.linalg.norm(gap, axis=1)
        near = (distance < self.radius_m - 1e-9) & (distance > 0)
        out = [gap[near] / distance[near, None]]
        for k in np.flatnonzero(distance == 0):  # the middle of the agent is inside: out by the nearest side
            sides = np.concatenate([point - self._low[k], self._high[k] - point])
            out.append(np.array([[[-1.0, 0], [0, -1.0], [1.0, 0], [0, 1.0]][int(np.argmin(sides))]]))
        return np.concatenate(out)

    def clear(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        a, way = start[[0, 2]], np.atleast_2d(ends)[:, [0, 2]] - start[[0, 2]]
        way = np.where(np.abs(way) < 1e-12, 1e-12, way)[:, None]  # [P, 1, 2]
        to_low, to_high = (self._low - a) / way, (self._high - a) / way  # [P, R, 2], in parts of the way
        enter = np.minimum(to_low, to_high).max(-1)
        leave = np.maximum(to_low, to_high).min(-1)
        return ~((enter < leave) & (leave > 0) & (enter < 1)).any(1)


class MeshSpace(FreeSpace):
    """Any mesh, felt by rays: a fan around the agent at several heights, a ring upwards, and one to the floor."""

    def __init__(self, triangles: RayTriangles, radius_m: float, slide: bool) -> None:
        super().__init__(radius_m, slide)
        self._triangles = triangles
        angles = np.arange(FAN_DIRECTIONS) * 2 * np.pi / FAN_DIRECTIONS
        self._fan = np.stack([np.sin(angles), np.zeros(FAN_DIRECTIONS), np.cos(angles)], 1)
        self._rim = self._fan[:: FAN_DIRECTIONS // RIM_POINTS]

    def stand(self, position: np.ndarray) -> Optional[np.ndarray]:
        knee = position + _up(CLIMB_M)
        depth, _ = self._triangles.depth_along(knee, np.array([[0.0, -1.0, 0.0]]))
        return knee - _up(depth[0]) if depth[0] <= 2 * CLIMB_M else None

    def contacts(self, position: np.ndarray) -> np.ndarray:
        away = []
        for height in FAN_HEIGHTS_M:
            depth, hit = self._triangles.depth_along(position + _up(height), self._fan)
            for k in np.flatnonzero(depth < self.radius_m):
                normal, ray = self._triangles.normals[hit[k]][[0, 2]], self._fan[k][[0, 2]]
                length = np.linalg.norm(normal)
                # a face that leans little pushes back along its normal, an edge or a slope along the ray
                away.append(-np.sign(normal @ ray) * normal / length if length > 0.3 else -ray)
        feet = position + _up(CLIMB_M) + 0.99 * self.radius_m * self._rim
        covered = self._triangles.blocked(feet, feet + _up(HEIGHT_M - CLIMB_M))
        away += list(-self._rim[covered][:, [0, 2]])
        return np.unique(np.round(np.array(away).reshape(-1, 2), 6), axis=0)

    def clear(self, start: np.ndarray, ends: np.ndarray) -> np.ndarray:
        ends = np.atleast_2d(ends)
        free = np.ones(len(ends), bool)
        for height in FAN_HEIGHTS_M[::2]:
            begin = np.broadcast_to(start + _up(height), ends.shape)
            free &= ~self._triangles.blocked(begin, ends + _up(height))
        return free


def _up(height_m: float) -> np.ndarray:
    return np.array([0.0, height_m, 0.0])


def walking_distance(space: Space, graph: NavGraph, position: np.ndarray, target: np.ndarray) -> float:
    """Length of a way from ``position`` to ``target`` ([3] each), metres.

    Straight where nothing stands between them; else straight to the node of the graph that makes the whole way
    shortest, of those near ones to which nothing stands in between, and on over the graph. So it never grows on
    the straight way to a target in sight, and drops to the straight distance when the target comes into sight
    (the graph's ways run along its edges and are longer).
    """
    if space.clear(position, target[None])[0]:
        return float(np.linalg.norm(target - position))
    gaps = np.linalg.norm(graph.positions - position, axis=1)
    near = np.argsort(gaps)[:NEAR_NODES]
    seen = near[space.clear(position, graph.positions[near])]
    first = seen if len(seen) else near[:1]
    last = int(np.argmin(np.linalg.norm(graph.positions - target, axis=1)))
    ways = gaps[first] + graph.geodesic[first, last]
    return float(ways.min() + np.linalg.norm(graph.positions[last] - target))
