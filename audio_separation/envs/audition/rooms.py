"""Rooms of the audition tasks as floor plans: drawn by shape, width and material, the same in acoustics and motion.

The plane: x right, y up, in metres; the lower left corner of a room's bounding box is (0, 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

import numpy as np
from shapely import Polygon
from yacs.config import CfgNode

SHAPES = ("shoebox", "polygon", "l_shape")
# part of either side of an L that is cut away: at most half, so that the centroid lies inside
NOTCH = (0.3, 0.5)
Point = tuple[float, float]


@dataclass(frozen=True)
class RoomPlan:
    """A room, hashable by its content.

    Attributes:
        shape: ``shoebox``, ``polygon`` or ``l_shape``.
        corners: of the floor, anticlockwise, metres.
        height_m: 0: sound spreads in the plane.
        absorption: energy absorption of all walls; None where ``material`` says it.
        material: of pyroomacoustics' database, or empty.
        max_order: reflections.
        wall_m: distance from the walls that sources and agent keep.
    """

    shape: str
    corners: tuple[Point, ...]
    height_m: float
    absorption: Optional[float]
    material: str
    max_order: int
    wall_m: float

    @cached_property
    def floor(self) -> Polygon:
        """The floor from wall to wall."""
        return Polygon(self.corners)

    @cached_property
    def walkable(self) -> Polygon:
        """Where sources and agent may be: the floor without a rim of ``wall_m``; empty or in parts if too small."""
        return self.floor.buffer(-self.wall_m, join_style="mitre")

    @cached_property
    def middle(self) -> Point:
        """The centroid of the floor; it lies inside."""
        return self.floor.centroid.x, self.floor.centroid.y


def draw_room(settings: CfgNode, rng: np.random.Generator) -> RoomPlan:
    """Draw a room as the config section ``AUDITION`` asks.

    Args:
        settings: the section ``AUDITION``.
        rng: advanced by the draw.
    """
    room = settings.ROOM
    shape = str(rng.choice(SHAPES)) if room.SHAPE == "random" else room.SHAPE
    outline = {"shoebox": _shoebox, "polygon": _regular_polygon, "l_shape": _l_shape}[shape](room, rng)
    outline = outline - outline.min(0)
    return RoomPlan(
        shape,
        tuple((float(x), float(y)) for x, y in outline.round(6)),
        float(room.HEIGHT_M),
        None if room.MATERIAL else float(rng.uniform(*room.ABSORPTION)),
        room.MATERIAL,
        room.MAX_ORDER,
        float(room.WALL_M),
    )


def _shoebox(room: CfgNode, rng: np.random.Generator) -> np.ndarray:
    low, high = room.WIDTH_M
    return np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * rng.uniform(low, high, 2)


def _regular_polygon(room: CfgNode, rng: np.random.Generator) -> np.ndarray:
    sides = int(rng.integers(room.POLYGON_SIDES[0], room.POLYGON_SIDES[1], endpoint=True))
    angles = rng.uniform(0, 2 * math.pi) + 2 * math.pi * np.arange(sides) / sides
    return rng.uniform(*room.WIDTH_M) / 2 * np.stack([np.cos(angles), np.sin(angles)], 1)


def _l_shape(room: CfgNode, rng: np.random.Generator) -> np.ndarray:
    """A rectangle without one of its corners, turned by a multiple of 90 degrees."""
    low, high = room.WIDTH_M
    sides = rng.uniform(low, high, 2)
    x, y = 1 - rng.uniform(*NOTCH, 2)
    outline = np.array([[0, 0], [1, 0], [1, y], [x, y], [x, 1], [0, 1]]) * sides
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][int(rng.integers(4))]
    return outline @ np.array([[cos, sin], [-sin, cos]])
