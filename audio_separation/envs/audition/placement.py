"""Where sources and agent begin: the published spacing rules, in any room.

Published, and not so here: sources were shifted up or down by a metre by a slip of the pen, the agent could stand in a
wall, and always faced +x.
"""

from __future__ import annotations

import math
from typing import Callable, Optional

import numpy as np
import shapely
from shapely import Point as ShapelyPoint
from yacs.config import CfgNode

from audio_separation.envs.audition.rooms import Point, RoomPlan

TRIES = 200  # points drawn for each source and for the agent


def place(
    plan: RoomPlan, settings: CfgNode, rng: np.random.Generator
) -> Optional[tuple[tuple[Point, ...], Point]]:
    """Draw the sources' points and the agent's, or None where ``TRIES`` draws of one did not fit.

    Sources lie CENTRE_STEPS steps from the middle of the room, in any direction, and more than APART_STEPS steps
    from each other; the agent START_RADII radii or more from every source; all in the walkable part of the room.
    """
    if plan.walkable.geom_type != "Polygon" or plan.walkable.is_empty:
        return None
    sources: list[Point] = []
    for _ in range(settings.SOURCES):
        found = _draw(
            lambda: _around(plan.middle, settings, rng),
            plan,
            sources,
            np.nextafter(settings.APART_STEPS * settings.STEP_M, math.inf),
        )
        if found is None:
            return None
        sources.append(found)
    start = _draw(lambda: _anywhere(plan, rng), plan, sources, settings.START_RADII * settings.RADIUS_M)
    return None if start is None else (tuple(sources), start)


def _draw(draw: Callable[[], Point], plan: RoomPlan, others: list[Point], apart_m: float) -> Optional[Point]:
    for _ in range(TRIES):
        point = draw()
        if all(math.dist(point, other) >= apart_m for other in others) and shapely.covers(
            plan.walkable, ShapelyPoint(point)
        ):
            return point
    return None


def _around(middle: Point, settings: CfgNode, rng: np.random.Generator) -> Point:
    angle = rng.uniform(0, 2 * math.pi)
    distance = rng.uniform(*settings.CENTRE_STEPS) * settings.STEP_M
    return middle[0] + distance * math.cos(angle), middle[1] + distance * math.sin(angle)


def _anywhere(plan: RoomPlan, rng: np.random.Generator) -> Point:
    low_x, low_y, high_x, high_y = plan.walkable.bounds
    # whole micrometres, as all poses of the agent: a place that is reached again is the same place
    return round(rng.uniform(low_x, high_x), 6), round(rng.uniform(low_y, high_y), 6)
