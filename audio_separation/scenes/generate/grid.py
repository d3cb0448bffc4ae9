"""The navigation graph of a home: grid nodes where the agent can stand, edges that it can walk."""

from __future__ import annotations

import networkx as nx
import numpy as np

from audio_separation.scenes.generate.plan import AGENT_RADIUS_M, Plan, Rect


def wall_rects(plan: Plan) -> list[Rect]:
    """The solid parts of the plan as rectangles: the cells of the rectilinear grid that are not air."""
    air = plan.air()
    margin = plan.outer.inset(-0.3)
    xs = np.unique([v for r in [*air, margin] for v in (r.x0, r.x1)])
    zs = np.unique([v for r in [*air, margin] for v in (r.z0, r.z1)])
    solid = []
    for x0, x1 in zip(xs[:-1], xs[1:]):
        for z0, z1 in zip(zs[:-1], zs[1:]):
            x, z = (x0 + x1) / 2, (z0 + z1) / 2
            if not any(r.x0 < x < r.x1 and r.z0 < z < r.z1 for r in air):
                solid.append(Rect(float(x0), float(x1), float(z0), float(z1)))
    return solid


def navigation_graph(
    plan: Plan, obstacles: list[Rect], spacing_m: float = 1.0, walls: list[Rect] | None = None
) -> nx.Graph:
    """The largest connected grid of free nodes.

    A node is free when a cylinder of AGENT_RADIUS_M touches neither wall nor obstacle; two neighbours along x
    or z are joined when the cylinder can slide from one to the other. There are no diagonal edges: straight
    ones connect every room by construction of the plan, and the actions move straight.

    Args:
        obstacles: footprints of the furniture that stands on the floor.
        spacing_m: 1 m divided by a whole number (1, 0.5, ...): finer grids contain the 1 m grid.
        walls: wall_rects(plan), if it is at hand.

    Returns:
        Graph with nodes 0..V-1 (row by row: z, then x) and the attribute `point`, Habitat position [3].
    """
    solids = (wall_rects(plan) if walls is None else walls) + obstacles
    low = np.array([[r.x0, r.z0] for r in solids])
    high = np.array([[r.x1, r.z1] for r in solids])

    def free(a: tuple[float, float], b: tuple[float, float]) -> bool:
        start, end = np.minimum(a, b), np.maximum(a, b)
        gap = np.maximum(np.maximum(low - end, start - high), 0.0)
        return bool((np.hypot(gap[:, 0], gap[:, 1]) >= AGENT_RADIUS_M).all())

    per_cell = round(1 / spacing_m)
    counts = [n * per_cell for n in plan.lattice]
    first = [o + 0.5 for o in plan.offset]
    points: dict[tuple[int, int], tuple[float, float]] = {}
    for j in range(counts[1] - per_cell + 1):
        for i in range(counts[0] - per_cell + 1):
            point = (first[0] + i * spacing_m, first[1] + j * spacing_m)
            if free(point, point):
                points[(j, i)] = point
    lattice = nx.Graph()
    lattice.add_nodes_from(points)
    for (j, i), point in points.items():
        for other in ((j, i + 1), (j + 1, i)):
            if other in points and free(point, points[other]):
                lattice.add_edge((j, i), other)
    if not points:
        return lattice
    parts = [sorted(part) for part in nx.connected_components(lattice)]
    keep = max(parts, key=len)
    number = {key: k for k, key in enumerate(keep)}
    graph = nx.Graph()
    for key in keep:
        graph.add_node(number[key], point=(points[key][0], 0.0, points[key][1]))
    graph.add_edges_from((number[a], number[b]) for a, b in lattice.subgraph(keep).edges)
    return graph
